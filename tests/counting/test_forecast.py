"""A run says early what it will take, and one that cannot fit does not begin."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.small import CPU, RecordingListener, network, samples

from onnx_trtcal import calibrate
from onnx_trtcal.counting import forecast
from onnx_trtcal.counting.chunking import Chunking
from onnx_trtcal.counting.forecast import Forecast, check_fits
from onnx_trtcal.data.batching import batch_of
from onnx_trtcal.data.layout import feeding_of
from onnx_trtcal.data.samples import Sample
from onnx_trtcal.errors import CalibrationError, ModelError, OptionError
from onnx_trtcal.stats.collection import Collection
from onnx_trtcal.support.input_spec import InputSpec

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30


def check(batch: int, sizes: list[float], *, free: int | None, fixed: bool = False, passes: int = 1) -> None:
    names = tuple(f"t{number}" for number in range(len(sizes)))
    split = tuple(tuple(part.tolist()) for part in np.array_split(names, passes))
    chunking = Chunking(batch, split, sizes=dict(zip(names, sizes, strict=True)))
    device = SimpleNamespace(free_memory=lambda: free, memory=None)
    check_fits(chunking, device, batch_is_fixed=fixed)  # type: ignore[arg-type]


class TestWhatCannotFit:
    @pytest.fixture(autouse=True)
    def _no_swap(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(forecast, "free_swap", lambda: 0)

    def test_what_fits_passes(self) -> None:
        check(8, [GIB, GIB], free=16 * GIB)
        check(8, [GIB, GIB], free=8 * GIB, passes=2)
        check(1000, [GIB], free=None)
        check(1000, [], free=1)

    def test_a_batch_that_is_too_large(self) -> None:
        with pytest.raises(OptionError, match=r"batch of 64 take 128\.0 GiB, and 16\.0 GiB") as failure:
            check(64, [GIB, GIB], free=16 * GIB)
        assert failure.value.fix == "--memory-limit 8192M makes it fit, and so does --batch-size 4"

    def test_a_sample_that_takes_more_than_one_pass(self) -> None:
        with pytest.raises(OptionError) as failure:
            check(1, [GIB] * 5, free=4 * GIB)
        assert failure.value.fix == "--memory-limit 2048M makes it fit"

    def test_a_fixed_batch_whose_largest_tensor_is_too_large(self) -> None:
        with pytest.raises(OptionError) as failure:
            check(8, [GIB], free=4 * GIB, fixed=True)
        assert "machine with more memory" in failure.value.fix

    def test_swap_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(forecast, "free_swap", lambda: 16 * GIB)
        check(8, [GIB], free=1)

    def test_the_flags_that_are_named_do_make_it_fit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Activations of one sample take 428 bytes."""
        monkeypatch.setattr("onnx_trtcal.stats.host.available_memory", lambda: 70 << 20)
        data, options = samples(4), replace(CPU, batch_size=200_000, check_samples=0)
        with pytest.raises(OptionError, match=r"batch of 200000 take 81\.6 MiB, and 70\.0 MiB") as failure:
            calibrate(network(), data, options)
        assert failure.value.fix == "--memory-limit 35M makes it fit, and so does --batch-size 85748"
        limited = calibrate(network(), data, replace(options, memory_limit=35 << 20, batch_size=None))
        assert limited.scales == calibrate(network(), data, replace(options, batch_size=85748)).scales


class TestWhatIsSaid:
    def run(
        self, total: int | None, seconds: float, monkeypatch: pytest.MonkeyPatch, *, peak: int = 0
    ) -> RecordingListener:
        """Twenty batches of 2, each of which takes so long."""
        clock, listener = SimpleNamespace(now=100.0), RecordingListener()
        monkeypatch.setattr(forecast, "time", SimpleNamespace(monotonic=lambda: clock.now))
        monkeypatch.setattr(forecast, "peak_memory", lambda: peak)
        said = Forecast(total, 3, None, listener)
        for number in range(1, 21):
            clock.now += seconds if number > 1 else 60  # the first one compiles
            said.note(SimpleNamespace(count=2, names=("a", "b")), 2 * number)  # type: ignore[arg-type]
        return listener

    def test_how_long_it_will_take(self, monkeypatch: pytest.MonkeyPatch) -> None:
        listener = self.run(10_004, 1.0, monkeypatch)
        # After 3 batches and two steady seconds: 9998 samples at half a second each.
        assert listener.said == ["this run will take about 83 min"] and not listener.warned

    def test_how_much_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (said,) = self.run(None, 1.0, monkeypatch, peak=19 * GIB // 10).said
        assert said.startswith("this run will take 1.9 GiB of memory (--memory-limit")

    def test_nothing_where_it_is_little(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.run(60, 1.0, monkeypatch, peak=GIB // 2).said == []
        assert self.run(100_000, 0.01, monkeypatch).said == []

    def test_a_disk_without_room_for_the_checkpoint(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for free, words in ((1 << 40, []), (5_000_000, ["give another -o"])):
            monkeypatch.setattr(
                forecast.shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free)
            )
            listener = RecordingListener()
            batch = SimpleNamespace(count=2, names=("a", "b" * 25))
            Forecast(48_000, 3, tmp_path / "c", listener).note(batch, 2)  # type: ignore[arg-type]
            assert len(listener.warned) == len(words)
            for said, word in zip(listener.warned, words, strict=True):
                assert word in said and str(tmp_path) in said and "5.0 MiB" in said


def test_a_fixed_batch_that_no_memory_holds_is_refused_before_it_is_made() -> None:
    spec = InputSpec("x", np.dtype(np.float32), (1 << 40, 6))
    sample = Sample("a.npy", {"x": np.zeros(6, np.float32)})
    with pytest.raises(ModelError, match=r"batches of 1099511627776 and nothing else, which are 24\.0 TiB"):
        batch_of([(sample, "hash")], feeding_of([spec]))


def test_memory_that_runs_out_is_one_of_the_family(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real, calls = Collection.add, []

    def add(self: Collection, *args: object) -> None:
        calls.append(1)
        real(self, *args)  # type: ignore[arg-type]
        if len(calls) == 4:
            raise MemoryError  # in the middle of it, as far as anyone can tell

    monkeypatch.setattr(Collection, "add", add)
    options = replace(CPU, batch_size=2, check_samples=0, checkpoint_every=4)
    with pytest.raises(CalibrationError, match=r"memory ran out with batches of 2, with .* free") as failure:
        calibrate(network(), samples(20), options, checkpoint=tmp_path / "c")
    assert "--memory-limit" in failure.value.fix
    listener = RecordingListener()
    resumed = calibrate(network(), samples(20), options, checkpoint=tmp_path / "c", listener=listener)
    assert resumed.collection == calibrate(network(), samples(20), options).collection
    assert any("4 samples already counted" in text for text in listener.said)


def test_memory_that_runs_out_before_the_first_batch_is_one_of_the_family(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*args: object) -> None:
        raise MemoryError

    monkeypatch.setattr("onnx_trtcal.counting.observed_runs.settle", fails)
    with pytest.raises(CalibrationError, match="memory ran out before the first batch") as failure:
        calibrate(network(), np.stack(samples(4)), CPU)
    assert "--item-axis 0" in failure.value.fix
