"""What TensorRT reads and writes: calibration caches, other tables of scales, build logs, and trtexec's flags."""
