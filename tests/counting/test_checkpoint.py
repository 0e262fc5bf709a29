from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.small import CPU, RecordingListener, network, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal import calibrate
from onnx_trtcal.counting.checkpoint import Checkpoint, looks_path, remove_checkpoints, saved_at
from onnx_trtcal.counting.checkpoint_file import CheckpointFile, samples_path
from onnx_trtcal.errors import CalibrationError, DataError, StatisticsError
from onnx_trtcal.stats import store
from onnx_trtcal.stats.collection import Collection
from onnx_trtcal.support.files import natural_key
from onnx_trtcal.support.temporary import host
from onnx_trtcal.trt.cache import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.options import Options

OPTIONS = replace(CPU, batch_size=3, checkpoint_every=5)
DATA = samples(100)


class PowerCutError(Exception):
    """Ends a run without any of the package's own errors."""


def cut_after(count: int) -> Callable[[], Iterator[np.ndarray]]:
    def stream() -> Iterator[np.ndarray]:
        yield from DATA[:count]
        raise PowerCutError

    return stream


def whole() -> Iterator[np.ndarray]:
    return iter(DATA)


def collected(data: list[np.ndarray]) -> Collection:
    return calibrate(network(), data, OPTIONS).collection


def in_order(count: int) -> list[tuple[str, str]]:
    """(name, hash) of the first samples, as a run counts them."""
    hashes = dict(collected(DATA[:count]).samples)
    return sorted(hashes.items(), key=lambda pair: natural_key(pair[0]))


def saved(path: Path) -> Collection:
    return CheckpointFile(path).load()[0]


def result(calibration: Calibration) -> tuple[bytes, bytes, object]:
    return dumps(calibration.cache()), store.dumps(calibration.collection), calibration.movement


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.integers(0, 100), min_size=1, max_size=2),
    st.integers(4, 40),
    st.sampled_from([None, 0.9, 0.001]),
    st.sampled_from(["stable", "tensorrt"]),
)
def test_a_run_cut_off_anywhere_ends_as_if_it_had_not_been(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], every: int, until: float | None, rule: str
) -> None:
    options = replace(OPTIONS, checkpoint_every=every, until_stable=until, range=rule)
    file = tmp_path_factory.mktemp("cut") / "c"
    for cut in cuts:
        try:
            calibrate(network(), cut_after(cut), options, checkpoint=file)
        except PowerCutError:
            continue
    listener = RecordingListener()
    resumed = calibrate(network(), whole, options, listener=listener, checkpoint=file)
    assert result(resumed) == result(calibrate(network(), whole, options))
    assert not listener.warned


def test_until_stable_stops_at_the_same_sample_whatever_the_batches() -> None:
    stops = set()
    for batch_size in (1, 5, 16, 100):
        options = replace(OPTIONS, until_stable=0.9, batch_size=batch_size)
        stops.add(len(calibrate(network(), DATA, options).collection.samples))
    assert stops == {64}


def test_loses_at_most_as_many_samples_as_lie_between_two_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(PowerCutError):
        calibrate(network(), cut_after(50), replace(OPTIONS, batch_size=1), checkpoint=tmp_path / "c")
    listener = RecordingListener()
    calibrate(network(), whole, OPTIONS, listener=listener, checkpoint=tmp_path / "c")
    assert listener.counts[0] >= 45
    assert any("resuming from the checkpoint" in text for text in listener.said)


def test_an_error_of_the_data_loses_nothing(tmp_path: Path) -> None:
    bad = [*DATA[:7], np.zeros((9, 9), np.float32)]
    with pytest.raises(DataError):
        # A function's samples are not counted beforehand, so that the error comes in mid-run.
        calibrate(network(), lambda: bad, replace(OPTIONS, checkpoint_every=99), checkpoint=tmp_path / "c")
    assert saved(tmp_path / "c").samples == collected(DATA[:6]).samples
    assert saved_at(tmp_path / "c").samples == 6


def test_a_finished_run_is_solved_again_without_running(tmp_path: Path) -> None:
    first = calibrate(network(), DATA, OPTIONS, checkpoint=tmp_path / "c")
    listener = RecordingListener()
    again = calibrate(network(), DATA, OPTIONS, listener=listener, checkpoint=tmp_path / "c")
    assert result(again) == result(first) and listener.counts == [100]
    assert again.seen_shapes["x"].largest == first.seen_shapes["x"].largest == (3, 2, 4, 4)


def test_what_it_costs_does_not_grow_with_the_run(tmp_path: Path) -> None:
    file, collection = CheckpointFile(tmp_path / "c"), collected(DATA[:3])
    sizes = []
    for number in range(40):
        before = samples_path(tmp_path / "c").stat().st_size if number else 0
        added = [(f"{number}-{each}", "0" * 64) for each in range(50)]
        collection.restore_samples(added)
        file.save(collection, [*collection.samples][:3] + added if not number else added, 1.0)
        sizes.append(((tmp_path / "c").stat().st_size, samples_path(tmp_path / "c").stat().st_size - before))
    written = [first + second for first, second in sizes[1:]]
    assert max(written) < 1.02 * min(written)


class TestTheFiles:
    """The list of samples may be torn, or ahead of the histograms, wherever a run was killed."""

    def saved_twice(self, folder: Path) -> tuple[bytes, bytes, bytes, bytes]:
        """The two files after a first save, and after a second."""
        file, found = CheckpointFile(folder / "c"), []
        for count, begin in ((3, 0), (7, 3)):
            collection = collected(DATA[:count])
            file.save(collection, in_order(count)[begin:], float(count))
            found += [(folder / "c").read_bytes(), samples_path(folder / "c").read_bytes()]
        first, first_list, second, second_list = found
        return first, first_list, second, second_list

    def test_are_read_back(self, tmp_path: Path) -> None:
        self.saved_twice(tmp_path)
        got, seconds = CheckpointFile(tmp_path / "c").load()
        assert got == collected(DATA[:7]) and seconds == 7
        assert store.dumps(got) == store.dumps(collected(DATA[:7]))

    def test_a_torn_tail_is_ignored_and_written_over(self, tmp_path: Path) -> None:
        first, first_list, second, second_list = self.saved_twice(tmp_path)
        for size in range(len(first_list), len(second_list) + 1, 37):
            (tmp_path / "c").write_bytes(first)
            samples_path(tmp_path / "c").write_bytes(second_list[:size])
            file = CheckpointFile(tmp_path / "c")
            assert file.load() == (collected(DATA[:3]), 3.0)
            file.save(collected(DATA[:7]), in_order(7)[3:], 7.0)
            assert (tmp_path / "c").read_bytes() == second
            assert samples_path(tmp_path / "c").read_bytes() == second_list

    @pytest.mark.parametrize("damage", ["missing", "short", "changed"])
    def test_a_damaged_list_is_not_used(self, tmp_path: Path, damage: str) -> None:
        second_list = self.saved_twice(tmp_path)[3]
        path = samples_path(tmp_path / "c")
        path.unlink()
        if damage == "short":
            path.write_bytes(second_list[:-1])
        elif damage == "changed":
            path.write_bytes(second_list.replace(b'"]', b'0"]', 1)[: len(second_list)])
        listener = RecordingListener()
        calibrate(network(), DATA[:9], OPTIONS, listener=listener, checkpoint=tmp_path / "c")
        (said,) = listener.warned
        assert str(tmp_path / "c") in said and ("the list of its samples" in said or "be read" in said)

    def test_are_not_statistics(self, tmp_path: Path) -> None:
        self.saved_twice(tmp_path)
        with pytest.raises(CalibrationError, match="checkpoint of a run") as failure:
            store.load_statistics(tmp_path / "c")
        assert "--save-stats" in failure.value.fix

    def test_a_full_disk_leaves_the_checkpoint_before(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = CheckpointFile(tmp_path / "c")
        file.save(collected(DATA[:3]), in_order(3), 3.0)

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched, pytest.raises(CalibrationError, match="No space left"):
            patched.setattr("os.fsync", full)
            file.save(collected(DATA[:7]), in_order(7)[3:], 7.0)
        assert CheckpointFile(tmp_path / "c").load() == (collected(DATA[:3]), 3.0)
        file.save(collected(DATA[:7]), in_order(7)[3:], 7.0)
        assert CheckpointFile(tmp_path / "c").load() == (collected(DATA[:7]), 7.0)


class TestIgnored:
    def run(self, folder: Path, options: Options, data: list[np.ndarray]) -> list[str]:
        """Runs over the checkpoint that a run of the first 50 samples has left; gives the warnings."""
        with pytest.raises(PowerCutError):
            calibrate(network(), cut_after(50), OPTIONS, checkpoint=folder / "c")
        listener = RecordingListener()
        got = calibrate(network(), data, options, listener=listener, checkpoint=folder / "c")
        assert result(got) == result(calibrate(network(), data, options))
        assert saved(folder / "c") == got.collection
        return listener.warned

    def test_of_another_range_rule(self, tmp_path: Path) -> None:
        (said,) = self.run(tmp_path, replace(OPTIONS, range="tensorrt"), DATA)
        assert str(tmp_path / "c") in said and "range rule" in said

    def test_of_another_observation(self, tmp_path: Path) -> None:
        (said,) = self.run(tmp_path, replace(OPTIONS, observe="all"), DATA)
        assert "observe is 'fused' against 'all'" in said

    def test_of_other_data(self, tmp_path: Path) -> None:
        (said,) = self.run(tmp_path, OPTIONS, [*DATA[:20], *DATA[21:]])
        assert "other data" in said

    def test_of_more_data_than_is_asked_for(self, tmp_path: Path) -> None:
        (said,) = self.run(tmp_path, replace(OPTIONS, max_samples=10), DATA)
        assert "does not hold" in said

    def test_of_a_run_that_did_not_watch(self, tmp_path: Path) -> None:
        (said,) = self.run(tmp_path, replace(OPTIONS, until_stable=0.9), DATA)
        assert "--until-stable" in said

    def test_of_another_model(self, tmp_path: Path) -> None:
        calibrate(network(7), DATA[:9], OPTIONS, checkpoint=tmp_path / "c")
        listener = RecordingListener()
        calibrate(network(), DATA[:9], OPTIONS, listener=listener, checkpoint=tmp_path / "c")
        assert len(listener.warned) == 1 and "another model" in listener.warned[0]

    def test_of_another_batch_size_under_tensorrts_rule(self, tmp_path: Path) -> None:
        by_three, by_four = (replace(OPTIONS, range="tensorrt", batch_size=size) for size in (3, 4))
        with pytest.raises(PowerCutError):
            calibrate(network(), cut_after(50), by_three, checkpoint=tmp_path / "c")
        listener = RecordingListener()
        got = calibrate(network(), DATA, by_four, listener=listener, checkpoint=tmp_path / "c")
        assert result(got) == result(calibrate(network(), DATA, by_four))
        assert "batch_size is 3 against 4" in listener.warned[0]

    def test_damaged(self, tmp_path: Path) -> None:
        (tmp_path / "c").write_bytes(b"\x89TCS\r\n\x1a\nrest")
        listener = RecordingListener()
        calibrate(network(), DATA[:3], OPTIONS, listener=listener, checkpoint=tmp_path / "c")
        assert "damaged" in listener.warned[0]


def test_a_passed_memory_limit_resumes_pass_by_pass(tmp_path: Path) -> None:
    options = replace(OPTIONS, memory_limit=300, batch_size=None)
    assert result(calibrate(network(), DATA[:20], options)) == result(
        calibrate(network(), DATA[:20], OPTIONS)
    )
    first = calibrate(network(), DATA[:20], options, checkpoint=tmp_path / "c")
    assert not (tmp_path / "c").exists() and (tmp_path / "c.1").exists() and (tmp_path / "c.2").exists()
    listener = RecordingListener()
    again = calibrate(network(), DATA[:20], options, listener=listener, checkpoint=tmp_path / "c")
    assert result(again) == result(first) and set(listener.counts) == {20}


def test_saves_only_what_is_new(tmp_path: Path) -> None:
    keeper = Checkpoint(tmp_path / "c", 10, RecordingListener())
    collection = Collection(["t"], model="m")
    keeper.save(collection)
    keeper.note(collection, [(str(number), "") for number in range(9)])
    assert not (tmp_path / "c").exists()
    keeper.note(collection, [("9", "")])
    assert (tmp_path / "c").exists()
    (tmp_path / "c").unlink()
    keeper.save(collection)
    assert not (tmp_path / "c").exists()
    Checkpoint(None, 1, RecordingListener()).note(collection, [("a", "")])


def test_everything_a_job_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "c[1].checkpoint"
    ours = [
        file,
        looks_path(file),
        Path(f"{file}.1"),
        Path(f"{file}.12"),
        samples_path(file),
        Path(f"{file}.1.samples"),
        tmp_path / f".{file.name}.{host()}.1.a1b2c3d4.tmp",
    ]
    others = [
        tmp_path / name for name in ("c1.checkpoint", f"{file.name}.txt", f".{file.name}.a", "model.onnx")
    ]
    for path in (*ours, *others):
        path.write_bytes(b"")
    remove_checkpoints(file)
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_half_of_a_character_may_be_in_a_name_and_not_in_a_hash(tmp_path: Path) -> None:
    empty = Collection(["x"], model="")
    CheckpointFile(tmp_path / "fine").save(empty, [("b\udc80.npy", "ab")], 1.0)
    assert CheckpointFile(tmp_path / "fine").load()[0].samples == [("b\udc80.npy", "ab")]
    CheckpointFile(tmp_path / "forged").save(empty, [("b.npy", "\ud800")], 1.0)
    with pytest.raises(StatisticsError, match="contradicts itself"):
        CheckpointFile(tmp_path / "forged").load()
