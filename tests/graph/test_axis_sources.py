"""Sources of reshaped axes against coordinates carried through NumPy's own reshape."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.graph.axis_sources import AxisSource, axis_source


def test_axes_merge_and_fall_apart() -> None:
    assert axis_source((1, 255, 20, 20), (1, 3, 85, 20, 20), 2) == AxisSource((1,), inside=True)
    assert axis_source((1, 255, 20, 20), (1, 3, 85, 20, 20), 3) == AxisSource((2,))
    assert axis_source((1, 85, 20, 20), (1, 85, 400), 2) == AxisSource((2, 3))
    assert axis_source(("N", 512, 1, 1), ("N", 512), 1) == AxisSource((1,))


def test_names_and_unknown_sizes() -> None:
    assert axis_source(("N", 85, "h", "w"), ("N", 85, None), 1) == AxisSource((1,))
    assert axis_source((1, None, None, 8), (1, None, 4), 2) == AxisSource((3,), inside=True)
    assert axis_source(("N", 85, "h", "w"), ("N", 85, None), 2) is None
    assert axis_source((None, 6), (None, 3, 2), 2) == AxisSource((1,), inside=True)


def test_an_axis_that_mixes_two_has_no_source() -> None:
    # 4 x 6 read as 3 x 8: an 8 holds parts of two rows.
    assert axis_source((4, 6), (3, 8), 1) is None


@settings(max_examples=200)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_coordinates_agree(before: list[int], data: st.DataObject) -> None:
    size = int(np.prod(before))
    after = []
    rest = size
    while rest > 1 and len(after) < 3:
        dim = data.draw(st.sampled_from([d for d in range(1, rest + 1) if rest % d == 0]))
        after.append(dim)
        rest //= dim
    after.append(rest)
    coordinates = [each.reshape(after) for each in np.indices(before)]
    for axis in range(len(after)):
        source = axis_source(tuple(before), tuple(after), axis)
        if source is None:
            continue
        # Along the axis, everything else fixed, only the source's coordinates change.
        for at, each in enumerate(coordinates):
            still = bool((np.diff(each, axis=axis) == 0).all())
            assert still or at in source.axes
