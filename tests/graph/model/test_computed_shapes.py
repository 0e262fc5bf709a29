"""Shapes worked out against those that ONNX Runtime makes."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.toys import model, node, run

from onnx_trtcal.graph.model.computed_shapes import computed_shapes
from onnx_trtcal.graph.model.load import load

CONSTANTS = {
    "zero": np.array(0),
    "axis0": np.array([0]),
    "two": np.array([2]),
    "four": np.array([4]),
    "rest": np.array([-1, 4]),
    "half": np.array(2),
}

# What a Reshape of x, N x 8 x 6, is given: nodes that make "target" of its shape.
TARGETS = {
    "gathered": [
        node("Gather", "s zero", "n", axis=0),
        node("Unsqueeze", "n axis0", "n1"),
        node("Concat", "n1 rest", "target", axis=0),
    ],
    "sliced": [
        node("Slice", "s axis0 one", "n1"),
        node("Concat", "n1 rest", "target", axis=0),
    ],
    "divided": [
        node("Slice", "s one two", "c"),
        node("Div", "c half", "c2"),
        node("Slice", "s axis0 one", "n1"),
        node("Concat", "n1 c2 minus", "target", axis=0),
    ],
    "cast": [
        node("Cast", "s", "s32", to=6),
        node("Slice", "s32 axis0 one", "n32"),
        node("Cast", "n32", "n1", to=7),
        node("Concat", "n1 rest", "target", axis=0),
    ],
}


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("batch", [1, "N"])
def test_targets_made_of_shapes_are_worked_out(kind: str, batch: int | str) -> None:
    nodes = [
        node("Shape", "x", "s"),
        *TARGETS[kind],
        node("Reshape", "x target", "r"),
        # Another target that hangs on what the first one gives.
        node("Shape", "r", "s2"),
        node("Slice", "s2 axis0 two", "head"),
        node("Concat", "head minus", "target2", axis=0),
        node("Reshape", "r target2", "y"),
    ]
    constants = {**CONSTANTS, "one": np.array([1]), "minus": np.array([-1])}
    loaded = load(model(nodes, {"x": (batch, 8, 6)}, ("y",), constants))
    shapes = computed_shapes(loaded)
    made = run(loaded.proto, {"x": np.zeros((1, 8, 6), np.float32)}, ["y"])[0].shape
    shape = shapes["y"]
    assert shape is not None and len(shape) == len(made) == 3
    assert shape[1:] == made[1:] or batch == "N"
    assert shape[0] == batch and shape[1] in (made[1], None)


def test_what_is_known_stays_and_what_is_not_stays_open() -> None:
    nodes = [node("Reshape", "x t", "y")]
    plain = load(model(nodes, {"x": (1, 8, 6)}, ("y",), {"t": np.array([1, 4, 12])}))
    assert computed_shapes(plain) is plain.shapes and plain.shapes["y"] == (1, 4, 12)
    fed = load(model(nodes, {"x": (1, 8, 6), "t": (3,)}, ("y",), dtypes={"t": 7}))
    assert computed_shapes(fed)["y"] in (None, (None, None, None), fed.shapes["y"])
