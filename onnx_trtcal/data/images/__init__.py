"""Image files: decoded, then preprocessed as the model was trained."""
