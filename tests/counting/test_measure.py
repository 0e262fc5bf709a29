from __future__ import annotations

import os
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import toys
from helpers.small import CPU, RecordingListener, network, samples, two_branches

from onnx_trtcal import calibrate
from onnx_trtcal.counting import measure as measure_module
from onnx_trtcal.counting.measure import Measured, measure, measure_again
from onnx_trtcal.counting.trial import TRIAL
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.errors import DataError, ModelError, OptionError
from onnx_trtcal.methods.mxnet import SignedHistogram
from onnx_trtcal.prepared import prepare
from onnx_trtcal.run.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx_trtcal.options import Options

DATA = samples(20)


def measured(data: object, options: Options = CPU, listener: RecordingListener | None = None) -> Measured:
    return measure(prepare(network(), options), data, options, listener or RecordingListener())


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """Of every run but the trial's: rows fed, tensors observed, arrays of earlier runs still alive."""
    noted: list[tuple[int, int, int]] = []
    alive: list[weakref.ref[np.ndarray]] = []

    def watch(plain: Callable[..., list[np.ndarray]]) -> Callable[..., list[np.ndarray]]:
        def watched(
            self: Session, feeds: dict[str, np.ndarray], sample: str, *device: str | None
        ) -> list[np.ndarray]:
            if sample == TRIAL:
                return plain(self, feeds, sample)
            before = sum(each() is not None for each in alive)
            arrays = plain(self, feeds, sample, *device)
            alive[:] = map(weakref.ref, arrays)
            noted.append((len(feeds["x"]), len(arrays), before))
            return arrays

        return watched

    monkeypatch.setattr(Session, "run", watch(Session.run))
    monkeypatch.setattr(Session, "run_to_count", watch(Session.run_to_count))
    return noted


class TestMemory:
    def test_one_batch_of_activations_is_alive_at_a_time(self, runs: list[tuple[int, int, int]]) -> None:
        measured(DATA, replace(CPU, batch_size=4))
        assert runs == [(4, 3, 0)] * 5

    def test_does_not_grow_with_the_number_of_samples(self, runs: list[tuple[int, int, int]]) -> None:
        few = measured(DATA[:4]).collection
        many = measured(array for array in DATA * 10).collection
        size = {name: histogram.counts.nbytes for name, histogram in few.histograms.items()}
        assert {name: histogram.counts.nbytes for name, histogram in many.histograms.items()} == size
        assert {before for *_, before in runs} == {0}

    # 2*4*4 values of x, 3*4*4 of relu, 3*3*3 of y: 428 bytes a sample.
    @pytest.mark.parametrize(
        ("limit", "runs_wanted"),
        [
            (428 * 8, {(8, 3), (4, 3)}),
            (428 * 8 - 1, {(7, 3), (6, 3)}),
            (428, {(1, 3)}),
            (427, {(1, 2), (1, 1)}),
            (1, {(1, 1)}),
        ],
    )
    def test_a_limit_is_kept(
        self, runs: list[tuple[int, int, int]], limit: int, runs_wanted: set[object]
    ) -> None:
        listener = RecordingListener()
        got = measured(DATA, replace(CPU, memory_limit=limit), listener)
        assert {(rows, tensors) for rows, tensors, _ in runs} >= runs_wanted
        # The first run may be a trial of the sizes, of one sample.
        assert {(rows, tensors) for rows, tensors, _ in runs[1:]} <= runs_wanted
        assert got.collection == measured(DATA).collection
        assert any("limit" in text or "batches of" in text for text in listener.said) == (limit < 428 * 8)

    def test_a_fixed_batch_is_split_into_passes(self, runs: list[tuple[int, int, int]]) -> None:
        options = replace(CPU, memory_limit=428 * 4 - 1)
        listener = RecordingListener()
        got = measure(prepare(network(4), options), DATA, options, listener)
        assert {(rows, tensors) for rows, tensors, _ in runs[1:]} == {(4, 2), (4, 1)}
        assert got.collection.histograms == measured(DATA).collection.histograms
        assert any(text.startswith("2 passes over the data with batches of 4") for text in listener.said)

    def test_memory_at_hand_is_a_limit_too(
        self, runs: list[tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("onnx_trtcal.stats.host.available_memory", lambda: 428 * 4)
        measured(DATA)
        assert {rows for rows, *_ in runs[1:]} == {2}
        with pytest.raises(OptionError, match="activations of a batch of 8 take") as caught:
            measured(DATA, replace(CPU, batch_size=8))
        assert "--batch-size 2" in caught.value.fix

    def test_data_that_is_read_once_is_run_one_by_one_when_memory_is_short(
        self, runs: list[tuple[int, int, int]]
    ) -> None:
        got = measured(iter(DATA), replace(CPU, memory_limit=500))
        assert {rows for rows, *_ in runs} == {1}
        assert got.collection == measured(DATA).collection
        fixed = replace(CPU, memory_limit=500)
        assert measure(prepare(network(4), fixed), iter(DATA), fixed, RecordingListener()).movement is None
        assert {rows for rows, *_ in runs} == {1, 8, 4}

    def test_shapes_that_are_not_known_beforehand_are_tried(self, runs: list[tuple[int, int, int]]) -> None:
        model = toys.model([toys.node("Relu", "x", "y")], {"x": ["n", "w"]}, {"y": ["n", "w"]})
        data = [np.ones(100, np.float32) for _ in range(8)]
        options = replace(CPU, memory_limit=1600)
        measure(prepare(model, options), data, options, RecordingListener())
        assert [rows for rows, *_ in runs] == [1, 2, 2, 2, 2]


class TestUntilStable:
    STILL = tuple(np.full((2, 4, 4), 1 + number % 3, np.float32) for number in range(300))

    def stop(self, data: object, share: float, **options: object) -> tuple[int, RecordingListener]:
        listener = RecordingListener()
        got = measured(data, replace(CPU, until_stable=share, **options), listener)
        return len(got.collection.samples), listener

    @pytest.mark.parametrize("batch_size", [1, 7, 64, 300])
    def test_never_stops_before_64(self, batch_size: int) -> None:
        assert self.stop(self.STILL, 0.01, batch_size=batch_size)[0] == 64

    def test_stops_at_the_first_mark_where_nothing_moved(self) -> None:
        loud = list(self.STILL)
        loud[70] = loud[70] * 10
        assert self.stop(loud[64:], 0.01, method="minmax")[0] == 64
        loud = list(self.STILL)
        loud[60] = loud[60] * 10
        assert self.stop(loud, 0.01, method="minmax")[0] == 86

    def test_goes_to_the_end_where_the_scales_never_rest(self) -> None:
        growing = [array * (1 + number) for number, array in enumerate(self.STILL)]
        assert self.stop(growing, 0.01, method="minmax")[0] == 300

    def test_counts_a_stream_of_unknown_length(self) -> None:
        assert self.stop(iter(self.STILL), 0.01)[0] == 64

    def test_is_ignored_with_a_warning_where_it_cannot_be_had(self) -> None:
        count, listener = self.stop(self.STILL[:80], 0.01, memory_limit=300)
        assert count == 80 and "another sample" in listener.warned[0]
        count, listener = self.stop(self.STILL[:80], 0.01, method="mxnet")
        assert count == 80 and "second pass" in listener.warned[0]


class TestMovement:
    def test_is_over_the_last_quarter(self) -> None:
        data = [np.full((2, 4, 4), 1 if number < 80 else 1.5, np.float32) for number in range(100)]
        movement = measured(data, replace(CPU, method="minmax")).movement
        assert movement is not None and (movement.last, movement.total) == (25, 100)
        assert movement.most >= 0.5 - 1e-6

    def test_is_not_known_of_a_few_samples(self) -> None:
        assert measured(samples(63)).movement is None
        assert measured(samples(64)).movement is not None

    def test_looks_at_tied_tensors_together(self) -> None:
        model = two_branches()
        # The sigmoid still moves by itself, but its scale is the one it shares.
        data = [np.full(4, -5 if number < 48 else -1, np.float32) for number in range(64)]
        data[0] = np.full(4, 5, np.float32)
        data[0][1:] = -5
        options = replace(CPU, method="minmax", tie_concat=True)
        got = measure(prepare(model, options), data, options, RecordingListener()).movement
        assert got is not None and got.tensor in ("x", "y", "c", "a", "b")
        assert (
            calibrate(model, data, options).scales["a"].scale
            == calibrate(model, data, options).scales["b"].scale
        )


def test_the_second_pass_counts_every_value_once() -> None:
    prepared = prepare(network(), CPU)
    histograms = {"x": SignedHistogram(100.0), "y": SignedHistogram(1.0)}
    source = open_source(DATA, prepared.model.inputs)
    measure_again(prepared, source, replace(CPU, batch_size=3), histograms, RecordingListener())
    assert histograms["x"].counts.sum() == 20 * 32 and histograms["y"].counts.sum() == 20 * 27
    split = {"x": SignedHistogram(100.0), "y": SignedHistogram(1.0)}
    measure_again(prepared, source, replace(CPU, memory_limit=200), split, RecordingListener())
    assert all((split[name].counts == histograms[name].counts).all() for name in histograms)


def test_an_error_of_the_data_or_the_model_passes_through() -> None:
    def broken() -> Iterator[np.ndarray]:
        yield DATA[0]
        yield np.zeros((5, 5), np.float32)

    with pytest.raises(DataError, match="shape"):
        measured(broken)
    # Rows of 8 values do not fit a 3x3 matrix: ONNX Runtime finds out when it runs.
    model = toys.model(
        [toys.node("MatMul", "x w", "y")], {"x": ["n", "k"]}, ["y"], {"w": np.eye(3, dtype=np.float32)}
    )
    with pytest.raises(ModelError, match="fails on this batch") as failure:
        measure(prepare(model, CPU), [np.ones(8, np.float32)], CPU, RecordingListener())
    assert "item 0" in failure.value.where and "x [1, 8]" in failure.value.where


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores cannot be set aside here")
def test_no_more_threads_count_than_there_are_cores_for_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    with measure_module._threads(replace(CPU, threads=None)) as pool:
        assert pool._max_workers == 3
    with measure_module._threads(replace(CPU, threads=5)) as pool:
        assert pool._max_workers == 5
