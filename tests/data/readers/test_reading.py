"""What the boundary of the readers makes of what a library raises."""

from __future__ import annotations

import tokenize

import pytest

from onnx_trtcal.data.readers.lazy_array import reading
from onnx_trtcal.errors import DataError, ModelError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("bad magic"), "bad magic"),
        (OSError(5, "Input/output error"), "[Errno 5] Input/output error"),
        (tokenize.TokenError("EOF in multi-line statement", (2, 0)), "EOF in multi-line statement"),
        (IndexError("tuple index out of range"), "it is damaged"),
        (KeyError("descr"), "it is damaged"),
        (RuntimeError(), "it is damaged"),
        (MemoryError(), "it does not fit into memory"),
    ],
)
def test_it_is_one_line_for_people(error: Exception, said: str) -> None:
    with pytest.raises(DataError) as refusal, reading("x.npy", "the array cannot be read", "copy it"):
        raise error
    assert refusal.value.what == f"the array cannot be read: {said}"
    assert (refusal.value.where, refusal.value.fix) == ("x.npy", "copy it")


def test_an_error_of_the_family_passes() -> None:
    with pytest.raises(ModelError), reading("x.npy", "the array cannot be read", "copy it"):
        raise ModelError("other")
