"""Q/DQ models: a float model and its scales into an explicitly quantized model, back again, and checked."""
