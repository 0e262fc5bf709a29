"""Segmentation: the class of every pixel, compared between two models and with label masks."""
