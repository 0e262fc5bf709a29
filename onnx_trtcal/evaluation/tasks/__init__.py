"""What the outputs of a model are for: how two models are compared by the answers read from them."""
