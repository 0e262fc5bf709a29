"""Rows of Parquet files, one column for each input, read with pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.data.readers.lazy_array import reading
from onnx_trtcal.data.readers.packages import needed_package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_trtcal.data.remote import DataPath

__all__ = ["read_parquet"]

_ROWS_AT_ONCE = 16


def read_parquet(path: DataPath, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows as {column: value}; lists become arrays.

    Raises:
        DataError: when pyarrow is not installed, or the file is damaged.
    """
    parquet = needed_package("pyarrow.parquet", where, "save the rows as .jsonl or .npz")
    # pyarrow's errors derive from ValueError, OSError and others.
    with (
        reading(where, "the file is not Parquet", "write the file again"),
        parquet.ParquetFile(path if isinstance(path, Path) else path.open()) as file,
    ):
        number = 0
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            for index in range(batch.num_rows):
                yield f"row {number}", {name: _value(column[index]) for name, column in columns.items()}
                number += 1


def _value(scalar: Any) -> Any:
    values = getattr(scalar, "values", None)
    if values is not None and hasattr(values, "to_numpy") and _is_number(values.type):
        return values.to_numpy(zero_copy_only=False)
    return scalar.as_py()


def _is_number(kind: Any) -> bool:
    return str(kind).startswith(("int", "uint", "float", "double", "half", "bool"))
