"""What every room may use: files, progress, compiled code, ONNX Runtime's options, what the machine has."""
