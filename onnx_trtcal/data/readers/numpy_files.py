"""NumPy's files: one array (.npy), or a zip archive of arrays by name (.npz).

An array is read with plain sequential reads, one row at a time: mapping a big stack into memory would let the
pages that were touched count as this process's memory.
"""

from __future__ import annotations

import io
import math
import os
import re
import zipfile
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from onnx_trtcal.data.readers.lazy_array import LoadedArray, reading
from onnx_trtcal.data.remote import file_size
from onnx_trtcal.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from onnx_trtcal.data.remote import DataPath

__all__ = ["StoredArray", "read_npy", "read_npz"]

Header = tuple[tuple[int, ...], bool, np.dtype]
_PREFIX = 10  # bytes before the header: magic, version and the header's length
_ENCRYPTED = 1  # bit of a zip entry's flags

_PLAIN_HEADER = re.compile(
    rb"\{'descr': '(?P<dtype>[<>|=][a-zA-Z]\d*)', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>(?:\d+, ?)*\d*)\), \}\s*"
)


@dataclass(frozen=True)
class StoredArray:
    """An array in NumPy's file format, alone in a file or inside a zip archive.

    Attributes:
        where: the file, and the key inside it, for messages.
        shape, dtype: as the header says.
        fortran: whether the values lie in column-major order.
        open: opens the byte stream at the start of the header.
        path: the file when the array is alone in it, so that it can be mapped.
    """

    where: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    open: Callable[[], AbstractContextManager[IO[bytes]]]
    path: Path | None

    def read(self) -> np.ndarray:
        """The whole array.

        Raises:
            DataError: when the file is damaged or gone.
        """
        with _reading(self.where), self.open() as file:
            _header(file, self.where)
            array = self._read_values(file, self.shape[::-1] if self.fortran else self.shape)
        return array.T if self.fortran else array

    def rows(self, axes: int, picks: Sequence[int] | None = None) -> Generator[np.ndarray, None, None]:
        """Reads the array along its first `axes` axes, one row at a time; rows that are not picked are skipped.

        Raises:
            DataError: when the file is damaged or gone.
        """
        if self.fortran:
            # Rows of a column-major array lie scattered over all of it: map it where that is possible.
            with _reading(self.where):
                array = np.load(self.path, mmap_mode="r", allow_pickle=False) if self.path else self.read()
            yield from LoadedArray(array).rows(axes, picks)
            return
        with _reading(self.where), self.open() as file:
            _header(file, self.where)
            shape = self.shape[axes:]
            row, following = math.prod(shape) * self.dtype.itemsize, 0
            for position in range(math.prod(self.shape[:axes])) if picks is None else picks:
                if position > following:
                    file.seek((position - following) * row, os.SEEK_CUR)
                following = position + 1
                yield self._read_values(file, shape)

    def cut_short(self) -> DataError:
        """The error of a file that holds fewer values than its header says."""
        return DataError(
            f"the file ends inside the array, of shape {self.shape} and type {self.dtype}",
            where=self.where,
            fix="the file was cut off: make or copy it again",
        )

    def _read_values(self, file: IO[bytes], shape: tuple[int, ...]) -> np.ndarray:
        wanted = math.prod(shape) * self.dtype.itemsize
        data = bytearray(wanted)
        view, done = memoryview(data), 0
        while done < wanted and (got := file.readinto(view[done:])):  # type: ignore[attr-defined]
            done += got
        if done < wanted:
            raise self.cut_short()
        return np.frombuffer(data, self.dtype).reshape(shape)


def read_npy(path: DataPath, where: str) -> dict[str, StoredArray]:
    """The array of a `.npy` file, which has no name; its header is read.

    Raises:
        DataError: when it is not such a file, or holds Python objects or records.
    """

    def open_file() -> AbstractContextManager[IO[bytes]]:
        return _open(path)

    with _reading(where):
        size = file_size(path)
        if isinstance(path, Path):
            return {"": _stored(where, open_file, path, size)}
        head = path.read_head()
    # A header is not worth the whole file, which may be another shard's.
    fits = len(head) >= min(size, _PREFIX + int.from_bytes(head[_PREFIX - 2 : _PREFIX], "little"))
    return {"": _stored(where, open_file, None, size, partial(io.BytesIO, head) if fits else None)}


def read_npz(path: DataPath, where: str) -> dict[str, StoredArray]:
    """The arrays of a `.npz` archive by key; their headers are read.

    Raises:
        DataError: when it is not such an archive, or one of the arrays holds Python objects or records.
    """
    with _reading(where):
        # Of a small remote file, one read serves all of its arrays.
        whole = None if isinstance(path, Path) or not path.is_small() else path.read_bytes()
        open_whole = partial(_open, path) if whole is None else partial(io.BytesIO, whole)
        with open_whole() as file, zipfile.ZipFile(file) as archive:
            members = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
    found = {}
    for entry in members:
        key = entry.filename.removesuffix(".npy")
        inside = f"{where}, key {key!r}"
        if entry.flag_bits & _ENCRYPTED:
            raise DataError("the array is encrypted", where=inside, fix="save it without a password")
        found[key] = _stored(inside, _member(open_whole, entry.filename), None, entry.file_size)
    return found


def _open(path: DataPath) -> IO[bytes]:
    return path.open("rb") if isinstance(path, Path) else path.open()


def _stored(
    where: str,
    opener: Callable[[], AbstractContextManager[IO[bytes]]],
    path: Path | None,
    size: int,
    head: Callable[[], AbstractContextManager[IO[bytes]]] | None = None,
) -> StoredArray:
    """The array behind a header that is read.

    Args:
        where: what messages call it.
        opener: opens it.
        path: its file, where it is alone in a local one.
        size: how many bytes header and values take together.
        head: opens its header alone, where that takes less.
    """
    with _reading(where), (head or opener)() as file:
        shape, fortran, dtype = _header(file, where)
        begin = file.tell()
    stored = StoredArray(where, shape, dtype, fortran, opener, path)
    # Before anything of the shape is believed: a header is quickly damaged, and memory quickly asked for.
    if begin + math.prod(shape) * dtype.itemsize > size:
        raise stored.cut_short()
    return stored


def _member(
    open_whole: Callable[[], IO[bytes]], name: str
) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    @contextmanager
    def open_member() -> Iterator[IO[bytes]]:
        with open_whole() as whole, zipfile.ZipFile(whole) as archive, closing(archive.open(name)) as file:
            yield file

    return open_member


def _header(file: IO[bytes], where: str) -> Header:
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(
        version
    )
    shape, fortran, dtype = _parse(file, read) if read else ((), False, np.dtype(object))
    # Version 3.0 is written for records with non-ASCII field names only.
    if dtype.hasobject or dtype.names is not None or not dtype.itemsize:
        kind = "records" if not dtype.hasobject or not read else "Python objects, which are never unpickled"
        raise DataError(
            f"the array holds {kind}",
            where=where,
            fix="save a plain numeric array for each of the model's inputs",
        )
    return shape, fortran and len(shape) > 1, dtype


def _parse(file: IO[bytes], read: Callable[[IO[bytes]], Header]) -> Header:
    """Shape, order and type from a header, by NumPy's own reader only where the header is an unusual one.

    NumPy's reader parses Python source. CPython 3.11 counts the depth of syntax trees once for all threads, so that
    either this call or numba, which may compile in another thread meanwhile, could fail with a SystemError.
    """
    length = file.read(2 if read is np.lib.format.read_array_header_1_0 else 4)
    text = file.read(int.from_bytes(length, "little"))
    match = _PLAIN_HEADER.fullmatch(text)
    if match is None:
        return read(io.BytesIO(length + text))
    shape = tuple(int(size) for size in match["shape"].split(b",") if size.strip())
    return shape, match["fortran"] == b"True", np.dtype(match["dtype"].decode())


def _reading(where: str) -> AbstractContextManager[None]:
    return reading(where, "the array cannot be read", "make or copy the file again")
