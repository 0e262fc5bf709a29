"""Labels from folders and annotations: a folder per class, and detection labels that name one class per image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx_trtcal.data.readers.lazy_array import reading
from onnx_trtcal.errors import DataError
from onnx_trtcal.evaluation.label_tables import FORMS
from onnx_trtcal.support.parsed_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["read_class_folders", "read_coco", "read_yolo", "yolo_files"]

_NOT_YOLO = ("classes.txt", "labels.txt", "names.txt", "readme.txt", "requirements.txt")


def read_class_folders(root: Path) -> tuple[dict[str, str], list[str]]:
    """The folder of each file by its path inside `root`, and all folders in torchvision's order: sorted as text.

    Raises:
        DataError: there are no sub-folders.
    """
    classes = sorted(
        entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )
    if not classes:
        raise DataError("the folder has no sub-folder per class", where=str(root), fix=FORMS)
    files = {
        file.relative_to(root).as_posix(): name
        for name in classes
        for file in sorted((root / name).rglob("*"))
        if file.is_file()
    }
    return files, classes


def yolo_files(root: Path) -> list[Path]:
    """The text files of a folder that holds nothing else: YOLO's labels; empty for any other folder."""
    files = [file for file in sorted(root.rglob("*")) if file.is_file() and not file.name.startswith(".")]
    text = [file for file in files if file.suffix == ".txt" and file.name.lower() not in _NOT_YOLO]
    others = [file for file in files if file.suffix not in (".txt", ".cache", ".yaml")]
    return [] if others else text


def read_yolo(root: Path, files: list[Path]) -> dict[str, int]:
    """The class of each image, by its path without suffix, from files of lines `class x y width height`.

    Raises:
        DataError: a file is not of that form, or names several classes.
    """
    found = {}
    for file in files:
        with reading(str(file), "the labels cannot be read", FORMS):
            rows = [line.split() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
            if any(not row[0].isdecimal() or len(row) < 5 for row in rows):
                raise DataError("a line does not read `class x y width height`", where=str(file), fix=FORMS)
            classes = {int(row[0]) for row in rows}
        if classes:
            found[file.relative_to(root).with_suffix("").as_posix()] = _only(classes, file.stem, str(file))
    return found


def read_coco(path: Path) -> dict[str, int]:
    """The class of each image by its file name, from COCO's annotations; classes count from 0 in the order of ids.

    Raises:
        DataError: the file is not of that form, or an image shows several classes.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        names = {image["id"]: str(image["file_name"]) for image in content["images"]}
        numbers = {number: index for index, number in enumerate(sorted(_ids(content)))}
        shown: dict[Any, set[int]] = {}
        for box in content["annotations"]:
            shown.setdefault(box["image_id"], set()).add(numbers[box["category_id"]])
    except (OSError, ValueError, OverflowError, KeyError, TypeError) as error:
        raise DataError(
            f"the file does not hold COCO annotations: {type(error).__name__}: {error}",
            where=str(path),
            fix=FORMS,
        ) from error
    return {
        names[image]: _only(classes, names[image], str(path))
        for image, classes in shown.items()
        if image in names
    }


def _ids(content: Mapping[str, Any]) -> set[int]:
    categories = content.get("categories") or []
    return {each["id"] for each in categories} or {box["category_id"] for box in content["annotations"]}


def _only(classes: set[int], name: str, where: str) -> int:
    if len(classes) > 1:
        raise DataError(
            f"image {name!r} shows {len(classes)} classes: these are boxes of a detector, not labels of a classifier",
            where=where,
            fix="pass --task detect to compare detections, or give a --metric FILE.py:NAME that reads the outputs",
        )
    return next(iter(classes))
