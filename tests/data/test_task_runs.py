"""Small tasks put together: order, sizes, and errors in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_trtcal.data.task_runs import in_runs

if TYPE_CHECKING:
    from collections.abc import Iterator


def never_large(_: int) -> bool:
    return True


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 8))
def test_runs_are_as_long_as_they_may_be(small: list[bool], most: int) -> None:
    runs = [run().results for run in in_runs(range(len(small)), most, lambda at: at, small.__getitem__)]
    assert [at for run in runs for at in run] == list(range(len(small)))
    for run in runs[:-1]:
        assert len(run) == most or not small[run[-1]]
    assert all(len(run) <= most and all(small[at] for at in run[:-1]) for run in runs)


def test_nothing_is_done_before_it_is_called() -> None:
    done: list[int] = []
    runs = list(in_runs(range(5), 2, done.append, never_large))
    assert not done
    for run in runs:
        run()
    assert done == [0, 1, 2, 3, 4]


def test_what_a_task_raises_comes_after_the_results_before_it() -> None:
    (run,) = in_runs([1, 2, 0, 3], 4, lambda each: 6 // each, never_large)
    outcome = run()
    assert outcome.results == [6, 3]
    assert isinstance(outcome.error, ZeroDivisionError)


@pytest.mark.parametrize("before", [0, 1, 3])
def test_what_the_iterable_raises_comes_after_what_it_gave(before: int) -> None:
    def tasks() -> Iterator[int]:
        yield from range(before)
        raise KeyError("broken")

    runs = in_runs(tasks(), 2, lambda at: at, never_large)
    got = []
    with pytest.raises(KeyError, match="broken"):
        got.extend(each for run in runs for each in run().results)
    assert got == list(range(before))
