"""Reading a map from old tensor names to new ones: a JSON object, or two columns of CSV or TSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.errors import DataError
from onnx_trtcal.support.parsed_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["parse_names", "read_names"]

_FORMS = 'write {"old": "new"}, or one line per name: old,new (comma or tab)'


def read_names(path: str | Path) -> dict[str, str]:
    """Reads a map file: JSON when its name ends in .json, else CSV or TSV; see `parse_names`."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the map of names: {error}", where=str(path), fix=_FORMS) from error
    return parse_names(text, is_json=Path(path).suffix.lower() == ".json", name=str(path))


def parse_names(text: str, *, is_json: bool, name: str = "") -> dict[str, str]:
    """Old name to new name, in the order of the text.

    Columns are separated by tabs when the first line has one, else by commas, and quoted as CSV quotes; a first
    line `old,new` is a header.

    Args:
        text: what to read.
        is_json: one JSON object of strings, else columns.
        name: the file's name, for the messages.

    Raises:
        DataError: naming the place, when the text is not such a map, or an old name is given twice.
    """
    rows = _json_pairs(text, name) if is_json else _column_pairs(text, name)
    names: dict[str, str] = {}
    for where, old, new in rows:
        if not old or not new:
            raise DataError("a name in the map is empty", where=where, fix=_FORMS)
        if old in names:
            raise DataError(f"the map has two new names for {old!r}", where=where, fix="keep one of them")
        names[old] = new
    if not names:
        raise DataError("the map of names is empty", where=name, fix=_FORMS)
    return names


def _json_pairs(text: str, name: str) -> Iterable[tuple[str, str, str]]:
    try:
        # As a list of pairs, for a plain dict would hide a key given twice.
        pairs = parse_json(text, list)
    except ValueError as error:
        raise DataError(f"the map of names is not JSON: {error}", where=name, fix=_FORMS) from error
    is_object = isinstance(pairs, list) and all(isinstance(pair, tuple) for pair in pairs)
    if not is_object or not all(isinstance(new, str) for _, new in pairs):
        raise DataError("the map of names is not a JSON object of strings", where=name, fix=_FORMS)
    return [(name, old, new) for old, new in pairs]


def _column_pairs(text: str, name: str) -> Iterable[tuple[str, str, str]]:
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[str, str, str]] = []
    try:
        for row in reader:
            where = f"{name}, line {reader.line_num}"
            if not row or (reader.line_num == 1 and [cell.lower() for cell in row] == ["old", "new"]):
                continue
            if len(row) != 2:
                raise DataError(
                    f"{len(row)} columns, wanted two: old name and new name", where=where, fix=_FORMS
                )
            rows.append((where, row[0], row[1]))
    except csv.Error as error:
        raise DataError(f"bad CSV: {error}", where=f"{name}, line {reader.line_num}", fix=_FORMS) from error
    return rows
