"""Paths as a command line gives them: one or several directories and files, globs, and lists of files.

The order is that in which they are given; a glob's and a directory's files come in natural order. Samples of one
directory are named by their paths inside it. Of several paths, each sample's name starts with the path as it was
given, so that names stay apart.
"""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.data.file_items import file_entry
from onnx_trtcal.data.file_lists import is_file_list, read_file_list
from onnx_trtcal.data.folders import Files, counted, open_path
from onnx_trtcal.data.formats import content_of
from onnx_trtcal.data.input_names import path_key
from onnx_trtcal.errors import DataError, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_trtcal.data.items import Entry, Intake

__all__ = ["open_paths", "paths_of"]

_MOST_LINES = 4


def paths_of(data: Any) -> tuple[str, ...]:
    """The paths that `data` consists of: one path, or a list of nothing but paths; empty for any other data."""
    if isinstance(data, (str, os.PathLike)):
        return (os.fspath(data),)
    if (
        isinstance(data, (list, tuple))
        and data
        and all(isinstance(each, (str, os.PathLike)) for each in data)
    ):
        return tuple(map(os.fspath, data))
    return ()


def open_paths(given: Sequence[str], intake: Intake) -> Files:
    """The items of one or several paths.

    Raises:
        DataError: when a path does not exist, a list names a missing file, or there is nothing usable.
    """
    found = [_expanded(text) for text in given]
    (first, *others) = found
    if not others and not first.note and len(first.paths) == 1:
        return open_path(next(iter(first.paths.values())), intake)
    opened = [_open(name, path, intake) for each in found for name, path in each.paths.items()]
    entries, repeated = _without_repeats([entry for files in opened for entry in files.items])
    lines = [each.note for each in found if each.note]
    plain = sum(len(each.paths) for each in found if not each.note and not each.folders)
    if plain:
        lines.append(f"{counted(plain, 'file')} in the given order")
    shown = [f"{files.folder}: {line}" for files in opened if files.folder for line in files.description]
    lines += shown[:_MOST_LINES]
    if len(shown) > _MOST_LINES:
        lines.append(f"… and so on for {counted(sum(bool(each.folder) for each in opened), 'directory')}")
    if repeated:
        lines.append(f"{counted(repeated, 'repeated file')} left out")
    images = dict.fromkeys(spec for files in opened for spec in files.image_inputs)
    return Files(tuple(entries), tuple(lines), tuple(images))


@dataclass(frozen=True)
class _Expanded:
    """What one given path stands for: names -> paths, and what to say of it."""

    paths: dict[str, Path]
    note: str = ""

    @property
    def folders(self) -> bool:
        return any(path.is_dir() for path in self.paths.values())


def _expanded(text: str) -> _Expanded:
    path = Path(text)
    if path.is_file() and is_file_list(path):
        found = read_file_list(path)
        ignored = "; what follows the paths on its lines is ignored" if found.labelled else ""
        note = f"{counted(len(found.paths), 'path')} from the list {path.name}{ignored}"
        return _Expanded(found.paths, note + (f"; {found.repeated} repeated" if found.repeated else ""))
    if path.exists() or not glob.has_magic(text):
        return _Expanded({path.as_posix(): path})
    matches = sorted(map(Path, glob.glob(text, recursive=True)), key=path_key)
    usable = [match for match in matches if match.is_dir() or content_of(match)]
    if not usable:
        raise DataError(
            f"nothing usable matches {text!r}: "
            + (listed([each.name for each in matches]) or "no file at all"),
            fix="check the pattern; ** stands for folders of any depth, as in 'images/**/*.jpg'",
        )
    if any(not match.is_dir() for match in usable):
        usable = [match for match in usable if not match.is_dir()]
    return _Expanded(
        {match.as_posix(): match for match in usable}, f"{counted(len(usable), 'path')} by {text}"
    )


def _open(name: str, path: Path, intake: Intake) -> Files:
    if not path.is_dir():
        if is_file_list(path) and path.is_file():
            raise DataError(
                "a list of files inside another", where=str(path), fix="name the files themselves"
            )
        if not path.exists():
            return open_path(path, intake)  # which says that it is not there
        images = tuple(intake.inputs) if content_of(path) == "image" else ()
        return Files((file_entry(path, name, intake),), (), images)
    files = open_path(path, intake)
    prefix = "" if name == "." else f"{name}/"
    named = tuple(replace(entry, name=f"{prefix}{entry.name}") for entry in files.items)
    return Files(named, files.description, files.image_inputs, folder=name)


def _without_repeats(entries: Sequence[Entry]) -> tuple[list[Entry], int]:
    first: dict[str, Entry] = {}
    for entry in entries:
        first.setdefault(os.path.abspath(entry.where), entry)
    return list(first.values()), len(entries) - len(first)
