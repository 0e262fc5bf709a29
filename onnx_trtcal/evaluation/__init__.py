"""FP32 against simulated INT8, in ONNX Runtime: Q and DQ as real rounding, everything between them in float."""
