"""Labels in text files: tables with a sample and its label on each line, or the labels alone."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

from onnx_trtcal.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["FORMS", "Label", "read_table"]

Label = int | str

FORMS = (
    "labels are lines with file,label or index,label (.csv; with blanks or tabs in .txt), one label a line in the "
    "order of the data, one number per sample in .npy, a folder per class, or YOLO or COCO "
    "annotations with one class per image"
)
_FILES = ("file", "filename", "file_name", "path", "filepath", "file_path", "image", "image_path", "img")
_LABELS = ("label", "class", "target", "class_id", "class_index")


def read_table(path: Path, where: str) -> tuple[dict[str, Label], dict[int, Label]]:
    """The labels of a text file, by file name or by position in the data; one of the two is empty.

    Columns are separated by commas, tabs or semicolons, else by the last blank of a line. A line of names may stand
    first, with a column `label` beside a column `file` or `index`; without, the first of two columns is the file, or
    the index where all of its fields are whole numbers. A single column holds the labels in the order of the data.

    Raises:
        DataError: the file cannot be read, or is in none of these forms.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the labels: {error}", where=where, fix=FORMS) from error
    try:
        rows = _rows(text)
    except csv.Error as error:
        raise DataError(f"the labels are not a table: {error}", where=where, fix=FORMS) from error
    if not rows:
        raise DataError("the file has no labels", where=where, fix=FORMS)
    if all(len(row) == 1 for row in rows):
        return {}, {index: _label(row[0]) for index, row in enumerate(rows)}
    key, value, by_index, rows = _columns(rows, where)
    found: dict[str, Label] = {}
    for number, row in enumerate(rows, 1):
        if len(row) <= max(key, value):
            raise DataError(
                f"row {number} has {len(row)} columns: {','.join(row)!r}",
                where=where,
                fix="give each sample and its label: file,label",
            )
        name = row[key].strip()
        if name in found:
            raise DataError(f"{name!r} has two labels", where=where, fix="remove one of the lines")
        found[name] = _label(row[value])
    if not by_index:
        return found, {}
    try:
        return {}, {int(name): label for name, label in found.items()}
    except ValueError as error:
        raise DataError(
            f"an index is not a whole number: {error}", where=where, fix="name the column file, not index"
        ) from error


def _rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    mark = next((mark for mark in (",", "\t", ";") if lines and mark in lines[0]), None)
    if mark is None:
        return [line.strip().rsplit(None, 1) for line in lines]
    return [row for row in csv.reader(lines, delimiter=mark) if any(field.strip() for field in row)]


def _columns(rows: list[list[str]], where: str) -> tuple[int, int, bool, list[list[str]]]:
    """Column of the sample, column of the label, whether samples go by index, and the rows without header."""
    header = [field.strip().lower() for field in rows[0]]
    label = next((name for name in _LABELS if name in header), None)
    if label is not None:
        named = next((name for name in (*_FILES, "index") if name in header), None)
        if named is None:
            raise DataError(
                f"the header is {','.join(rows[0])!r}",
                where=where,
                fix="name the columns file,label or index,label",
            )
        return header.index(named), header.index(label), named == "index", rows[1:]
    wide = next((row for row in rows if len(row) > 2), None)
    if wide is not None:
        raise DataError(
            f"a row has {len(wide)} columns, and no header says which is the label: {','.join(wide)!r}",
            where=where,
            fix=_fix_of_wide(wide),
        )
    return 0, 1, all(row[0].strip().isdecimal() for row in rows), rows


def _fix_of_wide(row: Sequence[str]) -> str:
    boxes = all(re.fullmatch(r"\s*-?[\d.]+\s*", field) for field in row[-4:])
    if len(row) > 4 and boxes:
        return f"boxes are not labels of a classifier: {FORMS}"
    return "put a line that names the columns first, as in file,label or index,label"


def _label(text: str) -> Label:
    try:
        return int(text)
    except ValueError:
        return text.strip()
