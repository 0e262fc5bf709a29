"""Reads the labels of samples: `file,label` or `index,label` in a CSV file, or one per sample in a .npy file."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Labels", "labels_of", "read_labels"]

Label = int | str


@dataclass(frozen=True)
class Labels:
    """The label of every sample, by the sample's name or by its position in the data.

    Attributes:
        where: the file, for error messages.
        by_name: file name, or path relative to the data folder -> label; empty when labels go by position.
        by_index: position in the data, from 0 -> label.
    """

    where: str
    by_name: Mapping[str, Label]
    by_index: Mapping[int, Label]

    def of(self, names: Sequence[str], first: int) -> list[Label]:
        """The labels of consecutive samples.

        Args:
            names: the samples' names.
            first: position of the first of them.

        Raises:
            DataError: a sample has no label.
        """
        return [self._of(name, first + offset) for offset, name in enumerate(names)]

    def _of(self, name: str, index: int) -> Label:
        if self.by_index:
            if index not in self.by_index:
                raise DataError(
                    f"sample {index} ({name}) has no label; there are {len(self.by_index)}", where=self.where
                )
            return self.by_index[index]
        # A sample is named after its file's path inside the data folder; labels may omit the folders.
        for key in (name, PurePosixPath(name).name):
            if key in self.by_name:
                return self.by_name[key]
        raise DataError(
            f"sample {name!r} has no label",
            where=self.where,
            fix=did_you_mean(name, self.by_name) or "add a line `file,label` for it",
        )


def labels_of(given: str | Path | Labels | None) -> Labels | None:
    """Labels as a caller gives them: read already, as the path of their file, or not at all.

    Raises:
        DataError: as `read_labels`.
    """
    return given if given is None or isinstance(given, Labels) else read_labels(given)


def read_labels(path: str | Path) -> Labels:
    """Reads labels; whole numbers become int, all others stay text.

    A CSV file has a header line with a column `label` beside a column `file` or `index`; without a header, the
    first of its two columns is the file, or the index where all of its fields are whole numbers.

    Raises:
        DataError: the file cannot be read, or is in neither of these forms.
    """
    where = str(path)
    if Path(path).suffix == ".npy":
        return Labels(where, {}, dict(enumerate(_stored(path, where))))
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the labels: {error}", where=where) from error
    rows = [row for row in csv.reader(text.splitlines()) if row]
    if not rows:
        raise DataError("the file has no labels", where=where)
    key, value, by_index, rows = _columns(rows, where)
    found: dict[str, Label] = {}
    for number, row in enumerate(rows, 1):
        if len(row) <= max(key, value):
            raise DataError(f"row {number} has {len(row)} columns: {','.join(row)!r}", where=where)
        name = row[key].strip()
        if name in found:
            raise DataError(f"{name!r} has two labels", where=where, fix="remove one of the lines")
        found[name] = _label(row[value])
    if not by_index:
        return Labels(where, found, {})
    try:
        return Labels(where, {}, {int(name): label for name, label in found.items()})
    except ValueError as error:
        raise DataError(f"an index is not a whole number: {error}", where=where) from error


def _columns(rows: list[list[str]], where: str) -> tuple[int, int, bool, list[list[str]]]:
    """Column of the sample, column of the label, whether samples go by index, and the rows without header."""
    header = [field.strip().lower() for field in rows[0]]
    if "label" in header:
        named = next((name for name in ("file", "index") if name in header), None)
        if named is None:
            raise DataError(
                f"the header is {','.join(rows[0])!r}",
                where=where,
                fix="name the columns file,label or index,label",
            )
        return header.index(named), header.index("label"), named == "index", rows[1:]
    wide = next((row for row in rows if len(row) > 2), None)
    if wide is not None:
        raise DataError(
            f"a row has {len(wide)} columns, and no header says which is the label: {','.join(wide)!r}",
            where=where,
            fix="put a line that names the columns first, as in file,label or index,label",
        )
    return 0, 1, all(row[0].strip().isdecimal() for row in rows), rows


def _stored(path: str | Path, where: str) -> list[Label]:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the labels: {error}", where=where) from error
    if array.ndim != 1 or array.dtype.kind not in "iuU":
        raise DataError(
            f"the array is {array.dtype} of shape {array.shape}",
            where=where,
            fix="save one whole number per sample, in the order of the data",
        )
    return list(array.tolist())


def _label(text: str) -> Label:
    try:
        return int(text)
    except ValueError:
        return text.strip()
