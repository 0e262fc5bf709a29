from __future__ import annotations

import numpy as np
import pytest
from helpers import toys
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.errors import ModelError
from onnx_trtcal.qdq.weight_scales import channel_axis, quantize_weight, weight_scales


def outputs_that_change(
    op: str, weight: np.ndarray, x: np.ndarray, axis: int, index: int, **attributes
) -> set[int]:
    """The output channels that a change of one slice of the weight along `axis` reaches."""
    left = attributes.pop("left", False)
    order = "w x" if left else "x w"

    def run(value: np.ndarray) -> np.ndarray:
        shape = {"x": x.shape}
        graph = toys.model([toys.node(op, order, "y", **attributes)], shape, ["y"], {"w": value})
        return toys.run(graph, {"x": x})[0]

    changed = weight.copy()
    changed[(slice(None),) * axis + (index,)] += 1
    difference = run(changed) - run(weight)
    where = 0 if left else 1  # (rows, columns) of a left operand; (batch, channel, ...) of the rest
    return set(np.flatnonzero(np.moveaxis(difference, where, 0).reshape(difference.shape[where], -1).any(1)))


@pytest.mark.parametrize(
    ("op", "weight", "x", "group", "attributes", "flags"),
    [
        ("Conv", (6, 2, 3, 3), (1, 4, 5, 5), 2, {"group": 2}, {}),
        ("ConvTranspose", (4, 3, 3, 3), (1, 4, 5, 5), 1, {}, {}),
        ("ConvTranspose", (4, 3, 3, 3), (1, 4, 5, 5), 2, {"group": 2}, {}),
        ("Gemm", (4, 3), (2, 4), 1, {}, {}),
        ("Gemm", (3, 4), (2, 4), 1, {"transB": 1}, {"transposed": True}),
        ("Gemm", (3, 4), (4, 2), 1, {}, {"left": True}),
        ("Gemm", (4, 3), (4, 2), 1, {"transA": 1}, {"left": True, "transposed": True}),
        ("MatMul", (4, 3), (2, 4), 1, {}, {}),
        ("MatMul", (3, 4), (4, 2), 1, {}, {"left": True}),
    ],
)
def test_the_channel_axis_is_the_one_that_reaches_one_output_channel(
    op: str, weight: tuple, x: tuple, group: int, attributes: dict, flags: dict
) -> None:
    rng = np.random.default_rng(0)
    values, data = rng.random(weight).astype(np.float32), rng.random(x).astype(np.float32)
    axis = channel_axis(op, len(weight), **flags)
    index = weight[axis] - 1
    left = {"left": True} if flags.get("left") else {}
    reached = outputs_that_change(op, values, data, axis, index, **attributes, **left)
    marks = np.arange(weight[axis])
    # Channel o of a ConvTranspose's output is number o % (out / group) of its weight's axis 1.
    order = np.tile(marks, group) if op == "ConvTranspose" else marks
    assert reached == set(np.flatnonzero(order == index))


def test_what_has_no_channels() -> None:
    assert channel_axis("MatMul", 1) is None
    with pytest.raises(ModelError, match="Relu has no weight"):
        channel_axis("Relu", 4)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([None, 0, 1, -1]), st.floats(1e-3, 1e3))
def test_quantized_weights_come_back_within_half_a_step(seed: int, axis: int | None, size: float) -> None:
    rng = np.random.default_rng(seed)
    weight = (rng.standard_normal((5, 4, 3)) * rng.lognormal(0, 2, (5, 4, 1)) * size).astype(np.float32)
    found = weight_scales(weight, axis)
    assert (found.scales > 0).all() and found.scales.dtype == np.float32
    back = quantize_weight(weight, found.scales, axis)
    assert back.dtype == np.int8 and back.min() >= -127
    steps = found.scales.reshape([-1 if k == (axis or 0) % 3 else 1 for k in range(3)])
    assert (np.abs(back * steps - weight) <= steps * 0.5001).all()


def test_each_channel_has_the_scale_of_its_largest_magnitude() -> None:
    weight = np.array([[1.27, -2.54], [0.5, 12.7]], np.float32)
    assert weight_scales(weight, 0).scales == pytest.approx([0.02, 0.1])
    assert weight_scales(weight, 1).scales == pytest.approx([0.01, 0.1])
    assert weight_scales(weight, None).scales == pytest.approx([0.1])
    assert quantize_weight(weight, weight_scales(weight, 0).scales, 0).tolist() == [[64, -127], [5, 127]]


def test_dead_channels_are_named_and_get_a_safe_scale() -> None:
    weight = np.array([[1.0, -1.0], [0.0, 0.0], [1e-7, -3e-5], [1e-4, 0.0]], np.float32)
    found = weight_scales(weight, 0)
    assert found.dead == (1, 2)
    assert found.scales[1:] == pytest.approx([1e-4 / 127] * 3)
    assert quantize_weight(weight, found.scales, 0)[1:].tolist() == [[0, 0], [0, -38], [127, 0]]


def test_a_weight_that_is_small_as_a_whole_keeps_its_precision() -> None:
    weight = np.array([[1e-5, -1e-5], [0.0, 0.0]], np.float32)
    found = weight_scales(weight, 0)
    assert found.dead == (0, 1)
    assert quantize_weight(weight, found.scales, 0).tolist() == [[127, -127], [0, 0]]
    assert weight_scales(np.zeros((2, 2), np.float32), None).scales == pytest.approx([1e-4 / 127])


def test_half_precision_and_non_finite_weights() -> None:
    assert weight_scales(np.full((2, 2), 2.0, np.float16), 0).scales.dtype == np.float32
    with pytest.raises(ModelError, match=r"NaN or Inf\n.*fc.weight"):
        weight_scales(np.array([[1.0, np.nan]], np.float32), 0, "fc.weight")
