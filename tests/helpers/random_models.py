"""Random small graphs for property tests."""

import numpy as np
from hypothesis import strategies as st

from helpers import toys

W = np.ones((4, 4, 1, 1), np.float32)
UNARY = [
    "Relu",
    "Sigmoid",
    "Neg",
    "Identity",
    "Transpose",
    "MaxPool",
    "AveragePool",
    "Clip",
    "HardSwish",
    "Elu",
]
BINARY = ["Add", "Mul", "Max", "Concat"]


@st.composite
def random_models(draw):
    """Small graphs over the op tables; every tensor keeps the shape 1 x 4 x 4 x 4."""
    tensors, nodes = ["x"], []
    for i in range(draw(st.integers(1, 12))):
        name, op = f"t{i}", draw(st.sampled_from([*UNARY, *BINARY, "Conv", "Bias", "Weight"]))
        a, b = (draw(st.sampled_from(tensors[-4:])) for _ in range(2))
        if op == "Conv":
            nodes.append(toys.node("Conv", f"{a} w", name))
        elif op == "Bias":
            nodes.append(toys.node("Add", f"{a} bias", name))
        elif op == "Weight":
            nodes.append(toys.node("Neg", "w", f"nw{i}"))
            nodes.append(toys.node("Conv", f"{a} nw{i}", name))
        elif op == "Concat":
            nodes.append(toys.node("Concat", f"{a} {b}", f"cat{i}", axis=1))
            nodes.append(toys.node("Conv", f"cat{i} wide", name))
        elif op in BINARY:
            nodes.append(toys.node(op, f"{a} {b}", name))
        elif op in ("MaxPool", "AveragePool"):
            nodes.append(toys.node(op, a, name, kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
        else:
            attributes = {"perm": [0, 1, 3, 2]} if op == "Transpose" else {}
            nodes.append(toys.node(op, a, name, **attributes))
        tensors.append(name)
    outputs = sorted({tensors[-1], draw(st.sampled_from(tensors[1:]))})
    constants = {"w": W, "wide": np.ones((4, 8, 1, 1), "f"), "bias": np.ones((4, 1, 1), "f")}
    return toys.model(draw(st.permutations(nodes)), {"x": [1, 4, 4, 4]}, outputs, constants)
