"""Directories of arrays: how often their files are opened, what is remembered of them, and in what order they come."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.data import file_items
from onnx_trtcal.data.batching import batches
from onnx_trtcal.data.file_items import array_item
from onnx_trtcal.data.input_names import path_key
from onnx_trtcal.data.items import Intake
from onnx_trtcal.data.layout import feeding_of
from onnx_trtcal.data.notes import Notes
from onnx_trtcal.data.readers import numpy_files
from onnx_trtcal.data.samples import Splitter
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.data.uniform_folders import array_files
from onnx_trtcal.errors import DataError
from onnx_trtcal.support.input_spec import InputSpec

FLOAT = np.dtype(np.float32)
X = InputSpec("x", FLOAT, ("N", 3))
Y = InputSpec("y", FLOAT, ("N", 2))
INTAKE = Intake((X,), lambda _: None, Notes())  # type: ignore[arg-type, return-value]
PART = st.sampled_from(["a", "a1", "a2", "a10", "B", "1", "01", "10", "ä", "a-1"])
NAMES = st.lists(PART, min_size=1, max_size=3).map(lambda parts: "/".join(parts) + ".npy")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each local .npy file was opened so far, by its name."""
    counts: Counter[str] = Counter()
    original = numpy_files._open

    def counting(source: Any, buffering: int = 0) -> Any:
        counts[Path(source).name] += 1
        return original(source, buffering)

    monkeypatch.setattr(numpy_files, "_open", counting)
    return counts


def saved(folder: Path, count: int, width: int = 3, rows: tuple[int, ...] = ()) -> Path:
    folder.mkdir(exist_ok=True)
    for at in range(count):
        np.save(folder / f"{at}.npy", np.full((*rows, width), at, np.float32))
    return folder


@settings(max_examples=30, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=12, unique=True))
def test_the_order_is_that_of_all_files(names: list[str]) -> None:
    items = array_files(Path("root"), names, INTAKE)
    assert items is not None
    ordered = sorted(map(Path, names), key=path_key)
    assert [item.name for item in items] == [path.as_posix() for path in ordered]
    assert [item.where for item in items] == [str("root" / path) for path in ordered]


def test_what_is_not_arrays_alone_is_left_to_others() -> None:
    for names in (["a.png", "b.npy"], ["a.npz"], ["x/a.npy", "b.npy"], ["input_0.pb", "output_0.pb"], []):
        assert array_files(Path("root"), names, INTAKE) is None
    assert array_files(Path("root"), ["a.npy"], Intake((X, Y), lambda _: None, Notes())) is None  # type: ignore[arg-type, return-value]
    items = array_files(Path(), ["b.NPY", "notes.md", "labels.json"], INTAKE)
    assert items is not None and [(item.name, item.where) for item in items] == [("b.NPY", "b.NPY")]


def test_others_are_skipped_and_said_to_be(tmp_path: Path) -> None:
    saved(tmp_path, 2)
    for name in ("notes.md", "labels.json", ".hidden"):
        (tmp_path / name).write_text("")
    source = open_source(tmp_path, [X])
    skipped = "3 other files skipped: .hidden, labels.json, notes.md"
    assert source.description[:2] == ("2 array files in natural order", skipped)
    assert [sample.name for sample in source] == ["0.npy", "1.npy"]


def test_a_file_is_opened_once_for_its_header_and_once_for_its_values(
    tmp_path: Path, opened: Counter[str]
) -> None:
    source = open_source(saved(tmp_path, 20), [X])
    assert source.count == 20 and set(opened.values()) == {1}
    # Another way to feed them is another count, and what an item is may be looked at before.
    assert source.settled(source.feeding).count == 20
    assert next(source.first_samples()).name == "0.npy"
    opened.clear()
    assert sum(batch.count for batch in batches(source, 4)) == 20
    assert set(opened.values()) == {1} and len(opened) == 20
    opened.clear()
    assert len(list(source.tasks())) == 20 and not opened


def test_so_it_is_of_several_inputs_lists_and_stacks(tmp_path: Path, opened: Counter[str]) -> None:
    saved(tmp_path / "x", 6)
    saved(tmp_path / "y", 6, width=2)
    source = open_source(tmp_path, [X, Y])
    assert source.count == 6 and set(opened.values()) == {2}  # the names are the same in both folders
    assert [batch.count for batch in batches(source, 4)] == [4, 2]
    assert set(opened.values()) == {4}
    opened.clear()
    source = open_source([str(tmp_path / "x" / f"{at}.npy") for at in (3, 1, 2)], [X])
    assert source.count == 3
    assert [name for batch in batches(source, 4) for name in batch.names] == ["3.npy", "1.npy", "2.npy"]
    assert set(opened.values()) == {2}
    opened.clear()
    source = open_source(saved(tmp_path / "stacks", 3, rows=(5,)), [X])
    assert source.count == 15
    assert [batch.count for batch in batches(source, 4)] == [4, 4, 4, 3]
    assert set(opened.values()) == {2}


def test_a_file_that_changes_between_counting_and_reading_is_named_in_its_place(tmp_path: Path) -> None:
    source = open_source(saved(tmp_path, 20), [X])
    assert source.count == 20
    np.save(tmp_path / "13.npy", np.zeros(3, np.int32))
    got = []
    with pytest.raises(DataError, match="has changed since the run looked at it") as caught:
        got += [name for batch in batches(source, 1) for name in batch.names]
    assert caught.value.where == str(tmp_path / "13.npy")
    for batch in batches(source, 1):
        got += batch.names
        if len(got) == 13:
            break
    assert got == [f"{at}.npy" for at in range(13)]


def test_what_is_remembered_of_a_file_is_little(tmp_path: Path) -> None:
    """Of millions of files, too."""
    count = 1000
    np.save(tmp_path / "a.npy", np.zeros(3, np.float32))
    path = str(tmp_path / "a.npy")
    items = [array_item(path, str(at), "x") for at in range(count)]
    splitter = Splitter([X], feeding_of([X]), Notes())
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        assert sum(map(splitter.count, items)) == count
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / count < 100


def test_what_is_read_whole_at_once_is_not_kept(tmp_path: Path) -> None:
    from onnx import numpy_helper

    path = tmp_path / "a.pb"
    path.write_bytes(numpy_helper.from_array(np.zeros(3, np.float32)).SerializeToString())
    file = file_items._ArrayFile("x", str(path))
    assert file.open().shape == (3,) and file.known is None
