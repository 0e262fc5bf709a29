"""The scale that each pair gets: ties, zeros, and the narrowing to float16."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_trtcal.errors import OptionError
from onnx_trtcal.qdq.place.placement import Activation, Placement, Read, Tie
from onnx_trtcal.qdq.write.pair_scales import beyond_float16, pair_scales, round_up
from onnx_trtcal.scales import SCALE_OF_ZEROS

HALF = np.dtype(np.float16)


def placement(tensors: str, *ties: Tie) -> Placement:
    return Placement(tuple(Activation(name, (Read("n", 0),)) for name in tensors), (), ("n",), {}, {}, ties)


def test_tied_tensors_take_the_largest_scale_of_their_leaders() -> None:
    tied = placement("abc", Tie(("a", "b"), ("b",)))
    assert pair_scales(tied, {"a": 1.0, "b": 0.5, "c": 2.0}) == {"a": 0.5, "b": 0.5, "c": 2.0}
    both = placement("abc", Tie(("a", "b", "c"), ("b", "c")))
    assert pair_scales(both, {"a": 4.0, "b": 0.5, "c": 2.0}) == dict.fromkeys("abc", 2.0)


def test_a_tensor_of_zeros_gets_a_positive_scale() -> None:
    assert pair_scales(placement("a"), {"a": 0.0, "unused": -1.0}) == {"a": SCALE_OF_ZEROS}


def test_a_missing_scale_names_its_tensor() -> None:
    with pytest.raises(OptionError, match="no scale for tensor 'b'"):
        pair_scales(placement("ab"), {"a": 1.0})


@given(st.floats(1e-30, 1e30))
def test_a_narrower_scale_is_the_next_one_that_does_not_clip(scale: float) -> None:
    value = round_up(np.asarray(scale), HALF)
    largest, smallest = np.finfo(np.float16).max, np.finfo(np.float16).smallest_subnormal
    assert value.dtype == np.float16 and 0 < value <= largest
    assert value >= min(scale, float(largest))
    assert value == smallest or float(np.nextafter(value, np.float16(0))) < scale


def test_what_float16_cannot_hold() -> None:
    scales = {"zeros": 0.0, "tiny": 1e-5, "small": 1e-4, "usual": 0.05, "large": 257.0, "huge": 258.0}
    assert beyond_float16(scales) == {"tiny", "huge"}
