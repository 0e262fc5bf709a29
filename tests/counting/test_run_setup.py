from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import toys
from helpers.small import CPU, RecordingListener, network, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal import calibrate
from onnx_trtcal.counting import run_setup
from onnx_trtcal.counting.chunking import Chunking
from onnx_trtcal.counting.run_setup import RunSetup, choose_run_setup
from onnx_trtcal.data.layout import Feeding
from onnx_trtcal.errors import DataError
from onnx_trtcal.prepared import prepare
from onnx_trtcal.stats import store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from onnx_trtcal.options import Options

MB = 1 << 20


def chosen(
    sample: float | None,
    count: int | None = 1000,
    *,
    batch: int = 8,
    options: Options = replace(CPU, threads=2),
    fixed: int | None = None,
    free: int | None = None,
    limit: int | None = None,
    memory: str | None = None,
) -> RunSetup:
    sizes = {} if sample is None else {"a": sample / 2, "b": sample / 2}
    chunking = Chunking(batch, (("a", "b"),), limit=limit, sizes=sizes)
    source = SimpleNamespace(count=count, feeding=Feeding({"x": 0}, fixed))
    device = SimpleNamespace(free_memory=lambda: free, memory=memory)
    prepared = prepare(network(), CPU)
    return choose_run_setup(prepared, chunking, source, options, device)  # type: ignore[arg-type]


class TestChoice:
    def test_a_worker_a_core_and_whole_batches_where_activations_are_small(self) -> None:
        assert chosen(1 * MB) == RunSetup(2, 1, 8, any_order=True)

    def test_a_batch_is_split_to_keep_its_memory(self) -> None:
        assert chosen(45 * MB).rows == 4 and chosen(45 * MB).alive(8) == 8
        assert chosen(45 * MB, options=replace(CPU, threads=8)).rows == 1

    def test_bins_of_very_many_tensors_are_not_made_twice(self) -> None:
        names = tuple(map(str, range(5000)))
        for count, workers in ((5000, 1), (500, 2)):
            chunking = Chunking(8, (names[:count],), limit=None, sizes=dict.fromkeys(names[:count], 1024.0))
            source = SimpleNamespace(count=1000, feeding=Feeding({"x": 0}, None))
            device = SimpleNamespace(free_memory=lambda: None, memory=None)
            options = replace(CPU, threads=2)
            setup = choose_run_setup(prepare(network(), CPU), chunking, source, options, device)  # type: ignore[arg-type]
            assert setup.workers == workers

    def test_very_many_tensors_leave_less_room_for_activations(self) -> None:
        names = tuple(map(str, range(5000)))
        for size, rows in ((1024, 8), (8192, 2), (1 << 20, 1), (None, None)):
            sizes = {} if size is None else dict.fromkeys(names, float(size))
            chunking = Chunking(8, (names,), limit=None, sizes=sizes)
            source = SimpleNamespace(count=1000, feeding=Feeding({"x": 0}, None))
            device = SimpleNamespace(free_memory=lambda: None, memory=None)
            setup = choose_run_setup(prepare(network(), CPU), chunking, source, CPU, device)  # type: ignore[arg-type]
            assert (setup.workers, setup.rows) == (1, rows)

    def test_more_cores_than_samples_may_be_alive_help_the_workers(self) -> None:
        got = chosen(100 * MB, options=replace(CPU, threads=32))
        assert (got.workers, got.threads, got.rows) == (8, 25, 1)

    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_too_few_samples_for_two_workers_use_all_threads_at_once(self, count: int) -> None:
        assert chosen(1 * MB, count) == RunSetup(1, 2, None, any_order=chosen(1 * MB, count).any_order)

    def test_every_worker_has_something_to_do(self) -> None:
        assert chosen(1 * MB, 8).rows == 2

    def test_a_fixed_batch_stays_whole(self) -> None:
        assert chosen(1 * MB, fixed=8).rows is None and chosen(1 * MB, fixed=8).workers == 2
        assert chosen(100 * MB, fixed=8).workers == 1

    def test_memory_is_kept_within_what_is_there_and_what_is_allowed(self) -> None:
        assert chosen(10 * MB, limit=30 * MB, batch=3).alive(3) <= 3
        assert chosen(10 * MB, free=40 * MB, batch=1).alive(1) <= 2
        assert chosen(10 * MB, free=10 * MB, batch=1) == RunSetup(1, 2, None, any_order=True)

    def test_unknown_sizes_are_held_to_one_batch(self) -> None:
        assert chosen(None).alive(8) == 8

    def test_what_must_be_counted_one_after_the_other_is(self) -> None:
        two = replace(CPU, threads=2)
        assert chosen(1 * MB, options=replace(two, range="tensorrt")).workers == 1
        assert chosen(1 * MB, options=replace(two, ort_custom_ops=("lib.so",))).workers == 1
        assert chosen(1 * MB, memory="cuda") == RunSetup(1, 2)

    def test_random_ops_give_the_same_numbers_whatever_the_threads(self) -> None:
        nodes = [
            toys.node("RandomNormalLike", "x", "noise", seed=3.0),
            toys.node("Add", "x noise", "y"),
        ]
        model = toys.model(nodes, {"x": ["n", 2, 3, 3]}, ["y"])
        data = np.stack(samples(24, size=3))
        one, two, four = (
            calibrate(model, data, replace(CPU, threads=threads, batch_size=4)).collection
            for threads in (1, 2, 4)
        )
        assert one == two == four

    def test_all_cores_is_the_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(run_setup, "cores", lambda: 5)
        assert chosen(1 * MB, options=replace(CPU, threads=None)).workers == 5

    def test_an_optimised_model_is_not_loaded_for_a_few_samples(self) -> None:
        assert not chosen(1000.0, 1).any_order
        assert chosen(1000.0, None).any_order


def wild(count: int) -> list[np.ndarray]:
    """Samples of changing magnitude, some with NaN and Inf in them."""
    data = samples(count, seed=3)
    for index in range(5, count, 7):
        data[index][0, 1, 2] = np.nan
        data[index - 2][1, 0, 0] = -np.inf
    return data


def counted(data: object, options: Options, path: Path | None = None) -> bytes:
    listener = RecordingListener()
    found = calibrate(network(), data, options, listener=listener, checkpoint=path)
    return store.dumps(found.collection)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 7), st.integers(1, 9), st.integers(1, 70), st.booleans(), st.sampled_from([None, 2000]))
def test_bytes_do_not_depend_on_the_workers(
    threads: int, batch: int, count: int, once: bool, limit: int | None
) -> None:
    data = wild(count)
    options = replace(CPU, allow_nonfinite=True, batch_size=batch)
    given_data = iter(data) if once else data
    assert counted(given_data, replace(options, threads=threads, memory_limit=limit)) == counted(
        data, options
    )


@pytest.mark.parametrize("rule", ["stable", "tensorrt"])
def test_shapes_movement_and_scales_do_not_depend_on_the_workers(rule: str) -> None:
    data = samples(100)
    one = calibrate(network(), data, replace(CPU, range=rule))
    more = calibrate(network(), data, replace(CPU, range=rule, threads=3))
    assert one.seen_shapes == more.seen_shapes and one.movement == more.movement
    assert one.cache() == more.cache()


@pytest.mark.parametrize("bad", [3, 17, 29])
def test_a_run_that_fails_leaves_what_was_before_in_its_checkpoint(tmp_path: Path, bad: int) -> None:
    data = wild(40)
    options = replace(CPU, allow_nonfinite=True, threads=3, batch_size=4, checkpoint_every=8)

    def broken() -> Iterator[np.ndarray]:
        yield from data[:bad]
        yield np.zeros((9, 9), np.float32)

    with pytest.raises(DataError):
        calibrate(network(), broken, options, checkpoint=tmp_path / "c")
    listener = RecordingListener()
    resumed = calibrate(network(), data, options, listener=listener, checkpoint=tmp_path / "c")
    assert any(f"{bad // 4 * 4} samples already counted" in text for text in listener.said) or bad < 4
    assert store.dumps(resumed.collection) == counted(data, replace(options, threads=1))


def test_until_stable_stops_at_the_same_sample() -> None:
    data = [np.full((2, 4, 4), 1 + number % 3, np.float32) for number in range(300)]
    options = replace(CPU, until_stable=0.9)
    assert counted(data, replace(options, threads=4)) == counted(data, options)


@pytest.mark.parametrize("batch", ["n", 4])
def test_the_sample_that_gave_a_nan_depends_neither_on_the_workers_nor_on_the_batches(
    batch: str | int,
) -> None:
    # The first axis of "time" has a length that many batches divide.
    nodes = [
        toys.node("Transpose", "x", "time", perm=[2, 0, 1, 3]),
        toys.node("Relu", "time", "relu"),
        toys.node("Transpose", "relu", "y", perm=[1, 0, 2, 3]),
    ]
    model = toys.model(nodes, {"x": [batch, 2, 4, 4]}, ["y"])
    data = np.stack(samples(24))
    data[10, :, 2] = np.nan
    data[19, :, 1] = np.inf
    options = replace(CPU, observe="all", allow_nonfinite=True)
    for threads, size in ((1, 8), (2, 8), (4, 8), (1, 1), (3, 5), (1, 4)):
        found = calibrate(model, data, replace(options, threads=threads, batch_size=size)).collection
        assert set(found.first_nonfinite.values()) == {"data[10]"}
        assert "relu" in found.first_nonfinite
