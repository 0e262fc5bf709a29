"""TensorRT's rules for Q/DQ models: what its parser refuses, and what its optimizer builds badly."""
