"""How many steps a search makes, and what it finds again when it is resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.counting.checkpoint import remove_checkpoints, search_path
from onnx_trtcal.search.steps import Journal, Steps

if TYPE_CHECKING:
    from pathlib import Path


def taken(steps: Steps, costs: list[float], reserve: float = 0) -> int:
    for cost in costs:
        if not steps.another(cost, reserve):
            break
        steps.spend(cost)
    return steps.done


def test_the_runs_that_are_left_decide_without_a_limit() -> None:
    assert taken(Steps(100), [30.0] * 9) == 3
    assert taken(Steps(100), [30.0] * 9, reserve=20) == 2


def test_a_number_of_steps_overrides_the_runs_and_the_clock() -> None:
    assert taken(Steps(10, most=5, seconds=0.001), [30.0] * 9) == 5
    assert taken(Steps(10, most=0), [1.0]) == 0


def test_the_clock_leaves_time_for_what_comes_last() -> None:
    now = [0.0]

    def clock() -> float:
        return now[0]

    steps = Steps(1, seconds=10, now=clock)
    done = 0
    steps.spend(2)
    now[0] += 2  # a second a run
    while steps.another(1, reserve=3):
        steps.spend(1)
        now[0] += 1
        done += 1
    assert done == steps.done == 5
    assert now[0] + 3 <= 10


def test_what_was_recalled_takes_no_time() -> None:
    now = [0.0]
    steps = Steps(1, seconds=10, now=lambda: now[0])
    steps.spend(1000, measured=False)
    steps.spend(1)
    now[0] = 5.0
    assert steps.another(1, reserve=0)
    assert not steps.another(2, reserve=0)


def test_progress_is_told_every_run_once() -> None:
    told: list[int] = []
    steps = Steps(100)
    steps.report_to(told.append)
    for _ in range(7):
        steps.spend(0.4)
    assert sum(told) == 2


def test_a_journal_gives_back_what_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "x.search"
    values = [0.1 + 0.2, 1e-300, 7]
    assert Journal(path, "key").recall("a", lambda: values) == values
    again = Journal(path, "key")
    assert again.holds("a")
    assert again.recall("a", lambda: [0]) == values
    assert not Journal(path, "another").holds("a")
    path.write_bytes(b"{not json")
    assert not Journal(path, "key").holds("a")


def test_the_file_goes_with_the_checkpoint(tmp_path: Path) -> None:
    checkpoint = tmp_path / "x.checkpoint"
    path = search_path(checkpoint)
    Journal(path, "key").recall("a", lambda: [1])
    assert path.exists()
    remove_checkpoints(checkpoint)
    assert list(tmp_path.iterdir()) == []
