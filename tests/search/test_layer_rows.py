"""Rows times a matrix is what ONNX Runtime computes, for every form of layer."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import onnxruntime as ort
import pytest
from helpers.toys import model, node

from onnx_trtcal.search.layer_rows import rows_of, spread, spread_over

RANDOM = np.random.default_rng(0)

CONVOLUTIONS = [
    ((2, 3, 9, 8), (4, 3, 3, 3), {}),
    ((2, 3, 9, 8), (4, 3, 3, 3), {"pads": [1, 2, 0, 1], "strides": [2, 1]}),
    ((1, 4, 9, 8), (6, 2, 3, 2), {"group": 2, "dilations": [2, 3], "pads": [2, 0, 1, 3]}),
    ((2, 5, 7, 7), (5, 1, 3, 3), {"group": 5, "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ((2, 5, 4, 4), (3, 5, 1, 1), {}),
    ((1, 3, 10, 7), (2, 3, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ((1, 3, 10, 7), (2, 3, 4, 3), {"auto_pad": "SAME_LOWER", "strides": [3, 2]}),
    ((1, 3, 10, 7), (2, 3, 3, 3), {"auto_pad": "VALID", "strides": [2, 2]}),
    ((2, 3, 11), (4, 3, 3), {"pads": [1, 1]}),
    ((1, 2, 5, 6, 4), (3, 2, 2, 3, 2), {"pads": [1, 0, 1, 0, 1, 0]}),
]


def by_runtime(op: str, inputs: list[np.ndarray], attributes: dict) -> np.ndarray:
    shapes = {f"i{at}": array.shape for at, array in enumerate(inputs)}
    proto = model([node(op, " ".join(shapes), "y", **attributes)], shapes, {"y": None})
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(shapes, inputs, strict=True)))[0]


def codes(shape: tuple[int, ...]) -> np.ndarray:
    return RANDOM.integers(-127, 128, size=shape).astype(np.float32)


@pytest.mark.parametrize(("shape", "kernel", "attributes"), CONVOLUTIONS)
def test_a_convolution(shape: tuple[int, ...], kernel: tuple[int, ...], attributes: dict) -> None:
    values, weight = codes(shape), codes(kernel)
    layer = rows_of(gs.Node("Conv", attrs=attributes), 1, kernel)
    assert layer is not None
    wanted = by_runtime("Conv", [values, weight], attributes)
    count = layer.count(values.astype(np.int8))
    assert count == wanted.size // kernel[0]
    rows = layer.rows(values.astype(np.int8), np.arange(count))
    product = np.einsum("grk,gok->rgo", rows, layer.matrix(weight)).reshape(count, kernel[0])
    np.testing.assert_array_equal(product, np.moveaxis(wanted, 1, -1).reshape(count, -1))
    np.testing.assert_array_equal(layer.weight_of(layer.matrix(weight)), weight)
    some = np.array([count - 1, 0, count // 2])
    np.testing.assert_array_equal(layer.rows(values.astype(np.int8), some), rows[:, some])


@pytest.mark.parametrize("flags", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("slot", [0, 1])
def test_a_gemm(flags: tuple[int, int], slot: int) -> None:
    left, right = codes((6, 5)), codes((5, 7))
    operands = [each.T.copy() if flag else each for each, flag in zip((left, right), flags, strict=True)]
    attributes = {"transA": flags[0], "transB": flags[1]}
    layer = rows_of(gs.Node("Gemm", attrs=attributes), slot, operands[slot].shape)
    assert layer is not None
    values = operands[1 - slot]
    rows = layer.rows(values, np.arange(layer.count(values)))
    product = rows[0] @ layer.matrix(operands[slot])[0].T
    wanted = by_runtime("Gemm", operands, attributes)
    np.testing.assert_array_equal(product, wanted if slot == 1 else wanted.T)
    np.testing.assert_array_equal(layer.weight_of(layer.matrix(operands[slot])), operands[slot])


@pytest.mark.parametrize(("slot", "shapes"), [(1, ((2, 3, 5), (5, 4))), (0, ((4, 5), (2, 5, 3)))])
def test_a_matmul(slot: int, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    operands = [codes(shape) for shape in shapes]
    layer = rows_of(gs.Node("MatMul"), slot, shapes[slot])
    assert layer is not None
    values = operands[1 - slot]
    product = layer.rows(values, np.arange(layer.count(values)))[0] @ layer.matrix(operands[slot])[0].T
    wanted = by_runtime("MatMul", operands, {})
    wanted = wanted if slot == 1 else wanted.swapaxes(-1, -2)
    np.testing.assert_array_equal(product, wanted.reshape(product.shape))


def test_what_is_not_rows_times_one_matrix() -> None:
    assert rows_of(gs.Node("ConvTranspose"), 1, (3, 4, 2, 2)) is None
    assert rows_of(gs.Node("MatMul"), 1, (2, 5, 4)) is None


def test_rows_are_spread_evenly_and_differ_from_turn_to_turn() -> None:
    np.testing.assert_array_equal(spread(5, 9, 3), np.arange(5))
    found = [spread(1000, 10, turn) for turn in range(20)]
    for each in found:
        assert len(set(each)) == 10
        assert each.min() >= 0
        assert each.max() < 1000
        assert set(np.diff(each)) <= {99, 100, 101}
    assert len(np.unique(np.concatenate(found))) > 150


def test_rows_of_items_side_by_side_are_those_of_each_alone() -> None:
    alone = [spread(100, 7, turn) + 100 * at for at, turn in enumerate((3, 4, 5))]
    np.testing.assert_array_equal(spread_over(300, 3, 7, 3), np.concatenate(alone))
    np.testing.assert_array_equal(spread_over(10, 3, 7, 3), np.arange(10))
