r"""Text files that list other files: one a line (.txt), or the first column of a table (.csv).

A path is relative to the list's folder or, where there is no such file, to the working directory. Blank lines,
comments (#), CRLF, a byte order mark and `\` for `/` are allowed; what follows a path on its line, such as a label, is
ignored. A table may have a line of names first: a column named file, filename or path then wins over the first one.
"""

from __future__ import annotations

import codecs
import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.data.formats import content_of
from onnx_trtcal.errors import CHECK_PATH, DataError, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onnx_trtcal.data.remote import RemotePath

__all__ = ["FileList", "is_file_list", "read_file_list"]

_LINES, _TABLES = (".txt", ".lst", ".list"), (".csv", ".tsv")
_COLUMNS = ("file", "filename", "file_name", "filepath", "file_path", "path", "image", "image_path", "img")


@dataclass(frozen=True)
class FileList:
    """What a list names.

    Attributes:
        paths: as written (with `/`, without `./`) -> the file or folder; in order.
        repeated: how many lines name a path that was there before.
        labelled: whether there is more on the lines than paths.
    """

    paths: dict[str, Path]
    repeated: int
    labelled: bool


@dataclass(frozen=True)
class _Line:
    number: int
    texts: tuple[str, ...]  # what its path may be, the likeliest first


def is_file_list(path: Path | RemotePath) -> bool:
    """Whether a file with this name is read as a list of files."""
    return path.suffix.lower() in (*_LINES, *_TABLES)


def read_file_list(path: Path) -> FileList:
    """Reads a list of files.

    Raises:
        DataError: when the list cannot be read, is empty, or names files that are not there.
    """
    try:
        text = _decoded(path.read_bytes())
    except (OSError, UnicodeError) as error:
        fix = CHECK_PATH if isinstance(error, OSError) else "save the list as UTF-8"
        raise DataError(f"the list of files cannot be read: {error}", where=str(path), fix=fix) from error
    try:
        lines = list(_table(text, path) if path.suffix.lower() in _TABLES else _plain(text))
    except csv.Error as error:
        raise DataError(
            f"the list of files is not a table: {error}",
            where=str(path),
            fix="write one path a line, in quotes only where it holds a comma",
        ) from error
    if not lines:
        raise DataError("the list names no files", where=str(path), fix="write one path a line")
    paths: dict[str, Path] = {}
    found: set[str] = set()
    missing: list[_Line] = []
    labelled = False
    for line in lines:
        match = next(((t, p) for t in line.texts if (p := _resolved(t, path.parent))), None)
        if match is None:
            missing.append(line)
            continue
        labelled |= match[0] != line.texts[0]
        key = os.path.abspath(match[1])
        if key not in found:
            paths[_written(match[0])] = match[1]
        found.add(key)
    if missing:
        raise _missing(missing, len(lines), path)
    return FileList(paths, len(lines) - len(found), labelled)


def _decoded(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")  # what PowerShell's > writes
    # A file system may hold names that are not UTF-8, and so may a list of them.
    return data.decode("utf-8-sig", "surrogateescape")


def _plain(text: str) -> Iterator[_Line]:
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            shorter = [stripped.rsplit(None, count)[0] for count in (1, 2)]
            first = [stripped.partition(mark)[0].strip() for mark in ("\t", ",", ";", " ")]
            # MXNet's lists: a number, labels, the path.
            last = [stripped.rpartition("\t")[2]] if "\t" in stripped else []
            yield _Line(number, tuple(dict.fromkeys([stripped, *shorter, *first, *last])))


def _table(text: str, path: Path) -> Iterator[_Line]:
    lines = text.splitlines()
    head = next((line for line in lines if line.strip()), "")
    mark = "\t" if path.suffix.lower() == ".tsv" or ("\t" in head and "," not in head) else ","
    mark = ";" if mark == "," and ";" in head and "," not in head else mark
    rows = [
        (n, row) for n, row in enumerate(csv.reader(lines, delimiter=mark), 1) if any(map(str.strip, row))
    ]
    rows = [(number, row) for number, row in rows if not row[0].startswith("#")]
    column = 0
    if rows and _is_header(rows[0][1], mark, path.parent):
        names = [name.strip().lower() for name in rows[0][1]]
        column = next((names.index(name) for name in _COLUMNS if name in names), 0)
        rows = rows[1:]
    for number, row in rows:
        cell = row[column].strip() if column < len(row) else ""
        # A name that holds the mark itself is the whole line.
        yield _Line(number, tuple(dict.fromkeys([cell, mark.join(row).strip()])))


def _is_header(row: Sequence[str], mark: str, folder: Path) -> bool:
    """Whether the first row of a table names its columns: it holds neither a file nor a number."""
    if _resolved(row[0].strip(), folder) or _resolved(mark.join(row).strip(), folder):
        return False
    numbers = any(cell.strip().lstrip("+-").replace(".", "", 1).isdecimal() for cell in row)
    return not numbers and content_of(Path(row[0].strip())) is None


def _resolved(text: str, folder: Path) -> Path | None:
    # Nobody means the root of the file system.
    if not text.strip("\"'/\\") or "\0" in text:
        return None
    bare = text.strip("\"'")
    for each in dict.fromkeys((text, bare, bare.replace("\\", "/"))):
        for base in (folder, Path()):
            path = base / each
            try:
                if path.exists():
                    return path
            except OSError:  # a line longer than any path
                return None
    return None


def _written(text: str) -> str:
    return Path(text.strip("\"'").replace("\\", "/")).as_posix()


def _missing(missing: Sequence[_Line], lines: int, path: Path) -> DataError:
    first = missing[0]
    shown = listed([f"line {line.number}: {line.texts[0][:80]!r}" for line in missing])
    names = [Path(text.replace("\\", "/")) for text in first.texts if text]
    near = ""
    if names and content_of(names[0]) is None and not names[0].suffix:
        near = next(
            (each.relative_to(path.parent).as_posix() for each in _with_stem(path, names[0].name)), ""
        )
    example = f", as in {near}" if near else ""
    if first.texts[0].startswith(("http://", "https://")):
        example = "; addresses in a list are not downloaded: give the URL of their folder as the data"
    return DataError(
        f"{len(missing)} of the list's {lines} lines name no file: {shown}",
        where=str(path),
        fix=f"write a path with its suffix on each line, relative to {path.parent} or to the working directory"
        + example,
    )


def _with_stem(path: Path, stem: str) -> Iterator[Path]:
    """Data files of this stem in the list's folder and its sub-folders."""
    for folder in (path.parent, *sorted(each for each in path.parent.iterdir() if each.is_dir())):
        for file in sorted(folder.iterdir()):
            if file.stem == stem and content_of(file):
                yield file
