"""Folding: what normalizes or scales each channel goes into the weights before or after it."""
