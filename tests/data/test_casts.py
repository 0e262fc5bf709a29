from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnx_trtcal.data.casts import cast
from onnx_trtcal.errors import DataError

INTEGERS = [np.dtype(f"{kind}int{bits}") for kind in ("", "u") for bits in (8, 16, 32, 64)]
TARGETS = [*INTEGERS, np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64), np.dtype(bool)]


@given(st.data())
def test_integers_arrive_exactly_or_are_refused(data):
    source = data.draw(st.sampled_from(INTEGERS))
    target = data.draw(st.sampled_from(TARGETS))
    array = data.draw(hnp.arrays(source, (3,)))
    wanted = [int(value) for value in array]
    try:
        got = [int(value) for value in cast(array, target, "here")]
    except DataError:
        # Reference: Python integers against what NumPy's scalar constructor of the target keeps of them.
        with np.errstate(all="ignore"):
            kept = [np.array(value, source).astype(target) for value in wanted]
        assert any(not np.isfinite(k) or int(k) != value for k, value in zip(kept, wanted, strict=True))
    else:
        assert got == wanted


@pytest.mark.parametrize("target", [np.float16, np.float32, ml_dtypes.bfloat16])
def test_floats_are_rounded(target):
    array = np.array([0.1, -3.7, np.nan, np.inf, 1e-30])
    got = cast(array, np.dtype(target), "here")
    assert got.dtype == target
    np.testing.assert_array_equal(got.astype(np.float64), array.astype(target).astype(np.float64))


def test_bfloat16_from_a_file_that_lost_its_name():
    wanted = np.array([1.5, -2.25], ml_dtypes.bfloat16)
    got = cast(wanted.view("V2"), wanted.dtype, "here")
    np.testing.assert_array_equal(got.astype(np.float32), [1.5, -2.25])


def test_byte_order_and_memory_order_are_native():
    array = np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3))
    got = cast(array, np.dtype(np.float32), "here")
    assert got.dtype.isnative
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize(
    ("array", "target", "reason"),
    [
        (np.array([0.5]), np.int64, "float64, the model wants int64: fractions"),
        (np.array([1.0]), np.uint8, "fractions"),
        (np.array([1e6]), np.float16, "1e.06 would overflow"),
        (np.array([300]), np.uint8, "from 300 to 300"),
        (np.array([-1]), np.uint64, "from -1"),
        (np.array([2**24 + 1]), np.float32, "16777217"),
        (np.array([2]), np.bool_, "2"),
        (np.array([1j]), np.float32, "complex128"),
        (np.array(["a"]), np.float32, "wants float32"),
        (np.array([1.0]), np.object_, "wants strings"),
    ],
)
def test_lossy_casts_are_refused_by_name(array, target, reason):
    with pytest.raises(DataError, match=reason) as caught:
        cast(array, np.dtype(target), "calib.npy, input 'x'")
    assert caught.value.where == "calib.npy, input 'x'"
    assert caught.value.fix


def test_strings_for_a_string_input():
    assert cast(np.array(["ab", "c"]), np.dtype(object), "here").tolist() == ["ab", "c"]
