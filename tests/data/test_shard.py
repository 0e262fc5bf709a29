"""Shards: every Nth sample, whatever kind of file it is in, and none twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnx_trtcal.data.readers.numpy_files import StoredArray
from onnx_trtcal.data.shard import Shard, Sharded, Shards, shard_of
from onnx_trtcal.data.sources import Source, open_source
from onnx_trtcal.errors import DataError, OptionError, StatisticsError
from onnx_trtcal.support.input_spec import InputSpec

if TYPE_CHECKING:
    from pathlib import Path

INPUT = InputSpec("x", np.dtype(np.float32), ("batch", 2))
ROWS = np.arange(26, dtype=np.float32).reshape(13, 2)


def stacks(folder: Path) -> Path:
    for at, (begin, end) in enumerate(((0, 1), (1, 6), (6, 8), (8, 13))):
        np.save(folder / f"s{at}.npy", ROWS[begin:end])
    return folder


def archive(folder: Path) -> Path:
    np.savez_compressed(folder / "a.npz", x=ROWS)
    return folder / "a.npz"


def column_major(folder: Path) -> Path:
    np.save(folder / "a.npy", np.asfortranarray(ROWS))
    return folder / "a.npy"


def lines(folder: Path) -> Path:
    (folder / "a.jsonl").write_text("".join(json.dumps({"x": row.tolist()}) + "\n" for row in ROWS))
    return folder


def shards_of(data: object, of: int, max_samples: int | None = None) -> list[Source]:
    made = [Sharded(data, Shard(index, of)) for index in range(1, of + 1)]
    return [open_source(each, [INPUT], max_samples=max_samples) for each in made]


@pytest.mark.parametrize("make", [stacks, archive, column_major, lines, lambda _: ROWS, lambda _: list(ROWS)])
@pytest.mark.parametrize(("of", "max_samples"), [(1, None), (3, None), (4, 10), (20, None)])
def test_every_nth_sample_of_any_kind_of_data(tmp_path, make, of, max_samples) -> None:
    data = make(tmp_path)
    whole = [sample.name for sample in open_source(data, [INPUT], max_samples=max_samples)]
    for index, source in enumerate(shards_of(data, of, max_samples)):
        given = list(source)
        assert [sample.name for sample in given] == whole[index::of]
        for sample in given:
            number = whole.index(sample.name)
            np.testing.assert_array_equal(sample.arrays["x"], ROWS[number])
        assert source.count in (len(given), None)
        # What an item is, is settled by the same items in every shard.
        assert next(source.first_samples()).name == whole[0]


def test_what_another_shard_gets_is_not_read(tmp_path, monkeypatch) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    read = []
    values = StoredArray._read_values
    monkeypatch.setattr(
        StoredArray, "_read_values", lambda self, file, shape: read.append(shape) or values(self, file, shape)
    )
    (source,) = shards_of(tmp_path, 5)[2:3]
    assert [sample.arrays["x"][0] for sample in source] == [4, 14, 24]
    assert read == [(2,)] * 3


def test_images_of_other_shards_are_not_opened(tmp_path, monkeypatch) -> None:
    for number in range(7):
        (tmp_path / f"{number}.png").write_bytes(b"no image at all")
    spec = InputSpec("x", np.dtype(np.float32), ("batch", 1, 4, 4))
    opened = []
    monkeypatch.setattr(
        "onnx_trtcal.data.file_items._open_files", lambda paths, recipes: opened.append(paths)
    )
    source = open_source(Sharded(tmp_path, Shard(2, 4)), [spec])
    assert source.count == 2 and source.whole_count == 7 and not opened
    with pytest.raises(TypeError):  # what the stand-in returns is no data
        list(source.tasks())
    assert len(opened) == 1


def test_no_data_at_all_is_an_error_in_every_shard() -> None:
    for source in shards_of([], 2):
        with pytest.raises(DataError, match="no samples"):
            list(source)


def test_shards_know_which_data_they_are_of(tmp_path) -> None:
    one, other = (each.shards for each in shards_of(stacks(tmp_path), 2))
    assert one and other and one.is_of(other) and one.joined(other).missing == []
    assert not one.is_of(shards_of(tmp_path, 2, 5)[0].shards)
    assert not one.is_of(shards_of(tmp_path, 3)[0].shards)
    (tmp_path / "s0.npy").unlink()
    fewer = shards_of(tmp_path, 2)[1].shards
    with pytest.raises(StatisticsError, match="the files of the data, or --max-samples, were not the same"):
        one.joined(fewer)
    with pytest.raises(StatisticsError, match="2 shards against 3"):
        one.joined(Shards(3, one.data, frozenset({2})))
    with pytest.raises(StatisticsError, match="both hold shard 1/2"):
        one.joined(one)


@pytest.mark.parametrize(
    "text", ["", "3", "1/0", "0/4", "5/4", "-1/4", "1/4/5", "1.0/4", "a/b", "1/99999999999", "²/4"]
)
def test_what_is_no_shard(text) -> None:
    with pytest.raises(OptionError):
        Shard.parse(text)


def test_a_shard_as_a_caller_gives_it() -> None:
    assert shard_of("3/8") == shard_of(Shard(3, 8)) == Shard(3, 8) and shard_of(None) is None
    with pytest.raises(OptionError, match="give Shard"):
        shard_of((3, 8))
    with pytest.raises(OptionError, match="SLURM_ARRAY_TASK_ID"):
        Shard(0, 8)
    with pytest.raises(OptionError, match="two whole numbers"):
        Shard(1.0, 8)


def test_many_shards_in_words() -> None:
    some = Shards(9, "", frozenset())
    assert some.named([3]) == "shard 3/9" and some.named([1, 4, 5]) == "shards 1/9, 4/9 and 5/9"
    assert some.named(range(1, 9)) == "shards 1/9, 2/9, 3/9, 4/9, 5/9, 6/9 and 2 more"
