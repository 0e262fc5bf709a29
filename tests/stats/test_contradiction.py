"""Numbers of a histogram that no values have are refused; whatever was counted passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.slow_histogram import any_array
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onnx_trtcal.errors import StatisticsError
from onnx_trtcal.stats.collection import Collection
from onnx_trtcal.stats.contradiction import contradiction
from onnx_trtcal.stats.histogram import Histogram
from onnx_trtcal.stats.store import dumps, loads

if TYPE_CHECKING:
    from onnx_trtcal.options import Range


def a_histogram(rule: Range) -> Histogram:
    histogram = Histogram(rule)
    histogram.add(np.float32([0, 0.25, -0.75, 3, 0]))
    return histogram


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(any_array(), max_size=4), st.sampled_from(["stable", "tensorrt"]))
@example([np.array([5e-324]), np.array([1.7e308])], "stable")
@example([np.float32([1e-45]), np.float32([2048 * 1e-45]), np.float32([3.4e38])], "tensorrt")
@example([np.float32([1, 0.9999999]), np.float32([1.0000001, 2])], "tensorrt")
@example([np.float32([0.1]), np.float32([0.2]), np.float32([0.4])], "tensorrt")
def test_what_was_counted_is_never_refused(arrays: list[np.ndarray], rule: Range) -> None:
    whole = Collection(["x"], model="", rule=rule)
    for number, array in enumerate(arrays):
        whole.add([str(number)], [str(number)], {"x": array.reshape(1, -1)})
        assert contradiction(whole.histograms["x"]) == ""
        if rule == "stable":
            part = whole.share()  # a wider range than its values ask for
            assert contradiction(part.histograms["x"]) == ""
            whole.absorb(part)


@pytest.mark.parametrize("rule", ["stable", "tensorrt"])
@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("width", 0.0, "its bins reach to 0.0"),
        ("width", 5e-324, "a width that no range has"),
        ("width", 1e300, "a width that no range has|not in the topmost bin"),
        ("width", 1e-9, "a width that no range has|its bins reach to"),
        ("amax", 0.0, "a largest magnitude of 0.0"),
        ("amax", 1e-30, "not in the topmost bin in use"),
        ("amax", 1e30, "a largest magnitude of 1e\\+30, and its bins reach to"),
        ("total", 6, "does not have as many values as it says"),
        ("zeros", 3, "does not have as many values as it says"),
    ],
)
def test_what_cannot_have_been_counted_is_refused(rule: Range, field: str, value: float, fault: str) -> None:
    collection = Collection(["x"], model="", rule=rule)
    collection.histograms["x"] = a_histogram(rule)
    assert loads(dumps(collection)) == collection
    setattr(collection.histograms["x"], field, value)
    with pytest.raises(StatisticsError, match=f"tensor 'x' .*({fault})"):
        loads(dumps(collection))
