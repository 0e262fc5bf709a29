from __future__ import annotations

import math
import struct

import numpy as np
from helpers.small import network
from hypothesis import given
from hypothesis import strategies as st

from onnx_trtcal.options import Options
from onnx_trtcal.prepared import prepare
from onnx_trtcal.scales import SCALE_OF_ZEROS, make_scales, to_scale


def bits(value: float) -> str:
    return f"{struct.unpack('<I', struct.pack('<f', value))[0]:08x}"


def test_scales_that_tensorrt_wrote() -> None:
    # [0, 1] kept whole by the entropy search; 1.0 and 2.0 by the maximum.
    assert bits(to_scale(2048.5 / 2048)) == "3c010a14"
    assert bits(to_scale(1.0)) == "3c010204" and bits(to_scale(2.0)) == "3c810204"


@given(st.floats(1e-30, 1e30))
def test_is_the_float32_quotient_of_the_float32_threshold(threshold: float) -> None:
    assert to_scale(threshold) == float(np.float32(threshold) / np.float32(127))


@given(st.floats(0, allow_infinity=True))
def test_is_finite_and_positive_whatever_the_threshold(threshold: float) -> None:
    scale = to_scale(threshold)
    assert 0 < scale < math.inf and scale == np.float32(scale)
    assert scale >= np.finfo(np.float32).tiny


def test_zero_is_written_as_zero_on_request_only() -> None:
    assert to_scale(0.0) == SCALE_OF_ZEROS == to_scale(1.0)
    assert to_scale(0.0, zero_scales=True) == 0.0
    assert to_scale(1e-44, zero_scales=True) > 0


def test_every_tensor_of_the_plan_gets_the_scale_of_its_source() -> None:
    plan = prepare(network(), Options()).plan
    thresholds = {name: 1.0 + index for index, name in enumerate(plan.observed)}
    amaxes = {name: 10.0 + index for index, name in enumerate(plan.observed)}
    methods = dict.fromkeys(plan.observed, "mse")
    scales = make_scales(plan, thresholds, amaxes, methods)
    assert list(scales) == list(plan.owners)
    for name, item in scales.items():
        source = plan.owners[name].source
        assert (item.tensor, item.source, item.reason) == (name, source, plan.owners[name].reason)
        assert (item.threshold, item.amax, item.method) == (thresholds[source], amaxes[source], "mse")
        assert item.scale == to_scale(thresholds[source]) and not item.all_zero


def test_what_takes_the_scale_of_a_tensor_never_seen_was_not_seen_either() -> None:
    plan = prepare(network(), Options()).plan
    lost, *others = plan.observed
    zeros = dict.fromkeys(plan.observed, 0.0)
    scales = make_scales(plan, zeros, zeros, dict.fromkeys(plan.observed, "mse"), unseen={lost})
    for item in scales.values():
        assert (item.seen, item.all_zero) == ((False, False) if item.source == lost else (True, True))
        assert item.scale == SCALE_OF_ZEROS
    assert others and not scales[lost].seen


def test_an_infinite_threshold_is_held_to_float32() -> None:
    plan = prepare(network(), Options()).plan
    values = dict.fromkeys(plan.observed, math.inf)
    scales = make_scales(plan, values, values, dict.fromkeys(plan.observed, "minmax"))
    assert {item.threshold for item in scales.values()} == {float(np.finfo(np.float32).max)}
