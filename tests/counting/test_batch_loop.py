from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnx_trtcal.counting.batch_loop import collect
from onnx_trtcal.data.batching import Batch
from onnx_trtcal.data.layout import Feeding
from onnx_trtcal.errors import DataError

if TYPE_CHECKING:
    from onnx_trtcal.data.seen_shapes import SeenShapes

Arrays = Mapping[str, np.ndarray]


class FakeSession:
    """Doubles its input; knows which of the arrays it gave are still alive."""

    outputs = ("twice", "mean")

    def __init__(self) -> None:
        self.given: list[weakref.ref[np.ndarray]] = []
        self.alive_at_run: list[int] = []
        self.told: list[str] = []

    def run_to_count(self, feeds: Arrays, sample: str, device: str | None) -> list[np.ndarray]:
        assert device is None
        self.alive_at_run.append(sum(each() is not None for each in self.given))
        self.told.append(sample)
        arrays = [feeds["x"] * 2, np.array(feeds["x"].mean())]
        self.given += map(weakref.ref, arrays)
        return arrays


def batch(first: int, count: int, rows: int | None = None) -> Batch:
    rows = rows or count
    names = tuple(f"s{first + index}" for index in range(count))
    values = np.arange(first, first + rows, dtype=np.float32).reshape(rows, 1)
    return Batch({"x": values}, names, names, count, rows, Feeding({"x": 0}))


class Recorded:
    """Counts by noting values; stops after so many batches."""

    def __init__(self, most: int = 99) -> None:
        self.values: list[list[float]] = []
        self.finished: list[str] = []
        self._most = most

    def count(self, _: Batch, arrays: Arrays, __: object) -> None:
        assert list(arrays) == ["twice", "mean"] and arrays["mean"].shape == ()
        self.values.append(arrays["twice"].ravel().tolist())

    def finish(self, each: Batch) -> bool:
        self.finished.append(each.names[0])
        assert len(self.finished) == len(self.values)
        return len(self.values) < self._most


def collected(
    session: FakeSession, *given: Batch, most: int = 99
) -> tuple[list[list[float]], dict[str, SeenShapes]]:
    counting = Recorded(most)
    shapes: dict[str, SeenShapes] = {}
    collect(session, given, counting, shapes)  # type: ignore[arg-type]
    return counting.values, shapes


def test_every_batch_is_run_and_counted_in_order() -> None:
    session = FakeSession()
    counted, shapes = collected(session, batch(0, 3), batch(3, 3), batch(6, 1))
    assert counted == [[0, 2, 4], [6, 8, 10], [12]]
    assert session.told == ["s0", "s3", "s6"]
    assert shapes["x"].smallest == (1, 1) and shapes["x"].largest == (3, 1)


def test_rows_that_fill_up_a_batch_are_left_out_of_what_has_rows() -> None:
    counted, shapes = collected(FakeSession(), batch(0, 2, rows=4))
    assert counted == [[0, 2]] and shapes["x"].largest == (4, 1)


def test_stops_when_it_is_told_to() -> None:
    session = FakeSession()
    counted, _ = collected(session, batch(0, 2), batch(2, 2), batch(4, 2), most=2)
    assert len(counted) == len(session.told) == 2


def test_a_batch_is_run_in_pieces_and_its_shape_is_noted_whole() -> None:
    session, counting = FakeSession(), Recorded(most=3)
    shapes: dict[str, SeenShapes] = {}
    collect(session, [batch(0, 5), batch(5, 4)], counting, shapes, rows=2)  # type: ignore[arg-type]
    assert counting.values == [[0], [2, 4], [6, 8]] and session.told == ["s0", "s1", "s3"]
    assert shapes["x"].smallest == shapes["x"].largest == (5, 1)
    assert session.alive_at_run == [0] * 3


def test_one_batch_of_activations_is_alive_at_a_time() -> None:
    session = FakeSession()
    gc.disable()  # what only the collector of cycles would free is not freed in time
    try:
        collected(session, *(batch(index, 2) for index in range(6)))
    finally:
        gc.enable()
    assert session.alive_at_run == [0] * 6


def test_an_error_of_the_data_passes_through_behind_what_was_counted() -> None:
    def stream() -> Iterator[Batch]:
        yield batch(0, 2)
        raise DataError("bad file")

    session = FakeSession()
    with pytest.raises(DataError, match="bad file"):
        collect(session, stream(), Recorded(), {})  # type: ignore[arg-type]
    assert session.told == ["s0"]
