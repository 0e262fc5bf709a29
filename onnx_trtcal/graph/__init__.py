"""Graphs: a model that is read, folded, grouped and planned, and the model that then runs."""
