"""The boxes that are right: COCO's annotations or YOLO's text files, in the pixels of the network's input."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_trtcal.data.readers.lazy_array import reading
from onnx_trtcal.errors import DataError
from onnx_trtcal.evaluation.labels import Labels
from onnx_trtcal.support.parsed_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.data.images.geometry import Geometry

__all__ = ["Boxes", "Category", "Truth", "by_position", "read_truth"]

Size = tuple[int, int]

FORMS = (
    "labels of a detector are COCO annotations (.json), or a folder of YOLO's text files with lines "
    "`class x y width height`"
)
_NOT_LABELS = ("classes.txt", "labels.txt", "names.txt", "readme.txt", "requirements.txt")
_SAME = 0.02  # relative difference of two aspect ratios that rounding to pixels explains


@dataclass(frozen=True)
class Boxes:
    """What one image shows.

    Attributes:
        boxes: float64, Nx4: left, top, right, bottom.
        classes: int64, N: numbers of classes for YOLO, ids of categories for COCO.
        crowd: bool, N: COCO's groups, in which any detection is right.
        size: height and width that the boxes are in; None where they are shares of the image's sides.
    """

    boxes: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    size: Size | None = None


@dataclass(frozen=True)
class Category:
    """A class of COCO's: its id and its name."""

    number: int
    name: str


@dataclass(frozen=True)
class Truth:
    """The labels of all images.

    Attributes:
        where: their file or folder.
        images: key -> what the image shows.
        keys: finds the key of a sample.
        categories: COCO's, by id; empty for YOLO's files, whose numbers are the model's.
        all_listed: whether an image that is not in `images` has no label, rather than nothing to show.
    """

    where: str
    images: Mapping[str, Boxes]
    keys: Labels
    categories: tuple[Category, ...] = field(default=())
    all_listed: bool = True

    def of(self, name: str, index: int, geometry: Geometry | None, size: Size) -> Boxes:
        """What a sample shows, in pixels of the network's input; the part of a box that is cropped off is left out.

        Args:
            name: the sample's name.
            index: its position in the data.
            geometry: where the image lies in the input; None when that is not known.
            size: height and width of the input.

        Raises:
            DataError: the sample has no label, or its label belongs to an image of another size.
        """
        found = self._find(name, index)
        if geometry is None:
            boxes = self._as_given(found, name, size)
            left, top, right, bottom = 0.0, 0.0, float(size[1]), float(size[0])
        else:
            boxes = geometry.points(self._in_original(found, name, geometry.original))
            left, top, right, bottom = geometry.visible
        boxes = np.clip(boxes, [left, top, left, top], [right, bottom, right, bottom])
        shown = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return Boxes(boxes[shown], found.classes[shown], found.crowd[shown], size)

    def knows(self, name: str) -> bool:
        """Whether a sample of this name has a label of its own."""
        try:
            return bool(self.keys.of([name], [0])) and not self.keys.by_index
        except DataError:
            return False

    def numbers(
        self, names: Sequence[str], classes: int | None, seen: int = -1
    ) -> tuple[dict[int, int], str]:
        """Class as labelled -> the model's number for it, and in words how that was found.

        Args:
            names: those of the model's classes; empty where it does not say.
            classes: how many the model tells apart; None when that is not known.
            seen: the largest number that it gave any detection; -1 for none.

        Raises:
            DataError: YOLO's files have numbers that the model has not.
        """
        if not self.categories:
            used = {int(number) for each in self.images.values() for number in each.classes}
            if classes is not None and max(used, default=0) >= classes:
                raise DataError(
                    f"the labels have class {max(used)}, and the model tells {classes} apart, from 0",
                    where=self.where,
                    fix="number the classes as the model does",
                )
            return {number: number for number in used}, "classes are numbered as in the files"
        by_name = {name: number for number, name in enumerate(names)}
        if names and all(each.name in by_name for each in self.categories):
            return {
                each.number: by_name[each.name] for each in self.categories
            }, "classes are matched by name"
        largest = max(each.number for each in self.categories)
        if classes != len(self.categories):
            # Models trained on COCO's ids leave those out that no category has; without a background, id 1 comes first.
            if seen >= len(self.categories) if classes is None else classes > largest:
                return {
                    each.number: each.number for each in self.categories
                }, "classes are numbered by their ids"
            if classes == largest:
                numbers = {each.number: each.number - 1 for each in self.categories}
                return numbers, "classes are numbered by their ids, from 1"
        ordered = {each.number: number for number, each in enumerate(self.categories)}
        return ordered, f"the {len(ordered)} categories are numbered from 0 in the order of their ids"

    def _find(self, name: str, index: int) -> Boxes:
        try:
            key = str(self.keys.of([name], [index])[0])
        except DataError:
            if self.all_listed or self.keys.by_index:
                raise
            nothing = np.zeros(0, np.int64)
            return Boxes(np.zeros((0, 4)), nothing, nothing.astype(bool))
        return self.images[key]

    def _as_given(self, found: Boxes, name: str, size: Size) -> np.ndarray:
        """Boxes that are in the network's input already."""
        if found.size is None:
            return found.boxes * np.array([size[1], size[0], size[1], size[0]], np.float64)
        if found.size not in ((0, 0), size):
            raise DataError(
                f"the labels of sample {name!r} are for an image of {found.size[0]}x{found.size[1]} (height x width), "
                f"the network's input is {size[0]}x{size[1]}, and how it was made of the image is not known",
                where=self.where,
                fix="give the images themselves with preprocessing flags, or labels in pixels of the network's input",
            )
        return found.boxes

    def _in_original(self, found: Boxes, name: str, original: Size) -> np.ndarray:
        """Boxes in pixels of the image as it was read."""
        if found.size is None:
            return found.boxes * np.array([original[1], original[0], original[1], original[0]], np.float64)
        if found.size in ((0, 0), original):
            return found.boxes
        down, across = original[0] / found.size[0], original[1] / found.size[1]
        if abs(down / across - 1) > _SAME:
            raise DataError(
                f"the labels of sample {name!r} are for an image of {found.size[0]}x{found.size[1]} (height x width), "
                f"and it is {original[0]}x{original[1]}",
                where=self.where,
                fix="give the images that were labelled",
            )
        return found.boxes * np.array([across, down, across, down], np.float64)


def read_truth(path: str | Path) -> Truth:
    """Reads the boxes of a detection data set.

    Args:
        path: COCO's annotations, or a folder of YOLO's text files.

    Raises:
        DataError: they cannot be read, or are in neither form.
    """
    path = Path(path)
    if path.is_dir():
        return _read_yolo(path)
    if path.suffix == ".json":
        return _read_coco(path)
    raise DataError("the file does not hold boxes", where=str(path), fix=FORMS)


def _read_coco(path: Path) -> Truth:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        names = {image["id"]: str(image["file_name"]) for image in content["images"]}
        sizes = {
            image["id"]: (int(image.get("height") or 0), int(image.get("width") or 0))
            for image in content["images"]
        }
        shown: dict[Any, list[Mapping[str, Any]]] = {number: [] for number in names}
        for box in content["annotations"]:
            if box["image_id"] in shown:
                shown[box["image_id"]].append(box)
        images = {names[number]: _coco_boxes(boxes, sizes[number]) for number, boxes in shown.items()}
        categories = {int(box["category_id"]): "" for box in content["annotations"]}
        categories |= {int(each["id"]): str(each.get("name", "")) for each in content.get("categories") or []}
    except (OSError, ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"the file does not hold COCO annotations: {type(error).__name__}: {error}",
            where=str(path),
            fix=FORMS,
        ) from error
    if not categories:
        raise DataError("the annotations hold no box", where=str(path), fix=FORMS)
    keys = Labels(str(path), {name: name for name in images}, {})
    return Truth(str(path), images, keys, tuple(Category(*each) for each in sorted(categories.items())))


def _coco_boxes(annotations: Sequence[Mapping[str, Any]], size: Size) -> Boxes:
    boxes = np.array([box["bbox"] for box in annotations], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    classes = np.array([box["category_id"] for box in annotations], np.int64)
    crowd = np.array([bool(box.get("iscrowd", 0)) for box in annotations], bool)
    return Boxes(boxes, classes, crowd, size)


def _read_yolo(root: Path) -> Truth:
    files = [
        file
        for file in sorted(root.rglob("*.txt"))
        if file.is_file() and file.name.lower() not in _NOT_LABELS
    ]
    if not files:
        raise DataError("the folder holds no text files", where=str(root), fix=FORMS)
    images = {file.relative_to(root).with_suffix("").as_posix(): _yolo_boxes(file) for file in files}
    keys = Labels(str(root), {name: name for name in images}, {})
    return Truth(str(root), images, keys, all_listed=False)


def _yolo_boxes(file: Path) -> Boxes:
    with reading(str(file), "the boxes cannot be read", FORMS):
        return _boxes_in(file)


def _boxes_in(file: Path) -> Boxes:
    """Lines of a class and a box by its centre, or of a class and the corners of a polygon; in shares of the image."""
    boxes, classes = [], []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        try:
            label, values = int(fields[0]), np.array(fields[1:], np.float64)
        except ValueError:
            label, values = -1, np.zeros(0)
        polygon = len(values) >= 6 and len(values) % 2 == 0
        if label < 0 or not (polygon or len(values) in (4, 5)) or not np.isfinite(values).all():
            raise DataError(
                "a line does not read `class x y width height`", where=f"{file}, line {number}", fix=FORMS
            )
        classes.append(label)
        if polygon:
            points = values.reshape(-1, 2)
            boxes.append(np.concatenate([points.min(axis=0), points.max(axis=0)]))
        else:
            center, size = values[:2], values[2:4]
            boxes.append(np.concatenate([center - size / 2, center + size / 2]))
    stacked = np.array(boxes, np.float64).reshape(-1, 4)
    if stacked.size and np.abs(stacked).max() > 2:
        raise DataError(
            f"coordinates reach {np.abs(stacked).max():g}, and are to be shares of the image's sides",
            where=str(file),
            fix="divide x and width by the image's width, y and height by its height",
        )
    return Boxes(stacked, np.array(classes, np.int64), np.zeros(len(classes), bool))


def by_position(truth: Truth) -> Truth:
    """The same labels, the first image's for the first sample and so on, for samples without an image's name."""
    keys = Labels(truth.where, {}, dict(enumerate(truth.images)))
    return replace(truth, keys=keys)
