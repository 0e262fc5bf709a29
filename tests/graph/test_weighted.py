"""The descriptions of the weighted operators against onnx's schemas, and against what the operators do."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from helpers import toys

from onnx_trtcal.graph import ops
from onnx_trtcal.graph.weighted import WEIGHTED, WEIGHTED_NAMES

# op, shape of the weight, shape of the data, input that holds the weight, attributes
CASES = [
    ("Conv", (6, 2, 3, 3), (1, 4, 5, 5), 1, {"group": 2}),
    ("Conv", (6, 4, 3), (1, 4, 5), 1, {}),
    ("ConvTranspose", (4, 3, 3, 3), (1, 4, 5, 5), 1, {}),
    ("ConvTranspose", (4, 3, 3, 3), (1, 4, 5, 5), 1, {"group": 2}),
    ("Gemm", (4, 3), (2, 4), 1, {}),
    ("Gemm", (3, 4), (2, 4), 1, {"transB": 1}),
    ("Gemm", (3, 4), (4, 2), 0, {}),
    ("Gemm", (4, 3), (4, 2), 0, {"transA": 1}),
    ("MatMul", (4, 3), (2, 4), 1, {}),
    ("MatMul", (5, 4, 3), (5, 2, 4), 1, {}),
    ("MatMul", (3, 4), (4, 2), 0, {}),
]
OWN_SIDE = [case for case in CASES if case[3] in WEIGHTED[case[0]].weight_inputs]


def run(op: str, weight: np.ndarray, x: np.ndarray, slot: int, attributes: dict[str, Any]) -> np.ndarray:
    order = "x w" if slot else "w x"
    graph = toys.model([toys.node(op, order, "y", **attributes)], {"x": x.shape}, ["y"], {"w": weight})
    return np.asarray(toys.run(graph, {"x": x})[0])


def drawn(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random(shape).astype(np.float32) for shape in shapes]


def test_all_ops_have_a_case_and_start_a_group() -> None:
    assert {case[0] for case in CASES} == set(WEIGHTED) == ops.ANCHORS
    assert WEIGHTED_NAMES == "Conv, ConvTranspose, Gemm or MatMul"


@pytest.mark.parametrize("name", WEIGHTED)
def test_inputs_and_attributes_are_those_of_the_schema(name: str) -> None:
    op = WEIGHTED[name]
    versions = [s for s in onnx.defs.get_all_schemas_with_history() if s.name == name and not s.domain]
    newest = max(versions, key=lambda schema: schema.since_version)
    assert newest.max_input == (2 if op.bias_input is None else op.bias_input + 1)
    assert max(op.weight_inputs) < 2
    assert not op.bias_factor or op.bias_factor in newest.attributes
    if op.obsolete_attribute:
        with_it = [s.since_version for s in versions if op.obsolete_attribute in s.attributes]
        assert with_it and max(with_it) < 7 <= newest.since_version


@pytest.mark.parametrize(("name", "weight", "x", "slot", "attributes"), CASES)
def test_the_channel_axis_is_the_one_that_reaches_one_output_channel(
    name: str, weight: tuple[int, ...], x: tuple[int, ...], slot: int, attributes: dict[str, Any]
) -> None:
    op = WEIGHTED[name]
    values, data = drawn(weight, x)
    axis = op.weight_axis(attributes, slot, len(weight))
    assert axis is not None
    index = weight[axis] - 1
    changed = values.copy()
    changed[(slice(None),) * axis + (index,)] += 1
    difference = run(name, changed, data, slot, attributes) - run(name, values, data, slot, attributes)
    (where,) = op.output_axes(slot, len(weight))
    count = difference.shape[where]
    assert op.channels(attributes, slot, weight)[1] == count
    reached = set(np.flatnonzero(np.moveaxis(difference, where, 0).reshape(count, -1).any(1)))
    # Channel o of a ConvTranspose's output is number o % (out / group) of its weight's axis 1.
    order = np.arange(count) % weight[axis]
    assert reached == set(np.flatnonzero(order == index))


@pytest.mark.parametrize(("name", "weight", "x", "slot", "attributes"), OWN_SIDE)
def test_a_weight_times_values_along_its_channels_gives_the_output_times_them(
    name: str, weight: tuple[int, ...], x: tuple[int, ...], slot: int, attributes: dict[str, Any]
) -> None:
    op = WEIGHTED[name]
    values, data = drawn(weight, x)
    output = run(name, values, data, slot, attributes)
    (axis,) = op.output_axes(slot, len(weight))
    factor = np.arange(1, output.shape[axis] + 1, dtype=np.float32)
    scaled = values * op.along_weight(attributes, slot, weight, factor)
    expected = output * factor.reshape(-1, *[1] * (-axis - 1))
    np.testing.assert_allclose(run(name, scaled, data, slot, attributes), expected, rtol=1e-5)


@pytest.mark.parametrize(("name", "weight", "x", "slot", "attributes"), CASES)
def test_input_channels_and_rank_are_those_of_data_and_output(
    name: str, weight: tuple[int, ...], x: tuple[int, ...], slot: int, attributes: dict[str, Any]
) -> None:
    op = WEIGHTED[name]
    output = run(name, *drawn(weight, x), slot, attributes)
    assert op.channels(attributes, slot, weight)[0] == 4, "in every case the data has 4 channels"
    assert op.output_rank(len(weight), output.ndim) == output.ndim


def test_what_has_no_channels() -> None:
    assert WEIGHTED["MatMul"].weight_axis({}, 1, 1) is None
    assert WEIGHTED["Conv"].output_axes(1, None) == (-2, -3, -4)
    assert WEIGHTED["MatMul"].output_rank(2, None) is None


@pytest.mark.parametrize(
    ("name", "left", "right", "attributes", "expected"),
    [
        ("MatMul", ("N", 8), (8, 5), {}, False),
        ("MatMul", (1, 8), (8, 5), {}, False),
        ("MatMul", (1, 8), None, {}, False),
        ("MatMul", ("N", 1, 8), (8, 5), {}, False),
        ("MatMul", ("N", 1, 8), ("N", 8, 5), {}, True),
        ("MatMul", ("N", 8), (8,), {}, True),
        ("MatMul", None, (8, 1), {}, True),
        ("MatMul", None, None, {}, False),
        ("Gemm", ("N", 8), (1, 8), {"transB": 1}, True),
        ("Gemm", ("N", 8), (8, 5), {"transB": 1}, False),
        ("Gemm", (8, 1), (8, 5), {"transA": 1}, False),
        ("Gemm", (1, 8), (1, 5), {"transA": 1}, False),
        ("Conv", (1, 1, 1, 1), (1, 1, 1, 1), {}, False),
    ],
)
def test_a_matrix_vector_product(
    name: str, left: Any, right: Any, attributes: dict[str, Any], expected: bool
) -> None:
    assert WEIGHTED[name].is_gemv(attributes, left, right) is expected
