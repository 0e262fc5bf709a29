"""Running the observed model in ONNX Runtime."""
