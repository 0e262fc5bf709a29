"""What lies in a directory, and how its files make up items.

- A sub-folder named after an input holds that input's files; files of the same stem belong together. For an input
  named `left/img` that is the folder `left/img` or `left_img`, and `_` also stands for what file systems refuse.
- Array files at the top that are named after the inputs (`input_ids.npy`, `attention_mask.npy`) are one item.
- Otherwise every file is an item: one with an image or an array for a model with one input, one with arrays by
  name for any; the `input_0.pb`, `input_1.pb` of one folder (the layout of the ONNX model zoo) are one item of a
  model with several inputs, and `output_*.pb` beside them are ignored.

Hidden files and files of other formats are skipped and counted; so are those that may hold annotations or weights
(.json, .pt and the like) unless there is nothing else. Folders are searched to any depth.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.data.file_items import file_entry, folder_item, joint_item
from onnx_trtcal.data.formats import content_of, format_names, only_alone
from onnx_trtcal.data.input_names import match_inputs, missing_inputs, path_key, posix_name
from onnx_trtcal.data.remote import RemotePath
from onnx_trtcal.data.uniform_folders import array_files, image_files
from onnx_trtcal.errors import DataError, did_you_mean, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnx_trtcal.data.items import Entry, Intake
    from onnx_trtcal.data.remote import DataPath
    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["Files", "counted", "is_directory", "open_path"]

# The name of an item that is the whole directory: names are the same wherever that lies.
_WHOLE = "data"
_PASSED_OVER = (".", "__MACOSX")  # folders whose names begin so


@dataclass(frozen=True)
class Files:
    """The items of a path.

    Attributes:
        items: in order.
        description: what was found, for the user.
        image_inputs: the inputs that are fed from image files.
        folder: the directory that they are all in, as it was given; empty for files.
    """

    items: Sequence[Entry]
    description: tuple[str, ...]
    image_inputs: tuple[InputSpec, ...]
    folder: str = ""


def open_path(path: DataPath, intake: Intake) -> Files:
    """The items of a directory or a file.

    Args:
        path: what the user gave.
        intake: what it is read for.

    Raises:
        DataError: when there is nothing usable, or files are missing, doubled or of mixed kinds.
    """
    inputs = intake.inputs
    if not is_directory(path):
        if not path.exists():
            raise DataError(
                "there is no such file or directory", where=str(path), fix=_near(path) or "check the path"
            )
        entry = file_entry(path, path.name, intake)
        return Files(
            (entry,), (f"one file: {path.name}",), tuple(inputs) if content_of(path) == "image" else ()
        )
    path, names, hidden = _scan(path)
    if images := image_files(path, names, intake):
        line = f"{counted(len(images), 'image file')} in natural order"
        others = set(names).difference(images.files) if len(images) < len(names) else set()
        return Files(images, (line, *_skipped([*map(Path, others), *map(Path, hidden)])), tuple(inputs))
    if arrays := array_files(path, names, intake):
        line = f"{counted(len(arrays), 'array file')} in natural order"
        others = (
            {name for name in names if content_of(name) != "array"} if len(arrays) < len(names) else set()
        )
        return Files(arrays, (line, *_skipped([*map(Path, others), *map(Path, hidden)])), ())
    found, skipped = [*map(Path, names)], [*map(Path, hidden)]
    known = [name for name in found if content_of(name)]
    usable = [name for name in known if not only_alone(name)] or known
    chosen = set(usable)
    skipped += [name for name in found if name not in chosen]
    if not usable:
        raise DataError(
            f"the directory holds no calibration data: {_inventory(skipped)}",
            where=str(path),
            fix=f"usable are {format_names()}; raw .bin or .raw files lack type and shape: save them as .npy",
        )
    folders = _input_folders(inputs, usable)
    if folders:
        named = {name for name in usable if any(name.is_relative_to(each) for each in folders.values())}
        skipped += [name for name in usable if name not in named]
        usable = [name for name in usable if name in named]
    several = folders and len(inputs) > 1
    files = _by_folder(path, usable, folders, intake) if several else _by_file(path, usable, intake)
    return Files(files.items, files.description + _skipped(skipped), files.image_inputs)


def _skipped(files: Iterable[Path]) -> tuple[str, ...]:
    """What is to be said of files that are not read."""
    left = [posix_name(name) for name in sorted(files, key=path_key)]
    return (f"{len(left)} other file{'s' * (len(left) > 1)} skipped: {listed(left)}",) if left else ()


def is_directory(path: DataPath) -> bool:
    """Whether a path is that of a directory; of a URL its end tells that, without asking."""
    return path.is_dir() if isinstance(path, Path) else content_of(path) is None


def _near(path: DataPath) -> str:
    if isinstance(path, Path) and path.parent.is_dir():
        return did_you_mean(path.name, os.listdir(path.parent))
    return ""


def _input_folders(inputs: Sequence[InputSpec], files: Sequence[Path]) -> dict[str, Path]:
    """The sub-folders that hold the inputs' files: {input name: folder}."""
    tops = match_inputs(inputs, {name.parts[0] for name in files if len(name.parts) > 1})
    folders = {name: Path(folder) for name, folder in tops.items()}
    for spec in inputs:
        nested = Path(spec.name.strip("/"))
        if spec.name in folders or len(nested.parts) < 2:
            continue
        if any(nested in name.parents for name in files):
            folders[spec.name] = nested
    return folders


def _by_folder(root: DataPath, usable: Sequence[Path], folders: Mapping[str, Path], intake: Intake) -> Files:
    inputs = intake.inputs
    if len(folders) < len(inputs):
        raise missing_inputs(inputs, folders, _sub_folders(root), "sub-folder", str(root))
    stems: dict[str, dict[Path, Path]] = {}
    for spec in inputs:
        stems[spec.name] = {}
        for name in usable:
            if name.is_relative_to(folders[spec.name]):
                stem = name.relative_to(folders[spec.name]).with_suffix("")
                if other := stems[spec.name].get(stem):
                    raise DataError(
                        f"two files are sample {posix_name(stem)!r} of input {spec.name!r}: "
                        f"{posix_name(other)} and {posix_name(name)}",
                        where=str(root),
                        fix="leave one of them",
                    )
                stems[spec.name][stem] = name
    _check_stems(root, stems)
    items = []
    image_inputs: dict[InputSpec, None] = {}
    for stem in sorted(stems[inputs[0].name], key=path_key):
        paths = {name: root / files[stem] for name, files in stems.items()}
        image_inputs |= {spec: None for spec in inputs if content_of(paths[spec.name]) == "image"}
        label = posix_name(stem)
        items.append(joint_item(paths, label, f"{root}: {label}", intake))
    names = ", ".join(repr(folders[spec.name].as_posix()) for spec in inputs)
    return Files(
        tuple(items), (f"{counted(len(items), 'sample')} from sub-folders {names}",), tuple(image_inputs)
    )


def _check_stems(root: DataPath, stems: Mapping[str, Mapping[Path, Path]]) -> None:
    everything = {stem for files in stems.values() for stem in files}
    for name, files in stems.items():
        lacking = sorted(everything - set(files), key=path_key)
        if lacking:
            raise DataError(
                f"input {name!r} lacks {counted(len(lacking), 'sample')} that other inputs have: "
                + listed([posix_name(stem) for stem in lacking]),
                where=str(root),
                fix="give every input's sub-folder a file of the same stem for each sample",
            )


def _by_file(root: DataPath, usable: Sequence[Path], intake: Intake) -> Files:
    inputs = intake.inputs
    images = [name for name in usable if content_of(name) == "image"]
    if images and len(images) < len(usable):
        arrays = [posix_name(name) for name in usable if content_of(name) != "image"]
        raise DataError(
            f"the directory holds {counted(len(images), 'image')} and {counted(len(arrays), 'array file')} "
            f"({listed(arrays)}): which of them is the data cannot be told",
            where=str(root),
            fix="move one kind elsewhere, or name the one sub-folder or file to use",
        )
    if len(inputs) > 1 and not images and (joined := _one_item(root, usable, intake)):
        return joined
    if len(inputs) > 1 and all(re.fullmatch(r"(input|output)_\d+\.pb", name.name) for name in usable):
        return _tensor_folders(root, usable, inputs)
    tensors = {name for name in usable if re.fullmatch(r"output_\d+\.pb", name.name)}
    names = sorted((name for name in usable if name not in tensors), key=path_key)
    if not names:
        raise DataError(f"the directory holds no inputs: {_inventory(list(usable))}", where=str(root))
    items = tuple(file_entry(root / name, posix_name(name), intake) for name in names)
    line = f"{counted(len(items), 'image file' if images else 'array file')} in natural order"
    return Files(items, (line,), tuple(inputs) if images else ())


def _one_item(root: DataPath, usable: Sequence[Path], intake: Intake) -> Files | None:
    """The item of files at the top that bear the inputs' names, if there are."""
    inputs = intake.inputs
    top = {name.stem: name for name in usable if len(name.parts) == 1 and content_of(name) == "array"}
    matched = match_inputs(inputs, top)
    if not matched:
        return None
    if len(matched) < len(inputs):
        raise missing_inputs(inputs, matched, top, "file", str(root))
    paths = {name: root / top[stem] for name, stem in matched.items()}
    used = ", ".join(posix_name(top[stem]) for stem in matched.values())
    return Files((joint_item(paths, _WHOLE, str(root), intake),), (f"arrays by input: {used}",), ())


def _tensor_folders(root: DataPath, usable: Sequence[Path], inputs: Sequence[InputSpec]) -> Files:
    groups: dict[Path, list[DataPath]] = {}
    for name in sorted(usable, key=path_key):
        if name.name.startswith("input"):
            groups.setdefault(name.parent, []).append(root / name)
    items = tuple(
        folder_item(paths, posix_name(folder) if folder.parts else _WHOLE, inputs)
        for folder, paths in groups.items()
    )
    return Files(items, (f"{counted(len(items), 'folder')} of ONNX tensors",), ())


def _scan(root: DataPath) -> tuple[DataPath, list[str], list[str]]:
    """The root, and the paths of all files in it, with `/`, hidden ones apart.

    Links to folders are followed, each folder once. A remote root knows what was found in it.
    """
    if isinstance(root, RemotePath):
        return _scan_remote(root)
    found: list[str] = []
    hidden: list[str] = []
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if status.st_ino and (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith(_PASSED_OVER))
        inside = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if inside == "." else f"{inside}/"
        for name in files:
            (hidden if name.startswith(".") else found).append(prefix + name)
    return root, found, hidden


def _scan_remote(root: RemotePath) -> tuple[RemotePath, list[str], list[str]]:
    everything = root.found()
    if not everything:
        raise DataError("there is no file under this URL", where=str(root), fix="check the URL")
    names: dict[bool, list[str]] = {True: [], False: []}
    for name in everything:
        *folders, last = name.split("/")
        if not any(folder.startswith(_PASSED_OVER) for folder in folders):
            names[last.startswith(".")].append(name)
    return replace(root, entries=everything), names[False], names[True]


def _sub_folders(root: DataPath) -> list[str]:
    if isinstance(root, RemotePath):
        return sorted({name.partition("/")[0] for name in root.entries if "/" in name})
    return [entry.name for entry in root.iterdir() if entry.is_dir()]


def _inventory(names: Sequence[Path]) -> str:
    if not names:
        return "it is empty"
    counts = Counter(name.suffix.lower() or name.name for name in names)
    common = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return "found " + ", ".join(f"{count} {suffix}" for suffix, count in common[:6])


def counted(number: int, noun: str) -> str:
    """A number with its noun, as `3 files`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"
