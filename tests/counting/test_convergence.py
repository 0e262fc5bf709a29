from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_trtcal.counting.convergence import (
    FIRST_VERDICT,
    Movement,
    Watch,
    final_marks,
    growing_marks,
    moved,
)
from onnx_trtcal.stats.collection import Collection

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MARKS = (4, 8)


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


def amaxes(collection: Collection) -> Mapping[str, float]:
    return {name: histogram.amax for name, histogram in collection.histograms.items()}


def watch(path: Path | None = None, *, until: float | None = None, job: str = "this") -> Watch:
    return Watch(amaxes, MARKS, until, path, {"job": job})


def collected(values: list[float]) -> Collection:
    collection = Collection(["t"], model="m")
    for number, value in enumerate(values):
        collection.add([f"s{number}"], ["hash"], {"t": np.array([value])})
    return collection


def grow(watcher: Watch, values: list[float], begin: int = 0) -> list[Movement | None]:
    seen = []
    for count in range(begin + 1, len(values) + 1):
        watcher.look(collected(values[:count]), 1)
        seen.append(watcher.movement)
    return seen


VALUES = [1.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0, 3.0, 1.0]


def test_looks_at_the_marks_only() -> None:
    seen = grow(watch(), VALUES)
    assert seen == [None] * 7 + [Movement(0.5, "t", 4, 8)] * 2


def test_a_batch_that_steps_over_a_mark_is_looked_at_where_it_ends() -> None:
    watcher = watch()
    watcher.look(collected(VALUES[:5]), 5)
    watcher.look(collected(VALUES), 4)
    assert watcher.movement == Movement(0.5, "t", 4, 9)


def test_is_settled_at_a_mark_or_never() -> None:
    watcher = watch(until=0.5)
    grow(watcher, VALUES[:8])
    assert watcher.settled
    watcher.look(collected(VALUES), 1)
    assert not watcher.settled
    restless = watch(until=0.49)
    grow(restless, VALUES[:8])
    assert not restless.settled and not watch().settled


@pytest.mark.parametrize("done", range(9))
def test_a_resumed_watch_sees_what_an_uninterrupted_one_sees(tmp_path: Path, done: int) -> None:
    """The looks may be ahead of the checkpoint by any number of samples when a run is killed."""
    for ahead in range(10 - done):
        path = tmp_path / f"{ahead}.looks"
        grow(watch(path, until=0.5), VALUES[: done + ahead])
        again = watch(path, until=0.5)
        assert again.resume(collected(VALUES[:done]))
        whole = watch(until=0.5)
        grow(whole, VALUES[:done])
        assert (again.movement, again.settled) == (whole.movement, whole.settled)
        assert grow(again, VALUES, done) == grow(whole, VALUES, done)


class TestLooksThatAreNotItsOwn:
    def resumed(
        self, path: Path, values: list[float], *, until: float | None = 0.5, job: str = "this"
    ) -> bool:
        return watch(path, until=until, job=job).resume(collected(values))

    def test_of_another_job(self, tmp_path: Path) -> None:
        path = tmp_path / "looks"
        grow(watch(path, until=0.5), VALUES)
        assert self.resumed(path, VALUES)
        assert not self.resumed(path, VALUES, job="that")
        # Before the first mark nothing can have been missed, and without a bound nothing depends on it.
        assert self.resumed(path, VALUES[:3], job="that")
        assert self.resumed(path, VALUES, job="that", until=None)

    def test_of_other_samples(self, tmp_path: Path) -> None:
        path = tmp_path / "looks"
        grow(watch(path, until=0.5), VALUES)
        content = json.loads(path.read_text())
        content["samples"][0][1] = "another hash"
        path.write_text(json.dumps(content))
        assert not self.resumed(path, VALUES)

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"looks": 3}', '{"looks": [["x", 1]]}'])
    def test_damaged(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "looks"
        path.write_text(text)
        assert not self.resumed(path, VALUES)
        assert self.resumed(path, [])
        assert not self.resumed(tmp_path / "missing", VALUES)
