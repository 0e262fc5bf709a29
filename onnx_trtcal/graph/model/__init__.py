"""The model file and the graph made of it: reading, types, weights, and writing."""
