"""One input's array of one file or item, whose shape is known before its values are read.

A stored array is read with plain sequential reads, one row at a time: mapping a big stack into memory would
let the pages that were touched count as this process's memory.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Protocol

import numpy as np

from onnx_trtcal.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

__all__ = ["Column", "Held", "Stored", "npy_column", "npz_columns", "pb_tensor"]

_DAMAGED = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error)


class Column(Protocol):
    """An array of known shape: `whole()` reads it, `rows(n)` iterates over its first n axes in C order."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def whole(self) -> np.ndarray: ...

    def rows(self, axes: int) -> Generator[np.ndarray, None, None]: ...


@dataclass(frozen=True)
class Held:
    """A column that is in memory already."""

    array: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def whole(self) -> np.ndarray:
        return self.array

    def rows(self, axes: int) -> Generator[np.ndarray, None, None]:
        for index in np.ndindex(self.array.shape[:axes]):
            yield self.array[index]


@dataclass(frozen=True)
class Stored:
    """A column in NumPy's file format, alone in a file or inside a zip archive.

    Attributes:
        where: the file, and the key inside it, for messages.
        open: opens the byte stream at the start of the header.
        path: the file when the array is alone in it, so that it can be mapped.
    """

    where: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    open: Callable[[], AbstractContextManager[IO[bytes]]]
    path: Path | None

    def whole(self) -> np.ndarray:
        with _named(self.where), self.open() as file:
            _header(file, self.where)
            array = self._read(file, self.shape[::-1] if self.fortran else self.shape)
        return array.T if self.fortran else array

    def rows(self, axes: int) -> Generator[np.ndarray, None, None]:
        if self.fortran:
            # Rows of a column-major array lie scattered over all of it: map it where that is possible.
            with _named(self.where):
                array = np.load(self.path, mmap_mode="r", allow_pickle=False) if self.path else self.whole()
            yield from Held(array).rows(axes)
            return
        with _named(self.where), self.open() as file:
            _header(file, self.where)
            for _ in range(math.prod(self.shape[:axes])):
                yield self._read(file, self.shape[axes:])

    def _read(self, file: IO[bytes], shape: tuple[int, ...]) -> np.ndarray:
        wanted = math.prod(shape) * self.dtype.itemsize
        data = bytearray(wanted)
        view, done = memoryview(data), 0
        while done < wanted and (got := file.readinto(view[done:])):  # type: ignore[attr-defined]
            done += got
        if done < wanted:
            raise DataError(
                f"the file ends inside the array, of shape {self.shape} and type {self.dtype}",
                where=self.where,
                fix="the file was cut off: make or copy it again",
            )
        return np.frombuffer(data, self.dtype).reshape(shape)


def npy_column(path: Path, where: str) -> Stored:
    """The array of a `.npy` file, its header read.

    Raises:
        DataError: when it is no such file, or holds Python objects or records.
    """

    def open_file() -> AbstractContextManager[IO[bytes]]:
        return path.open("rb")

    return _stored(where, open_file, path)


def npz_columns(path: Path, where: str) -> dict[str, Stored]:
    """The arrays of a `.npz` archive by key, their headers read.

    Raises:
        DataError: when it is no such archive, or one of them holds Python objects or records.
    """
    with _named(where), zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
    keys = [name.removesuffix(".npy") for name in members]
    return {
        key: _stored(f"{where}, key {key!r}", _member(path, name), None)
        for key, name in zip(keys, members, strict=True)
    }


def pb_tensor(path: Path, where: str) -> tuple[str, Held]:
    """The name (perhaps empty) and the array of a serialized ONNX TensorProto.

    Raises:
        DataError: when the file is none, or holds no plain tensor.
    """
    import onnx
    from onnx import numpy_helper

    try:
        tensor = onnx.TensorProto.FromString(path.read_bytes())
        if tensor.data_type == onnx.TensorProto.UNDEFINED:
            raise ValueError("it has no element type")
        return tensor.name, Held(numpy_helper.to_array(tensor, str(path.parent)))
    except FileNotFoundError as error:
        raise DataError(
            "the file is gone", where=where, fix="keep the data in place during the run"
        ) from error
    except Exception as error:  # protobuf's own error type, and whatever an inconsistent tensor leads to
        raise DataError(
            f"the file is no ONNX TensorProto: {error}",
            where=where,
            fix="give .pb files as in the ONNX model zoo's test_data_set folders, or .npy",
        ) from error


def _stored(where: str, opener: Callable[[], AbstractContextManager[IO[bytes]]], path: Path | None) -> Stored:
    with _named(where), opener() as file:
        shape, fortran, dtype = _header(file, where)
    return Stored(where, shape, dtype, fortran, opener, path)


def _member(path: Path, name: str) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    @contextmanager
    def open_member() -> Iterator[IO[bytes]]:
        with zipfile.ZipFile(path) as archive, closing(archive.open(name)) as file:
            yield file

    return open_member


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(
        version
    )
    shape, fortran, dtype = read(file) if read else ((), False, np.dtype(object))
    # Version 3.0 is written for records with non-ASCII field names only.
    if dtype.hasobject or dtype.names:
        kind = "records" if dtype.names or not read else "Python objects, which are never unpickled"
        raise DataError(
            f"the array holds {kind}",
            where=where,
            fix="save a plain numeric array for each of the model's inputs",
        )
    return shape, fortran and len(shape) > 1, dtype


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Turns what reading a damaged file raises into a DataError that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(
            "the file is gone", where=where, fix="keep the data in place during the run"
        ) from error
    except _DAMAGED as error:
        raise DataError(
            f"the array cannot be read: {error}", where=where, fix="make or copy the file again"
        ) from error
