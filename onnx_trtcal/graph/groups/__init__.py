"""Fused groups: which nodes TensorRT runs as one kernel."""
