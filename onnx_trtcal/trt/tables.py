"""The file formats that scales are written in.

To add a format, write its function in `table_writers`, add its name to TableFormat and its line to TABLES.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from onnx_trtcal.errors import OptionError, did_you_mean
from onnx_trtcal.trt.cache import Cache, dumps
from onnx_trtcal.trt.table_writers import ort_flatbuffers, ort_json, ranges_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["TABLES", "Table", "TableFormat", "names_with_colon", "render", "table_paths"]

TableFormat = Literal["trt", "ort-flatbuffers", "ort-json", "ranges-json"]


@dataclass(frozen=True)
class Table:
    """A file format for scales.

    Attributes:
        suffix: the usual end of its file's name.
        write: the file's bytes, from tensor name to scale in the order to write; None for TensorRT's own cache,
            which has a header as well.
    """

    suffix: str
    write: Callable[[Mapping[str, float]], bytes] | None


TABLES: Mapping[TableFormat, Table] = {
    "trt": Table(".calibration.cache", None),
    "ort-flatbuffers": Table(".flatbuffers", ort_flatbuffers),
    "ort-json": Table(".ort.json", ort_json),
    "ranges-json": Table(".ranges.json", ranges_json),
}


def render(form: TableFormat, scales: Mapping[str, float], header: str) -> bytes:
    """The bytes of a file in one of the formats.

    Args:
        form: the format's name.
        scales: tensor name to scale, in the order to write (the flatbuffers table sorts them itself).
        header: the first line of a TensorRT cache; the other formats have no place for it.

    Raises:
        OptionError: when there is no such format.
        CacheError: when a name or a scale has no place in it.
    """
    _check_format(form)
    write = TABLES[form].write
    return write(scales) if write else dumps(Cache(header, scales))


def table_paths(output: str | Path, forms: Sequence[TableFormat]) -> dict[TableFormat, Path]:
    """Which file each format goes to.

    A single format goes to `output` itself. Of several, TensorRT's cache does, and the others go beside it,
    with the end of `output` that is the cache's usual one, or else its last suffix, replaced by their own.

    Raises:
        OptionError: when there is no such format, or two of them would be one file.
    """
    target = Path(output)
    forms = list(dict.fromkeys(forms))
    for form in forms:
        _check_format(form)
    if len(forms) == 1:
        return {forms[0]: target}
    usual = TABLES["trt"].suffix
    stem = target.name.removesuffix(usual) if target.name.endswith(usual) else target.stem
    paths = {
        form: target if form == "trt" else target.with_name(stem + TABLES[form].suffix) for form in forms
    }
    if len(set(paths.values())) < len(paths):
        raise OptionError(
            f"two of the formats {', '.join(forms)} would be written to the same file, {target}",
            fix=f"end --output in {usual}",
        )
    return paths


def names_with_colon(names: Mapping[str, float]) -> tuple[str, ...]:
    """The names that ONNX Runtime cannot find in TensorRT's own cache: it splits a line at its first colon.

    (TensorrtExecutionProvider with trt_int8_use_native_calibration_table; TensorRT itself reads them well.)
    """
    return tuple(name for name in names if ":" in name)


def _check_format(form: str) -> None:
    if form not in TABLES:
        raise OptionError(
            f"{form!r} is not a table format",
            fix=did_you_mean(form, TABLES) or f"take one of {', '.join(TABLES)}",
        )
