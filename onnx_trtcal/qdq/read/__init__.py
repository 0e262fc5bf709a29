"""A Q/DQ model of any tool back to a float model and its scales."""
