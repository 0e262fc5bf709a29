from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from onnx_trtcal.collect.convergence import FIRST_VERDICT, Movement, final_marks, growing_marks, moved


def test_movement_is_the_largest_relative_change() -> None:
    got = moved({"a": 2.0, "b": 4.0, "c": 1.0}, {"a": 2.2, "b": 3.0, "c": 1.0}, 16, 64)
    assert got == Movement(0.25, "b", 16, 64)


def test_a_threshold_that_leaves_zero_has_moved_without_bound() -> None:
    assert moved({"a": 0.0}, {"a": 1e-30}, 1, 2).most == math.inf
    assert moved({"a": 0.0}, {"a": 0.0}, 1, 2).most == 0
    assert moved({}, {}, 1, 2).most == 0


@given(st.integers(0, 10**7))
def test_final_marks_enclose_the_last_quarter(total: int) -> None:
    marks = sorted(final_marks(total))
    if total < FIRST_VERDICT:
        assert marks == []
    else:
        first, last = marks
        assert last == total and 0 <= (last - first) - total / 4 < 1


def test_between_growing_marks_lies_a_last_quarter_and_no_verdict_falls_before_64() -> None:
    marks = sorted(growing_marks())
    assert marks[:3] == [48, 64, 86]
    for before, after in pairwise(marks):
        assert 0 <= (after - before) - after / 4 < 1
    assert marks[-1] >= 1 << 40
