"""Statistics of activations: histograms, the counters that fill them, and the file that keeps them."""
