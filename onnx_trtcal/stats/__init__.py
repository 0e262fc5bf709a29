"""Statistics of activations: histograms, the kernels that fill them, and the file that keeps them."""
