"""Several paths, globs and lists: what is read, in which order, and under which names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.small import RecordingListener

from onnx_trtcal.data.batching import batches
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.errors import DataError
from onnx_trtcal.evaluation.labels import read_labels
from onnx_trtcal.evaluation.tasks.task import samples_in
from onnx_trtcal.support.input_spec import InputSpec

VECTOR = (InputSpec("x", np.dtype(np.float32), ("N", 2)),)


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for index, name in enumerate(("one/s2.npy", "one/s10.npy", "two/s2.npy", "two/sub/s1.npy", "alone.npy")):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        np.save(name, np.array([index, -index], np.float32))
    Path("all.txt").write_text("two/s2.npy\none/s10.npy\n")
    Path("one/notes.md").write_text("")
    return tmp_path


def names(*given: str) -> list[str]:
    return [sample.name for sample in open_source(list(given), VECTOR)]


def paths(*given: str) -> list[str]:
    return [sample.path or sample.name for sample in open_source(list(given), VECTOR)]


def test_directories_and_files_in_the_given_order() -> None:
    given = ("two", "alone.npy", "one/")
    assert names(*given) == ["0/s2.npy", "0/sub/s1.npy", "1/alone.npy", "2/s2.npy", "2/s10.npy"]
    assert paths(*given) == ["two/s2.npy", "two/sub/s1.npy", "alone.npy", "one/s2.npy", "one/s10.npy"]
    description = open_source(["two", "alone.npy", "one"], VECTOR).description
    assert description[0] == "1 file in the given order"
    assert "one: 1 other file skipped: notes.md" in description


def test_a_glob_is_in_natural_order_and_leaves_out_what_is_no_data() -> None:
    assert names("one/*") == ["s2.npy", "s10.npy"] and paths("one/*") == ["one/s2.npy", "one/s10.npy"]
    assert names("**/s2.npy") == ["one/s2.npy", "two/s2.npy"]
    assert names("o*") == ["one/s2.npy", "one/s10.npy"]
    assert names("one/*", "alone.npy") == ["0/s2.npy", "0/s10.npy", "1/alone.npy"]
    with pytest.raises(DataError, match=r"nothing usable matches 'one/\*\.md': notes\.md"):
        names("one/*.md")


def test_a_file_whose_name_looks_like_a_glob(data: Path) -> None:
    np.save("s[1].npy", np.ones(2, np.float32))
    assert names("s[1].npy") == ["s[1].npy"]


def test_a_list_alone_and_among_others() -> None:
    assert names("all.txt") == ["two/s2.npy", "one/s10.npy"]
    assert [sample.name for sample in open_source(Path("all.txt"), VECTOR)] == names("all.txt")
    assert names("alone.npy", "all.txt") == ["alone.npy", "two/s2.npy", "one/s10.npy"]  # of one directory
    assert names("one", "all.txt") == ["0/s2.npy", "0/s10.npy", "1/two/s2.npy"]


def test_names_do_not_tell_where_the_data_lies(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("absolute.txt").write_text("".join(f"{data / name}\n" for name in ("two/sub/s1.npy", "one/s2.npy")))
    given = ["one", "two/*.npy", "alone.npy", "absolute.txt"]
    here = names(*given)
    assert here == ["0/s2.npy", "0/s10.npy", "1/s2.npy", "2/alone.npy", "2/two/sub/s1.npy"]
    assert names("absolute.txt") == ["two/sub/s1.npy", "one/s2.npy"]
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert names(*(str(data / each) for each in given)) == here
    assert names(*(f"../{each}" for each in given)) == here


def test_files_of_one_directory_are_named_as_the_directory_names_them() -> None:
    assert names("one/s2.npy", "one/s10.npy") == names("one") == ["s2.npy", "s10.npy"]


def test_what_is_named_twice_is_read_once() -> None:
    source = open_source(["two", "all.txt", "one/s10.npy"], VECTOR)
    assert [sample.name for sample in source] == ["0/s2.npy", "0/sub/s1.npy", "1/one/s10.npy"]
    assert "2 repeated files left out" in source.description


def test_a_file_named_twice_is_read_once() -> None:
    source = open_source(["alone.npy", "one/s10.npy", "./alone.npy"], VECTOR)
    assert [sample.name for sample in source] == ["0/alone.npy", "1/s10.npy"]
    assert "1 repeated file left out" in source.description


def test_a_list_inside_a_list_is_refused() -> None:
    Path("outer.txt").write_text("all.txt\n")
    with pytest.raises(DataError, match="a list of files inside another"):
        names("outer.txt", "alone.npy")


def test_a_missing_path_among_several_is_named() -> None:
    with pytest.raises(DataError, match="no such file") as caught:
        names("two", "alon.npy")
    assert caught.value.where == "alon.npy" and "alone.npy" in caught.value.fix


def test_python_files_in_a_directory_never_run() -> None:
    Path("one/loader.py").write_text("raise SystemExit(7)")
    assert names("one") == ["s2.npy", "s10.npy"]


def test_a_loader_runs_when_it_is_named() -> None:
    Path("my.py").write_text(
        "import numpy as np\n"
        "def load_data():\n    for i in range(3):\n        yield {'x': np.full((1, 2), i, np.float64), 'y': 1}\n"
        "def other():\n    return [(np.ones(2), 5)]\n"
        "bad = lambda: 1 / 0\n"
        "def later():\n    yield {'x': np.ones(2)}\n    raise RuntimeError('mine')\n"
        "ready = [np.zeros(2)]\n"
    )
    listener = RecordingListener()
    source = open_source("my.py", VECTOR, listener=listener)
    for _ in range(2):
        assert [sample.arrays["x"].tolist() for sample in source] == [[0, 0], [1, 1], [2, 2]]
    assert listener.said == ["not inputs of the model, and dropped: 'y'"]
    assert len(list(open_source("my.py:other", VECTOR))) == len(list(open_source("my.py:ready", VECTOR))) == 1
    for name, said in (("bad", "ZeroDivisionError"), ("later", "RuntimeError: mine")):
        with pytest.raises(Exception, match=said) as caught:
            list(open_source(f"my.py:{name}", VECTOR))
        assert caught.value.where.startswith("my.py, line ")
    with pytest.raises(Exception, match="no function or data 'load_dat'") as caught:
        open_source("my.py:load_dat", VECTOR)
    assert "did you mean 'load_data'?" in caught.value.fix
    Path("empty.py").write_text("def load_data():\n    yield {}\n")
    with pytest.raises(DataError, match="no key for the model's input 'x': found none") as caught:
        list(open_source("empty.py", VECTOR))
    assert caught.value.where == "empty.py, item 0"


def test_labels_are_found_by_the_paths_as_given() -> None:
    """Names in two roots may be equal but for the number of the root, which no label has."""
    source = open_source(["two", "one"], VECTOR)
    (batch,) = batches(source, 8)
    assert batch.names[:1] + batch.names[2:3] == ("0/s2.npy", "1/s2.npy")
    Path("labels.csv").write_text("one/s2.npy,3\none/s10.npy,1\ntwo/s2.npy,0\ntwo/sub/s1.npy,2\n")
    assert read_labels("labels.csv").of(samples_in(batch, range(4)).names, range(4)) == [0, 2, 3, 1]
