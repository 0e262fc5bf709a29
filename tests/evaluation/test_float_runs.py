"""The float model runs once for many that are compared with it, as far as memory allows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from onnx_trtcal.evaluation.paired_run import FloatRuns

if TYPE_CHECKING:
    from collections.abc import Iterator

# A batch and an output of 40 bytes each.
BATCHES: list[Any] = [SimpleNamespace(feeds={"x": np.full(10, at, np.float32)}) for at in range(3)]


class Model:
    """Counts its runs."""

    def __init__(self) -> None:
        self.runs = 0

    def fresh(self) -> Iterator[tuple[Any, dict[str, np.ndarray]]]:
        for batch in BATCHES:
            self.runs += 1
            yield batch, {"y": 2 * batch.feeds["x"]}


@pytest.mark.parametrize(("most", "runs"), [(240, 3), (239, 9), (0, 9)])
def test_it_runs_once_where_everything_fits(most: int, runs: int) -> None:
    model, known = Model(), FloatRuns(most)
    for _ in range(3):
        found = list(known.of(model.fresh()))
        assert [batch for batch, _ in found] == BATCHES
        assert [float(fp32["y"][0]) for _, fp32 in found] == [0.0, 2.0, 4.0]
    assert model.runs == runs


def test_a_pass_that_was_broken_off_is_not_taken_for_all_of_it() -> None:
    model, known = Model(), FloatRuns(1 << 20)
    next(known.of(model.fresh()))
    assert len(list(known.of(model.fresh()))) == 3
    assert model.runs == 4


def test_who_works_in_place_changes_nothing_for_the_next_one() -> None:
    model, known = Model(), FloatRuns(1 << 20)
    for _ in range(3):
        for at, (_, fp32) in enumerate(known.of(model.fresh())):
            assert float(fp32["y"][0]) == 2.0 * at
            fp32["y"] += 5
    assert model.runs == 3
