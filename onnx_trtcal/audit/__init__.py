"""What a calibration cache lacks for a model, and what TensorRT's build log says about it."""
