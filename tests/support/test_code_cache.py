"""Machine code is read back as it was written, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnx_trtcal.support import code_cache
from onnx_trtcal.support.code_cache import CodeCache
from onnx_trtcal.support.machine_code import MachineCode

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ((np.dtype(np.float32), 1, True), "int64")
CODE = MachineCode("run", ("float64", "int64"), as_tuple=True, data=bytes(range(256)))


def function(values, factor):
    return values.sum() * factor


def other(values, factor):
    return values.sum() - factor


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "chosen"))
    return tmp_path / "chosen" / "onnx_trtcal"


def the_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def test_what_was_written_is_read(folder: Path) -> None:
    assert CodeCache(function, KINDS).read() is None
    CodeCache(function, KINDS).write(CODE)
    assert CodeCache(function, KINDS).read() == CODE
    assert CodeCache(function, KINDS[:1]).read() is None
    assert CodeCache(other, KINDS).read() is None
    CodeCache(function, KINDS).write(MachineCode.none())
    assert CodeCache(function, KINDS).read() == MachineCode.none()
    assert the_file(folder).name.startswith("test_code_cache.function-")


def test_no_damage_goes_unnoticed(folder: Path) -> None:
    CodeCache(function, KINDS).write(CODE)
    file = the_file(folder)
    good = file.read_bytes()
    places = range(len(good))
    damaged = [good + b"\0", good[1:], *(good[:place] for place in places)]
    damaged += [good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :] for place in places]
    for content in damaged:
        file.write_bytes(content)
        assert CodeCache(function, KINDS).read() is None, content
    CodeCache(function, KINDS).write(CODE)
    assert file.read_bytes() == good


BODIES = [b"", b"\n", b"[]\n", b"{}\n", b"null\n", b"\xff\n", b"[" * 9 + b"\n"]
FIELDS = [
    {"symbol": None},
    {"returns": None},
    {"returns": ["text"]},
    {"returns": [[]]},
    {"as_tuple": "text"},
    {"key": 1},
]


@pytest.mark.parametrize("body", [*BODIES, *FIELDS], ids=str)
def test_what_nobody_wrote_is_not_read(folder: Path, body: bytes | dict[str, object]) -> None:
    CodeCache(function, KINDS).write(CODE)
    good = the_file(folder).read_bytes()
    magic, rest = good[: good.index(b"\n") + 1], good[good.index(b"\n") + 1 + 64 :]
    header, _, data = rest.partition(b"\n")
    if isinstance(body, dict):
        body = json.dumps(json.loads(header) | body).encode() + b"\n" + data
    checksum = hashlib.sha256(body).hexdigest().encode()
    the_file(folder).write_bytes(magic + checksum + body)
    assert CodeCache(function, KINDS).read() is None
    assert magic.startswith(b"onnx_trtcal code ")
    the_file(folder).write_bytes(good.removeprefix(magic))
    assert CodeCache(function, KINDS).read() is None


@pytest.mark.parametrize("name", ["_machine", "_toolchain"])
def test_what_is_made_for_or_by_something_else_is_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    CodeCache(function, KINDS).write(CODE)
    mine = the_file(folder)
    monkeypatch.setattr(code_cache, name, lambda: ["another"])
    assert CodeCache(function, KINDS).read() is None
    CodeCache(function, KINDS).write(CODE)
    # It is not in the way of other machines and environments that share the folder.
    assert len(list(folder.iterdir())) == 2
    for file in set(folder.iterdir()) - {mine}:
        file.write_bytes(mine.read_bytes())
        assert CodeCache(function, KINDS).read() is None


@pytest.mark.parametrize(
    ("name", "counts"),
    [("NUMBA_BOUNDSCHECK", True), ("NUMBA_OPT", True), ("NUMBA_NUM_THREADS", False), ("NUMBA_DEBUG", False)],
)
def test_settings_of_numba_count_where_they_change_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, counts: bool
) -> None:
    monkeypatch.delenv(name, raising=False)
    code_cache._toolchain.cache_clear()
    CodeCache(function, KINDS).write(CODE)
    monkeypatch.setenv(name, "1")
    code_cache._toolchain.cache_clear()
    found = CodeCache(function, KINDS).read()
    code_cache._toolchain.cache_clear()
    assert (found is None) == counts


def closure(factor):
    def scaled(values):
        return values.sum() * factor

    return scaled


def test_closures_have_files_of_their_own(folder: Path) -> None:
    caches = [CodeCache(closure(factor), KINDS[:1]) for factor in (2, 5)]
    caches[0].write(CODE)
    assert caches[1].read() is None
    caches[1].write(MachineCode.none())
    assert caches[0].read() == CODE


def test_a_change_of_the_function_is_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    CodeCache(function, KINDS).write(CODE)
    monkeypatch.setattr(function, "__code__", other.__code__.replace(co_name="function"))
    assert CodeCache(function, KINDS).read() is None
    CodeCache(function, KINDS).write(CODE)
    the_file(folder)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders for a function, the best first."""
    if not hasattr(os, "getuid"):
        pytest.skip("the folders have other names there")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(code_cache.sys, "platform", "linux")
    monkeypatch.setattr(code_cache.tempfile, "gettempdir", lambda: str(tmp_path))
    source = tmp_path / "module" / "module.py"
    source.parent.mkdir()
    source.write_text("")
    monkeypatch.setattr(function, "__code__", function.__code__.replace(co_filename=str(source)))
    return [
        source.parent / "__pycache__",
        tmp_path / "home" / "onnx_trtcal",
        tmp_path / f"onnx_trtcal-{os.getuid()}",
    ]


def test_the_first_folder_that_takes_it_is_taken(places: list[Path]) -> None:
    for place in places:
        CodeCache(function, KINDS).write(CODE)
        assert CodeCache(function, KINDS).read() == CODE
        the_file(place).unlink()
        place.rmdir()
        place.write_text("a file where a folder is wanted")
        assert CodeCache(function, KINDS).read() is None
    CodeCache(function, KINDS).write(CODE)
    assert CodeCache(function, KINDS).read() is None


def test_a_folder_that_cannot_be_written_is_read(places: list[Path]) -> None:
    CodeCache(function, KINDS).write(CODE)
    places[0].chmod(0o555)
    assert CodeCache(function, KINDS).read() == CODE
    the_file(places[0])
    places[0].chmod(0o755)


def test_what_others_may_have_written_is_not_read(places: list[Path]) -> None:
    for place in places[:2]:
        place.parent.mkdir(exist_ok=True)
        place.write_text("a file where a folder is wanted")
    CodeCache(function, KINDS).write(CODE)
    assert CodeCache(function, KINDS).read() == CODE
    places[2].chmod(0o777)
    assert CodeCache(function, KINDS).read() is None


def test_a_function_without_a_file_leaves_nothing_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, places: list[Path]
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(function, "__code__", function.__code__.replace(co_filename="<string>"))
    CodeCache(function, KINDS).write(CODE)
    assert CodeCache(function, KINDS).read() == CODE
    assert not list((tmp_path / "here").iterdir())
    the_file(places[1])
