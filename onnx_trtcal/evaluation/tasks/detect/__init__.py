"""Detections: decoded from the outputs of the usual heads, matched between two models, scored with labels."""
