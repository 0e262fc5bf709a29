from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnx_trtcal.counting.parallel_loop import collect_in_parallel
from onnx_trtcal.counting.run_setup import RunSetup
from onnx_trtcal.data.batching import Batch
from onnx_trtcal.data.layout import Feeding
from onnx_trtcal.errors import CalibrationError, DataError, ModelError, StatisticsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from onnx_trtcal.data.seen_shapes import SeenShapes


def batch(first: int, count: int) -> Batch:
    names = tuple(f"s{first + index}" for index in range(count))
    values = np.arange(first, first + count, dtype=np.float32).reshape(count, 1)
    return Batch({"x": values}, names, names, count, count, Feeding({"x": 0}))


def pairs(count: int) -> list[Batch]:
    return [batch(2 * index, 2) for index in range(count)]


class SlowSession:
    """Doubles its input, early batches more slowly than late ones; fails on some samples."""

    outputs = ("y",)

    def __init__(self, bad: Iterable[str] = ()) -> None:
        self.bad = set(bad)
        self.given: list[weakref.ref[np.ndarray]] = []
        self.most_alive = 0
        self.runs: list[str] = []
        self._lock = threading.Lock()

    def run_to_count(
        self, feeds: Mapping[str, np.ndarray], sample: str, device: str | None
    ) -> list[np.ndarray]:
        assert device is None
        with self._lock:
            self.runs.append(sample)
        time.sleep(0.004 if int(sample[1:]) % 4 == 0 else 0.001)
        if sample in self.bad:
            raise ModelError(f"fails on {sample}")
        array = feeds["x"] * 2
        with self._lock:
            self.given.append(weakref.ref(array))
            self.most_alive = max(self.most_alive, sum(each() is not None for each in self.given))
        return [array]


class Recorder:
    """Notes what is counted by workers, and what is finished in the caller's thread."""

    def __init__(
        self, pause: Callable[[str], bool] = lambda _: False, stop: str = "", broken: str = ""
    ) -> None:
        self.counted: list[str] = []
        self.finished: list[str] = []
        self.sums: list[float] = []
        self._pause = pause
        self._stop = stop
        self._broken = broken
        self._thread = threading.get_ident()

    def admit(self, each: Batch) -> bool:
        assert threading.get_ident() == self._thread
        if each.names[0] == self._broken:
            raise StatisticsError("counted already")
        return self._pause(each.names[-1])

    def count(self, each: Batch, arrays: Mapping[str, np.ndarray], _: object) -> None:
        assert (arrays["y"].ravel() == [2.0 * int(name[1:]) for name in each.names]).all()
        self.counted += each.names

    def finish(self, each: Batch) -> bool:
        assert threading.get_ident() == self._thread
        assert set(each.names) <= set(self.counted)
        self.finished += each.names
        if self._pause(each.names[-1]):
            # Every sample up to here is counted, and no other.
            assert sorted(self.counted, key=number) == self.finished
        return each.names[-1] != self._stop


def number(name: str) -> int:
    return int(name[1:])


def names(count: int) -> list[str]:
    return [f"s{index}" for index in range(count)]


def collected(
    session: SlowSession, stream: Iterable[Batch], recorder: Recorder, workers: int = 3, rows: int | None = 2
) -> dict[str, SeenShapes]:
    shapes: dict[str, SeenShapes] = {}
    setup = RunSetup(workers, 1, rows)
    collect_in_parallel(session, stream, recorder, shapes, setup)  # type: ignore[arg-type]
    return shapes


@pytest.mark.parametrize("workers", [2, 3, 16])
def test_everything_is_counted_once_and_finished_in_order(workers: int) -> None:
    recorder = Recorder()
    shapes = collected(SlowSession(), pairs(20), recorder, workers)
    assert recorder.finished == names(40) == sorted(recorder.counted, key=number)
    assert shapes["x"].largest == (2, 1)


def test_a_batch_is_run_in_pieces_and_its_shape_is_noted_whole() -> None:
    session, recorder = SlowSession(), Recorder()
    shapes = collected(session, [batch(0, 8), batch(8, 5)], recorder, rows=3)
    assert recorder.finished == names(13)
    assert sorted(session.runs, key=number) == ["s0", "s2", "s5", "s8", "s10"]
    assert (shapes["x"].smallest, shapes["x"].largest) == ((5, 1), (8, 1))


def test_no_more_activations_are_alive_than_there_are_workers() -> None:
    session = SlowSession()
    collected(session, pairs(20), Recorder(), 3)
    assert session.most_alive <= 3


@pytest.mark.parametrize("bad", [0, 2, 14, 36])
def test_where_a_batch_fails_all_before_it_are_counted_and_none_behind(bad: int) -> None:
    recorder = Recorder()
    with pytest.raises(ModelError, match=f"fails on s{bad}$"):
        collected(SlowSession({f"s{bad}", "s38"}), pairs(20), recorder)
    assert recorder.finished == names(bad) == sorted(recorder.counted, key=number)


def test_an_error_of_the_data_comes_after_what_is_before_it() -> None:
    def stream() -> Iterator[Batch]:
        yield from pairs(5)
        raise DataError("bad file")

    recorder = Recorder()
    with pytest.raises(DataError, match="bad file"):
        collected(SlowSession(), stream(), recorder)
    assert recorder.finished == names(10) == sorted(recorder.counted, key=number)
    recorder = Recorder()
    with pytest.raises(ModelError, match="fails on s6"):
        collected(SlowSession({"s6"}), stream(), recorder)
    assert recorder.finished == names(6) == sorted(recorder.counted, key=number)


def test_a_sample_that_is_refused_ends_the_run_where_it_stands() -> None:
    recorder = Recorder(broken="s8")
    with pytest.raises(StatisticsError, match="counted already"):
        collected(SlowSession(), pairs(20), recorder)
    assert recorder.finished == names(8) == sorted(recorder.counted, key=number)


def test_stops_at_a_pause_with_nothing_counted_behind_it() -> None:
    recorder = Recorder(pause=lambda name: name in ("s11", "s21"), stop="s21")
    collected(SlowSession(), pairs(20), recorder)
    assert recorder.finished == names(22) == sorted(recorder.counted, key=number)


@pytest.mark.parametrize("error", [CalibrationError("disk full"), MemoryError(), KeyboardInterrupt()])
def test_what_goes_wrong_when_a_batch_is_finished_ends_the_run(error: BaseException) -> None:
    class Failing(Recorder):
        def finish(self, each: Batch) -> bool:
            super().finish(each)
            if each.names[0] == "s4":
                raise error
            return True

    before = threading.active_count()
    recorder = Failing()
    with pytest.raises(type(error)):
        collected(SlowSession(), pairs(40), recorder)
    assert threading.active_count() == before
    assert len(recorder.counted) < 40
    if isinstance(error, Exception):
        # Whatever is counted is finished, so that a checkpoint can name it.
        assert recorder.finished == sorted(recorder.counted, key=number)
