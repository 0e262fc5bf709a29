"""Channel equalization: a float model rewritten so that one INT8 scale serves all channels of a tensor."""
