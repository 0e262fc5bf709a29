"""A float model and its scales to a Q/DQ model."""
