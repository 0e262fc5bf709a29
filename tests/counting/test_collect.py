"""collect(): shards merged are one run, byte for byte."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.small import CPU, RecordingListener, network, samples, write_folder

from onnx_trtcal import calibrate, collect, merge, save_statistics, solve
from onnx_trtcal.errors import DataError, OptionError, StatisticsError
from onnx_trtcal.stats.store import dumps, load_statistics, loads

if TYPE_CHECKING:
    from pathlib import Path

MODEL = network()
DATA = samples(11)


def collected(folder: Path, data: object, of: int, only: range | None = None) -> list[Path]:
    """The files of the shards."""
    folder.mkdir(exist_ok=True)
    for index in only or range(1, of + 1):
        save_statistics(folder / f"{index}.stats", collect(MODEL, data, CPU, shard=f"{index}/{of}"))
    return [folder / f"{index}.stats" for index in only or range(1, of + 1)]


@pytest.mark.parametrize("of", [1, 3, 14])
def test_merged_shards_are_one_run(tmp_path: Path, of: int) -> None:
    data = write_folder(tmp_path / "data", DATA)
    whole = collect(MODEL, data, CPU)
    assert dumps(whole) == dumps(calibrate(MODEL, data, replace(CPU, check_samples=0)).collection)
    shards = collected(tmp_path / "shards", data, of)
    assert dumps(merge(shards)) == dumps(merge(shards[::-1])) == dumps(whole)


def test_data_that_lies_elsewhere_on_each_machine(tmp_path: Path) -> None:
    """Several paths and a list, in folders of other names; one shard has a file in it that none of them counts."""
    shards = []
    for index in (1, 2, 3):
        root = tmp_path / f"machine{index}"
        write_folder(root / f"a{index}", DATA[:4])
        write_folder(root / "rest", DATA[4:])
        (root / "list.txt").write_text("".join(f"{root}/rest/s{number}.npy\n" for number in range(7)))
        data = [root / f"a{index}", root / "list.txt"]
        save_statistics(root / "s.stats", collect(MODEL, data, CPU, shard=f"{index}/3"))
        shards.append(root / "s.stats")
    assert dumps(merge(shards)) == dumps(collect(MODEL, data, CPU))


def test_the_same_content_twice_counts_twice_as_in_one_run(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", [*DATA[:4], DATA[0], DATA[0], DATA[3]])
    whole = collect(MODEL, data, CPU)
    assert len(whole.samples) == 7
    shards = collected(tmp_path / "shards", data, 3)
    assert dumps(merge(shards)) == dumps(whole)
    # Of two runs it would be one sample that is counted twice.
    other = write_folder(tmp_path / "other", [DATA[9], DATA[3]])
    save_statistics(tmp_path / "other.stats", collect(MODEL, other, CPU))
    with pytest.raises(StatisticsError, match="counted twice"):
        merge([*shards, tmp_path / "other.stats"])


def test_a_shard_without_a_sample(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", DATA[:2])
    listener = RecordingListener()
    empty = collect(MODEL, data, CPU, shard="4/5", listener=listener)
    assert empty.samples == [] and loads(dumps(empty)) == empty
    assert listener.warned == [
        "shard 4/5 holds no sample: the data has 2 samples. Its statistics are empty, and merge as all others do"
    ]
    shards = collected(tmp_path / "shards", data, 5)
    for order in (shards, shards[::-1], [*shards[2:], *shards[:2]]):
        assert dumps(merge(order)) == dumps(collect(MODEL, data, CPU))


def test_a_tree_of_merges_and_what_is_missing(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", DATA)
    shards = collected(tmp_path / "shards", data, 4)
    with pytest.raises(
        StatisticsError, match="shards 1/4 and 3/4 are missing: the data was split into 4"
    ) as error:
        merge([shards[1], shards[3]])
    assert "--shard 1/4" in error.value.fix and "--partial" in error.value.fix
    halves = []
    for name, some in (("a", [shards[2], shards[0]]), ("b", [shards[1], shards[3]])):
        save_statistics(tmp_path / name, merge(some, partial=True))
        halves.append(tmp_path / name)
    assert load_statistics(halves[0]).shards.missing == [2, 4]
    assert dumps(merge(halves)) == dumps(collect(MODEL, data, CPU))
    for twice in ([shards[0], shards[1], shards[0]], [*shards, shards[0]], [*halves, shards[0]]):
        with pytest.raises(StatisticsError, match="both hold shard 1/4") as error:
            merge(twice)
        assert error.value.where == f"{twice[0]} and {twice[-1]}"
    listener = RecordingListener()
    solve(shards[2], MODEL, CPU, listener=listener)
    assert listener.warned[0] == "these are the statistics of shard 3/4 only: merge all shards before solving"


def test_shards_of_two_runs_and_shards_of_other_data(tmp_path: Path) -> None:
    one, two = write_folder(tmp_path / "one", DATA[:5]), write_folder(tmp_path / "two", DATA[5:])
    shards = [*collected(tmp_path / "a", one, 2), *collected(tmp_path / "b", two, 3)]
    both = merge([shards[at] for at in (2, 0, 4, 1, 3)])
    assert both.shards is None and len(both.samples) == 11
    with pytest.raises(StatisticsError, match="shard 3/3 is missing"):
        merge(shards[:-1])
    # A file more when the second shard was collected.
    np.save(one / "late.npy", DATA[8])
    late = collected(tmp_path / "c", one, 2, range(2, 3))
    with pytest.raises(StatisticsError, match="2 different runs, and none of these is complete"):
        merge([shards[0], *late])
    with pytest.raises(StatisticsError, match="different runs"):
        merge([shards[0], *late], partial=True)
    whole = tmp_path / "whole.stats"
    save_statistics(whole, collect(MODEL, two, CPU))
    with pytest.raises(StatisticsError, match="shard 2/2 is missing"):
        merge([shards[0], whole], partial=True)
    with pytest.raises(StatisticsError, match="only shard 1/2 of a run, and the other is of another run"):
        load_statistics(shards[0]).merge(load_statistics(whole))


def test_a_shard_resumes_from_its_own_checkpoint_alone(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", DATA)
    np.save(data / "s7.npy", DATA[7].astype(np.complex64))
    options, file = replace(CPU, checkpoint_every=1, batch_size=1), tmp_path / "c"
    with pytest.raises(DataError):
        collect(MODEL, data, options, shard="2/3", checkpoint=file)
    np.save(data / "s7.npy", DATA[7])
    kept = tmp_path / "kept"
    shutil.copytree(tmp_path, kept, ignore=lambda *_: ["kept", "data"])
    listener = RecordingListener()
    resumed = collect(MODEL, data, options, shard="2/3", checkpoint=file, listener=listener)
    assert any("2 samples already counted" in text for text in listener.said)
    assert dumps(resumed) == dumps(collect(MODEL, data, options, shard="2/3"))
    other = collect(MODEL, data, options, shard="3/3", checkpoint=kept / "c", listener=listener)
    assert listener.warned == [
        f"the checkpoint {kept / 'c'} is ignored: it is of another shard of the data, or of data with other files"
    ]
    assert dumps(other) == dumps(collect(MODEL, data, options, shard="3/3"))


def test_what_excludes_shards() -> None:
    with pytest.raises(OptionError, match="--until-stable and shards exclude each other"):
        collect(MODEL, DATA, replace(CPU, until_stable=0.01), shard="1/2")
    with pytest.raises(OptionError, match="cannot be merged, so there are no shards"):
        collect(MODEL, DATA, replace(CPU, range="tensorrt"), shard="1/2")


def test_without_a_shard_a_run_may_stop_early() -> None:
    still = [np.full((2, 4, 4), value, np.float32) for value in np.linspace(1, 1.001, 200)]
    assert len(collect(MODEL, still, replace(CPU, until_stable=0.5)).samples) < 200


def test_nan_is_pointed_out_and_kept() -> None:
    bad = [*DATA[:3], np.full((2, 4, 4), np.nan, np.float32)]
    listener = RecordingListener()
    collection = collect(MODEL, bad, CPU, listener=listener)
    assert collection.histograms["x"].nan == 32
    (warning,) = listener.warned
    assert warning.startswith(
        "NaN or Inf in 3 of 3 observed tensors, first in 'x', in sample item 3: solve takes"
    )
    listener = RecordingListener()
    collect(MODEL, bad, replace(CPU, allow_nonfinite=True), listener=listener)
    assert listener.warned == []
