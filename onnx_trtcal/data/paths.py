"""Paths as a command line gives them: one or several directories and files, globs, lists of files, and URLs.

The order is that in which they are given; a glob's and a directory's files come in natural order. So neither the locale
nor the file system has a part in it.

A sample is named by the path of its file inside the *root* that the file was found under, so that names are the same
wherever the data lies. The root of a directory's files is the directory, that of a file the directory it is in, that of
a glob the part before the first wildcard, and that of a list the directory that its lines are relative to, or the one
that all its absolute paths share. Where there are several roots, the position of the root comes first, counted from 0:
`1/cats/a.png`. A URL's samples are named as those of the same directory on a disk.
"""

from __future__ import annotations

import glob
import itertools
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.data.file_items import file_entry
from onnx_trtcal.data.file_lists import is_file_list, read_file_list
from onnx_trtcal.data.folders import Files, counted, is_directory, open_path
from onnx_trtcal.data.formats import content_of
from onnx_trtcal.data.input_names import path_key, posix_name
from onnx_trtcal.data.remote import RemotePath, data_path
from onnx_trtcal.errors import DataError, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_trtcal.data.file_lists import FileList
    from onnx_trtcal.data.items import Entry, Intake
    from onnx_trtcal.data.remote import DataPath

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
    expanded = [_expanded(text) for text in given]
    (first, *others) = expanded
    if not others and not first.note and len(first.found) == 1:
        return open_path(first.found[0].path, intake)
    roots = list(dict.fromkeys(found.root for each in expanded for found in each.found))
    numbers = {root: f"{number}/" if len(roots) > 1 else "" for number, root in enumerate(roots)}
    opened = [_open(found, numbers[found.root], intake) for each in expanded for found in each.found]
    entries, repeated = _without_repeats([entry for files in opened for entry in files.items])
    lines = [each.note for each in expanded if each.note]
    plain = sum(len(each.found) for each in expanded if not each.note and not each.folders)
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
class _Found:
    """A file or folder that a given path stands for.

    Attributes:
        path: it.
        given: as the user gave it.
        root: what its samples are named relative to.
        name: its own path inside the root; empty for the root itself.
    """

    path: DataPath
    given: str
    root: str
    name: str


@dataclass(frozen=True)
class _Expanded:
    """What one given path stands for, and what to say of it."""

    found: tuple[_Found, ...]
    note: str = ""

    @property
    def folders(self) -> bool:
        return any(is_directory(found.path) for found in self.found)


def _expanded(text: str) -> _Expanded:
    path = data_path(text)
    if isinstance(path, RemotePath):
        return _expanded_url(path)
    if path.is_file() and is_file_list(path):
        listing = read_file_list(path)
        ignored = "; what follows the paths on its lines is ignored" if listing.labelled else ""
        note = f"{counted(len(listing.paths), 'path')} from the list {path.name}{ignored}"
        found = _listed(listing, path.parent)
        return _Expanded(found, note + (f"; {listing.repeated} repeated" if listing.repeated else ""))
    if path.is_dir():
        return _Expanded((_Found(path, path.as_posix(), os.path.abspath(path), ""),))
    if path.exists() or not glob.has_magic(text):
        root = os.path.abspath(path.parent)
        return _Expanded((_Found(path, path.as_posix(), root, posix_name(Path(path.name))),))
    matches = sorted(map(Path, glob.glob(str(path), recursive=True)), key=path_key)
    usable = [match for match in matches if match.is_dir() or content_of(match)]
    if not usable:
        raise _no_match(text, [match.name for match in matches])
    if any(not match.is_dir() for match in usable):
        usable = [match for match in usable if not match.is_dir()]
    fixed = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts)
    root = os.path.abspath(os.path.join(*fixed, ""))
    return _Expanded(
        tuple(_Found(match, match.as_posix(), root, _inside(match, root)) for match in usable),
        f"{counted(len(usable), 'path')} by {text}",
    )


def _expanded_url(url: RemotePath) -> _Expanded:
    if is_file_list(url):
        raise DataError(
            "a list of files has to be a local file",
            where=str(url),
            fix="copy it here, or name the directory",
        )
    pattern = url.pattern
    if not pattern:
        inside = "" if is_directory(url) else posix_name(Path(url.name))
        return _Expanded((_Found(url, str(url), str(url) if not inside else url.parent, inside),))
    root, matches = url.matches()
    names = sorted(map(Path, matches), key=path_key)
    usable = [name for name in names if content_of(name)]
    if not usable:
        raise _no_match(str(url), [name.name for name in names])
    found = (_Found(root / name, str(root / name), str(root), posix_name(name)) for name in usable)
    return _Expanded(tuple(found), f"{counted(len(usable), 'path')} by {url}")


def _no_match(pattern: str, names: Sequence[str]) -> DataError:
    return DataError(
        f"nothing usable matches {pattern!r}: " + (listed(names) or "no file at all"),
        fix="check the pattern; ** stands for folders of any depth, as in 'images/**/*.jpg'",
    )


def _listed(listing: FileList, folder: Path) -> tuple[_Found, ...]:
    """What a list names; `folder` is where the list lies."""
    absolute = [os.path.dirname(path) for text, path in listing.paths.items() if Path(text).is_absolute()]
    common = os.path.commonpath(absolute) if absolute else ""
    found = []
    for text, path in listing.paths.items():
        if Path(text).is_absolute():
            found.append(_Found(path, text, common, _inside(path, common)))
        else:
            here = os.path.normpath(path) == os.path.normpath(folder / text)
            root = os.path.abspath(folder if here else Path())
            found.append(_Found(path, text, root, posix_name(Path(text))))
    return tuple(found)


def _inside(path: Path, root: str) -> str:
    name = posix_name(Path(os.path.relpath(path, root)))
    return "" if name == "." else name


def _open(found: _Found, number: str, intake: Intake) -> Files:
    """The items of what was found; `number` goes before their names."""
    path = found.path
    if not is_directory(path):
        if is_file_list(path) and path.exists():
            raise DataError(
                "a list of files inside another", where=str(path), fix="name the files themselves"
            )
        if not path.exists():
            return open_path(path, intake)  # which says that it is not there
        images = tuple(intake.inputs) if content_of(path) == "image" else ()
        entry = replace(file_entry(path, number + found.name, intake), path=found.given)
        return Files((entry,), (), images)
    files = open_path(path, intake)
    prefix = number + (f"{found.name}/" if found.name else "")
    given = "" if found.given == "." else f"{found.given}/"
    named = tuple(replace(entry, name=prefix + entry.name, path=given + entry.name) for entry in files.items)
    return Files(named, files.description, files.image_inputs, folder=found.given)


def _without_repeats(entries: Sequence[Entry]) -> tuple[list[Entry], int]:
    first: dict[str, Entry] = {}
    for entry in entries:
        first.setdefault(os.path.abspath(entry.where), entry)
    return list(first.values()), len(entries) - len(first)
