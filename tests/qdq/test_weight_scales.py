from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.errors import ModelError
from onnx_trtcal.qdq.weight_scales import quantize_weight, weight_limit, weight_scales


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


def test_seven_bits_leave_the_top_bit_free() -> None:
    assert (weight_limit(8), weight_limit(7)) == (127, 63)
    weight = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32)
    scales = weight_scales(weight, 0, limit=63).scales
    assert scales == pytest.approx(np.abs(weight).max(axis=1) / 63)
    integers = quantize_weight(weight, scales, 0, 63)
    assert integers.max() <= 63 and integers.min() >= -63
    assert (np.abs(integers).max(axis=1) == 63).all()
    # A scale that is too small for the largest weight clips it.
    assert np.abs(quantize_weight(weight, scales / 2, 0, 63)).max() == 63
