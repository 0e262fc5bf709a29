"""The Q/DQ room: scales into an explicitly quantized model, and back; and what TensorRT thinks of one."""
