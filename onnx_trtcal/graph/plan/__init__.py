"""The plan of a calibration: which tensors are observed, and who owns every other one's scale."""
