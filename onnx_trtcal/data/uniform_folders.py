"""A directory of nothing but images, or nothing but arrays, for a model with one input.

Of millions of images only the names are held; they become items when they are asked for, and each shard makes items
of its own ones only. Items of arrays are held, for they know what the headers of their files said.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, overload

from onnx_trtcal.data.file_items import array_item, file_entry
from onnx_trtcal.data.formats import content_of, only_alone
from onnx_trtcal.data.input_names import match_inputs, posix_name
from onnx_trtcal.support.files import natural_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from onnx_trtcal.data.formats import Content
    from onnx_trtcal.data.items import Entry, Intake, Item
    from onnx_trtcal.data.remote import DataPath

__all__ = ["ImageFiles", "array_files", "image_files"]

_TENSOR = ".pb"  # whose names may tell inputs from outputs


@dataclass(frozen=True)
class ImageFiles(Sequence["Entry"]):
    """Images as items, one each, made when they are asked for.

    Attributes:
        root: the directory.
        files: their paths inside it, with `/`, in order.
        intake: what they are read for.
    """

    root: DataPath
    files: Sequence[str]
    intake: Intake

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, at: int) -> Entry: ...

    @overload
    def __getitem__(self, at: slice) -> ImageFiles: ...

    def __getitem__(self, at: int | slice) -> Entry | ImageFiles:
        if isinstance(at, slice):
            return ImageFiles(self.root, self.files[at], self.intake)
        path = Path(self.files[at])
        return file_entry(self.root / path, posix_name(path), self.intake)

    def names(self) -> Iterator[str]:
        """The names of the items."""
        return map(_shown, self.files)


def image_files(root: DataPath, found: Sequence[str], intake: Intake) -> ImageFiles | None:
    """The images of a directory in natural order, where they are all of its data.

    Args:
        root: the directory.
        found: the paths of its files, inside it and with `/`.
        intake: what they are read for.

    Returns:
        None where that is not so: the model has several inputs, there is other data, or a sub-folder is named after
        the input.
    """
    images = _all_of("image", found, intake)
    return None if images is None else ImageFiles(root, images, intake)


def array_files(root: DataPath, found: Sequence[str], intake: Intake) -> tuple[Item, ...] | None:
    """The items of a local directory of files with an array each, likewise."""
    arrays = _all_of("array", found, intake)
    if arrays is None or not isinstance(root, Path) or any(name.endswith(_TENSOR) for name in arrays):
        return None
    before = str(root / "x")[:-1]
    (spec,) = intake.inputs
    return tuple([array_item(before + name.replace("/", os.sep), _shown(name), spec.name) for name in arrays])


def _all_of(content: Content, found: Sequence[str], intake: Intake) -> list[str] | None:
    """Those of the files that hold this, in natural order; None where others hold something else, or see above."""
    if len(intake.inputs) != 1:
        return None

    @cache
    def kind(suffix: str) -> Content | None:
        name = f"x{suffix}"
        return None if only_alone(name) else content_of(name)

    kinds = [kind(os.path.splitext(name)[1]) for name in found]
    if not set(kinds) <= {content, None} or content not in kinds:
        return None
    names = [name for name, each in zip(found, kinds, strict=True) if each]
    (spec,) = intake.inputs
    nested = f"{spec.name.strip('/')}/"
    tops = {name.partition("/")[0] for name in names if "/" in name}
    if match_inputs([spec], tops) or any(name.startswith(nested) for name in names):
        return None
    return _in_order(names)


def _shown(name: str) -> str:
    return name if name.isascii() else posix_name(Path(name))


def _in_order(names: Iterable[str]) -> list[str]:
    """The names as `path_key` orders them; folder by folder, so that the keys of all need not be held at once."""
    folders: dict[str, list[str]] = {}
    for name in names:
        folder, _, file = name.rpartition("/")
        folders.setdefault(folder, []).append(file)
    key = cache(natural_key)

    def folder_key(folder: str) -> tuple[object, ...]:
        return tuple(key(part) for part in folder.split("/")) if folder else ()

    if any(parent in folders for folder in folders for parent in _parents(folder)):
        # Files and sub-folders of one folder stand among one another.
        pairs = ((folder, file) for folder, files in folders.items() for file in files)
        ordered = sorted(pairs, key=lambda pair: (*folder_key(pair[0]), natural_key(pair[1])))
        return [f"{folder}/{file}" if folder else file for folder, file in ordered]
    return [
        f"{folder}/{file}" if folder else file
        for folder in sorted(folders, key=folder_key)
        for file in sorted(folders[folder], key=natural_key)
    ]


def _parents(folder: str) -> Iterator[str]:
    """The folders that a folder lies in, the root, which is "", among them."""
    while folder:
        folder = folder.rpartition("/")[0]
        yield folder
