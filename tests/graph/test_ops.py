"""The op tables against onnx's own schemas, and against what the ops do."""

import numpy as np
import onnx
import pytest
from helpers import toys

from onnx_trtcal.graph import ops

STANDARD = {name for name in ops.QUANTIZED | set(ops.ACTIVATIONS) if ":" not in name}
TABLES = [
    ops.ANCHORS,
    ops.POINTWISE,
    ops.MOVES,
    ops.AROUND_SOFTMAX,
    ops.COPIES,
    ops.SHAPE_CARRIERS,
    ops.RANDOM,
    ops.INTEGER_MAKERS,
    set(ops.SHAPE_INPUTS),
    STANDARD - {"Swish"},  # newer than some supported onnx releases
]


def test_every_op_in_a_table_exists():
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if not schema.domain}
    for table in TABLES:
        assert set(table) <= known


def test_shape_positions_are_inputs_of_their_ops():
    for name, positions in ops.SHAPE_INPUTS.items():
        versions = [s for s in onnx.defs.get_all_schemas_with_history() if s.name == name and not s.domain]
        assert max(positions) < max(schema.max_input for schema in versions), name


def test_an_op_that_moves_values_does_not_copy_a_scale_and_starts_no_group():
    assert not ops.MOVES & ops.COPIES
    assert not ops.MOVES & ops.ANCHORS
    assert not ops.MOVES & set(ops.ACTIVATIONS)


def test_a_saturating_op_is_pointwise():
    assert ops.SATURATING <= ops.POINTWISE


def test_every_rule_says_why():
    assert all(activation.rule for activation in ops.ACTIVATIONS.values())


MOVERS = {
    "DepthToSpace": ({"blocksize": 2}, {}),
    "Dropout": ({}, {}),
    "Flatten": ({}, {}),
    "Identity": ({}, {}),
    "Reshape": ({}, {"shape": np.array([2, -1])}),
    "SpaceToDepth": ({"blocksize": 2}, {}),
    "Squeeze": ({}, {"axes": np.array([0])}),
    "Transpose": ({"perm": [0, 2, 3, 1]}, {}),
    "Unsqueeze": ({}, {"axes": np.array([0])}),
}


@pytest.mark.parametrize("op", sorted(ops.MOVES))
def test_movers_keep_every_value_once(op):
    attributes, constants = MOVERS[op]
    model = toys.model(
        [toys.node(op, ["x", *constants], "y", **attributes)], {"x": [1, 4, 4, 2]}, ["y"], constants
    )
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 2)).astype(np.float32)
    (y,) = toys.run(model, {"x": x})
    np.testing.assert_array_equal(np.sort(y, axis=None), np.sort(x, axis=None))
    if op in ops.RESHAPES:
        np.testing.assert_array_equal(y.ravel(), x.ravel())
    if op in ops.KEEPS_AXES:
        np.testing.assert_array_equal(y, x)


def test_max_pooling_makes_no_value_of_its_own():
    model = toys.model(
        [toys.node("MaxPool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], {"x": [1, 1, 5, 5]}, ["y"]
    )
    x = -np.random.default_rng(0).random((1, 1, 5, 5), dtype=np.float32)
    (y,) = toys.run(model, {"x": x})
    assert set(y.ravel()) <= set(x.ravel())
