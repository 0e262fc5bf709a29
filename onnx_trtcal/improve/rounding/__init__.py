"""Second-order rounding of weights and bias correction: `--round`, layer by layer on the quantized net so far."""
