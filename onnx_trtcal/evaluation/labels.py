"""The labels of samples, and how a sample finds its own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.data.readers.lazy_array import reading
from onnx_trtcal.errors import DataError, did_you_mean, listed
from onnx_trtcal.evaluation.label_annotations import read_class_folders, read_coco, read_yolo, yolo_files
from onnx_trtcal.evaluation.label_tables import FORMS, Label, read_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.support.progress import Listener

__all__ = ["Labels", "labels_of", "read_labels"]

_MOST_DIGITS = 20


@dataclass(frozen=True)
class Labels:
    """The label of every sample, by the sample's name or by its position in the data.

    Attributes:
        where: the file, for error messages.
        by_name: file name, or path relative to the data folder -> label; empty when labels go by position.
        by_index: position in the data, from 0 -> label.
        names: of labels that are names, all different ones, in the order of the classes' numbers.
        note: what a user should know of how they were read; empty where it is plain.
    """

    where: str
    by_name: Mapping[str, Label]
    by_index: Mapping[int, Label]
    names: Sequence[str] = field(default=())
    note: str = ""

    def of(self, names: Sequence[str], positions: Sequence[int]) -> list[Label]:
        """The labels of some samples.

        Args:
            names: the samples' names.
            positions: where they are in the data.

        Raises:
            DataError: a sample has no label.
        """
        return [self._of(name, at) for name, at in zip(names, positions, strict=True)]

    def for_model(self, classes: Sequence[str], listener: Listener) -> Labels:
        """The same labels; names are numbered as the model does, where it says which names its classes have.

        Args:
            classes: those names in the order of their numbers; none where the model does not say.
            listener: receives how the labels are read, unless that is plain.
        """
        found = self
        if self.names and set(self.names) <= set(classes):
            note = "labels: names, numbered as in the model's metadata"
            found = replace(self, names=tuple(classes), note=note)
        if found.note:
            listener.say(found.note)
        return found

    def check_count(self, samples: int | None, listener: Listener) -> None:
        """Warns when there are more labels by position than samples: they may be those of other data.

        Args:
            samples: how many there are; None when that is not known, or only some of the data is used.
            listener: receives the warning.
        """
        if samples is not None and len(self.by_index) > samples:
            listener.warn(
                f"{self.where} holds {len(self.by_index)} labels by position for {samples} samples: the first "
                f"{samples} are taken; give file,label if the data is a part of what was labelled"
            )

    def number(self, label: Label, classes: int, sample: str) -> int:
        """The number of a label's class; names are numbered in sorted order where there are as many as classes.

        Args:
            label: of the sample.
            classes: how many the model tells apart.
            sample: its name.

        Raises:
            DataError: the label is not one of the classes.
        """
        if isinstance(label, str) and len(self.names) == classes and label in self.names:
            return self.names.index(label)
        # Python converts no number of thousands of digits, and no model has so many classes.
        if isinstance(label, str) and label.isdecimal() and len(label) < _MOST_DIGITS:
            label = int(label)
        if isinstance(label, str):
            count = f": there are {len(self.names)} different names" if self.names else ""
            raise DataError(
                f"the label of sample {sample!r} is {label!r}, not a class from 0 to {classes - 1}{count}",
                where=self.where,
                fix="give the model's class numbers, or a --metric that knows these labels; names (such as wnids) do "
                f"where all {classes} occur: they are then numbered in sorted order, as torchvision does",
            )
        if not 0 <= label < classes:
            numbers = [each for each in (self.by_name or self.by_index).values() if isinstance(each, int)]
            shifted = min(numbers, default=0) == 1 and max(numbers, default=0) == classes
            raise DataError(
                f"the label of sample {sample!r} is {label!r}, not a class from 0 to {classes - 1}",
                where=self.where,
                fix="the labels run from 1: subtract 1 from each"
                if shifted
                else "give the model's class numbers, or a --metric that knows these labels",
            )
        return label

    def _of(self, name: str, index: int) -> Label:
        if self.by_index:
            if index not in self.by_index:
                raise DataError(
                    f"sample {index} ({name}) has no label; there are {len(self.by_index)}",
                    where=self.where,
                    fix="give one for each sample, or use fewer samples: --max-samples",
                )
            return self.by_index[index]
        if name in self.by_name:
            return self.by_name[name]
        path = PurePosixPath(name)
        for table, last in ((self._by_last, path.name), (self._by_stem, path.stem)):
            fitting = [key for key in table.get(last, ()) if _same_end(PurePosixPath(key), path)]
            labels = {self.by_name[key] for key in fitting}
            if len(labels) > 1:
                raise DataError(
                    f"sample {name!r} has several labels: those of {listed(fitting)}",
                    where=self.where,
                    fix="give the path inside the data folder with each label",
                )
            if labels:
                return labels.pop()
        for folder in reversed(path.parent.parts):
            if folder in self.by_name:
                return self.by_name[folder]
        raise self._missing(name)

    def _missing(self, name: str) -> DataError:
        known = [key for key in self.by_name if re.sub(r"\d", "", key) != re.sub(r"\d", "", name)]
        # The nearest name of a numbered image is that of another image.
        near = did_you_mean(name, known) or did_you_mean(PurePosixPath(name).name, known)
        if not near and self.by_name:
            near = f"add a line `file,label` for it; the labels are of {listed(list(self.by_name))}"
        return DataError(f"sample {name!r} has no label", where=self.where, fix=near or FORMS)

    @cached_property
    def _by_last(self) -> dict[str, list[str]]:
        return self._paths("name")

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return self._paths("stem")

    def _paths(self, part: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for key in self.by_name:
            found.setdefault(getattr(PurePosixPath(key), part), []).append(key)
        return found


def labels_of(given: str | Path | Labels | None) -> Labels | None:
    """Labels as a caller gives them: read already, as the path of their file, or not at all.

    Raises:
        DataError: as `read_labels`.
    """
    return given if given is None or isinstance(given, Labels) else read_labels(given)


def read_labels(path: str | Path) -> Labels:
    """Reads labels; whole numbers become int, all others stay text.

    Args:
        path: a text file (see `label_tables.read_table`), a `.npy` file with one label per sample in the order of the
            data, a folder with a sub-folder per class, a folder of YOLO labels, or a COCO `.json`.

    Raises:
        DataError: they cannot be read, are in none of these forms, or name several classes for one sample.
    """
    path, where = Path(path), str(path)
    if path.is_dir():
        if files := yolo_files(path):
            return Labels(where, read_yolo(path, files), {}, note="labels: the one class in each YOLO file")
        by_folder, names = read_class_folders(path)
        note = f"labels: {len(names)} class folders, numbered in sorted order: {_numbered(names)}"
        return Labels(where, by_folder, {}, names, note)
    if path.suffix == ".npy":
        return _with_names(Labels(where, {}, dict(enumerate(_stored(path, where)))))
    if path.suffix == ".json":
        note = "labels: the one class of each image in COCO's annotations, numbered from 0 in the order of their ids"
        return Labels(where, read_coco(path), {}, note=note)
    by_name, by_index = read_table(path, where)
    return _with_names(Labels(where, by_name, by_index))


def _with_names(labels: Labels) -> Labels:
    values = (labels.by_name or labels.by_index).values()
    names = sorted({label for label in values if isinstance(label, str)})
    if not names or len(names) < len(set(values)):
        return labels
    note = f"labels: {len(names)} names, numbered in sorted order if the model has as many classes: {_numbered(names)}"
    return Labels(labels.where, labels.by_name, labels.by_index, names, note)


def _numbered(names: Sequence[str]) -> str:
    return listed([f"{name} = {number}" for number, name in enumerate(names)])


def _same_end(one: PurePosixPath, other: PurePosixPath) -> bool:
    """Whether one path ends as the other does, as far as both go; the last parts are known to agree."""
    pairs = zip(reversed(one.parent.parts), reversed(other.parent.parts), strict=False)
    return all(left == right for left, right in pairs)


def _stored(path: str | Path, where: str) -> list[Label]:
    with reading(where, "cannot read the labels", FORMS):
        array = np.asarray(np.load(path, allow_pickle=False))
    if array.ndim != 1 or array.dtype.kind not in "iuU":
        raise DataError(
            f"the array is {array.dtype} of shape {array.shape}",
            where=where,
            fix="save one whole number per sample, in the order of the data",
        )
    return list(array.tolist())
