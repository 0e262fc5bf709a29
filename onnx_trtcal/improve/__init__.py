"""What makes INT8 lose less without another op."""
