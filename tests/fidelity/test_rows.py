"""Joint runs against the runs of their items."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_trtcal.fidelity.rows import RowCheck, relative_distance


def verdict(joint: np.ndarray, *alone: np.ndarray, tolerance: float = 1e-4) -> str:
    check = RowCheck(["t"], [joint], tolerance)
    return next((text for each in alone if (text := check.take([each]))), "") or check.finish()


@given(st.integers(0, 2), st.lists(st.integers(0, 3), min_size=2, max_size=4), st.integers(0, 9))
def test_items_put_together_along_any_axis_agree(axis: int, lengths: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    parts = [random.normal(size=(2,) * axis + (length,) + (2,) * (2 - axis)) for length in lengths]
    joint = np.concatenate(parts, axis)
    if joint.shape[axis] == parts[0].shape[axis]:
        return  # nothing grew
    assert verdict(joint, *parts) == ""
    if joint.size:
        worse = joint.copy()
        worse.flat[-1] += 1e-3 * np.abs(joint).max()
        assert "off by 0.001 of its largest magnitude" in verdict(worse, *parts)
        assert verdict(worse, *parts, tolerance=1e-2) == ""


def test_shapes_that_do_not_add_up() -> None:
    one = np.ones((2, 3))
    assert "(2, 3) for one item, (4, 6)" in verdict(np.ones((4, 6)), one, one)
    assert "(2, 3) for one item, (12)" in verdict(np.ones(12), one, one)
    assert "has length 5 along axis 0 for 2 items together, and 4" in verdict(np.ones((5, 3)), one, one)
    assert "(2, 3) for one item" in verdict(np.ones((3, 3)), one, one)


def test_what_depends_on_no_item_is_set_apart() -> None:
    check = RowCheck(["t"], [np.full((1, 4), 7.0)], 1e-4)
    assert [check.take([np.full((1, 4), 2.0)]) for _ in range(2)] == ["", ""]
    assert list(check.apart) == ["t"]
    assert "for one item and for several alike" in check.take([np.full((1, 4), 3.0)])


def test_whole_numbers_are_ignored() -> None:
    assert verdict(np.arange(3), np.arange(5)) == ""


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        ([1, np.nan], [1, np.nan], 0),
        ([1, np.inf], [1, np.inf], 0),
        ([1, np.inf], [1, -np.inf], np.inf),
        ([1, np.nan], [1, 2], np.inf),
        ([0, 0], [0, 0], 0),
        ([0, 0], [0, 1], np.inf),
        ([4, 0], [4, 1], 0.25),
    ],
)
def test_distance(one: list[float], other: list[float], distance: float) -> None:
    assert relative_distance(np.array(one), np.array(other), np.array(one)) == distance
