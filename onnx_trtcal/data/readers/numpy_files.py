"""NumPy's files: one array (.npy), or a zip archive of arrays by name (.npz).

An array is read with plain sequential reads, one row at a time: mapping a big stack into memory would let the
pages that were touched count as this process's memory.
"""

from __future__ import annotations

import io
import math
import os
import re
import sys
import zipfile
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from onnx_trtcal.data.readers.lazy_array import LoadedArray, reading
from onnx_trtcal.data.remote import file_size
from onnx_trtcal.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from onnx_trtcal.data.remote import DataPath

__all__ = ["Header", "StoredArray", "read_npy", "read_npz"]

_MAGIC = b"\x93NUMPY"
_PREFIX = 12  # bytes that tell how long the header is: magic, version, and a length of 2 or 4 bytes
_FIRST = 512  # bytes to read of a file for its header; most take 128
_KNOWN = 1024  # headers that are remembered; the files of a data set share one or a few
_ENCRYPTED = 1  # bit of a zip entry's flags

_PLAIN_HEADER = re.compile(
    rb"\{'descr': '(?P<dtype>[<>|=][a-zA-Z]\d*)', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>(?:\d+, ?)*\d*)\), \}\s*"
)


class _Source(Protocol):
    """What an array is read from, other than a local file."""

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """The bytes from the start of the header on."""
        ...


class Header(NamedTuple):
    """What comes before an array's values. Files with the same bytes there share one object.

    Attributes:
        head: those bytes.
        shape, dtype: as they say.
        fortran: whether the values lie in column-major order.
        nbytes: how many bytes the values take.
        fault: what the array holds where that is nothing to be fed; empty for numbers and texts.
    """

    head: bytes
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    nbytes: int
    fault: str


@dataclass(frozen=True, slots=True)
class StoredArray:
    """An array in NumPy's file format, alone in a file or inside a zip archive; its values are read when asked for.

    Attributes:
        where: the file, and the key inside it, for messages.
        header: what the file said when it was first opened. That it still says so is checked with every reading.
        source: the path of a local file, or what else opens it.
    """

    where: str
    header: Header
    source: str | _Source

    @property
    def shape(self) -> tuple[int, ...]:
        """Its length along each axis."""
        return self.header.shape

    @property
    def dtype(self) -> np.dtype:
        """The type of its values."""
        return self.header.dtype

    def read(self) -> np.ndarray:
        """The whole array, by one opening and one reading of its file.

        Raises:
            DataError: when the file is damaged, gone, or another one by now.
        """
        head, shape, dtype, fortran, nbytes, _ = self.header
        with _reading(self.where):
            data = np.empty(len(head) + nbytes, np.uint8)
            with _open(self.source) as file:
                done = _fill(file, data)
            if done < len(head) or data[: len(head)].tobytes() != head:
                raise self._changed()
            if done < data.size:
                raise self.cut_short()
            values = data[len(head) :]
            if len(head) % dtype.alignment:
                values = values.copy()
        values = values.view(dtype)
        return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)

    def rows(self, axes: int, picks: Sequence[int] | None = None) -> Generator[np.ndarray, None, None]:
        """Reads the array along its first `axes` axes, one row at a time; rows that are not picked are skipped.

        Raises:
            DataError: when the file is damaged, gone, or another one by now.
        """
        if self.header.fortran:
            yield from LoadedArray(self._scattered()).rows(axes, picks)
            return
        with _reading(self.where), _open(self.source, buffering=-1) as file:
            head = self.header.head
            if file.read(len(head)) != head:
                raise self._changed()
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

    def _scattered(self) -> np.ndarray:
        """A column-major array, whose rows lie scattered over all of it: mapped where that is possible."""
        if not isinstance(self.source, str):
            return self.read()
        with _reading(self.where):
            array: np.ndarray = np.load(self.source, mmap_mode="r", allow_pickle=False)
        if (array.shape, array.dtype) != (self.shape, self.dtype):
            raise self._changed()
        return array

    def _read_values(self, file: IO[bytes], shape: tuple[int, ...]) -> np.ndarray:
        data = np.empty(math.prod(shape) * self.dtype.itemsize, np.uint8)
        if _fill(file, data) < data.size:
            raise self.cut_short()
        return data.view(self.dtype).reshape(shape)

    def _changed(self) -> DataError:
        return DataError(
            f"the file has changed since the run looked at it, when it held an array of shape {self.shape} and type "
            f"{self.dtype}",
            where=self.where,
            fix="keep the data in place during the run",
        )


def read_npy(path: DataPath, where: str) -> dict[str, StoredArray]:
    """The array of a `.npy` file, which has no name; its header is read.

    Raises:
        DataError: when it is not such a file, or holds Python objects or records.
    """
    with _reading(where):
        if isinstance(path, Path):
            local = os.fspath(path)
            if local == where:
                local = where  # one object: there may be millions of files
            with _open(local) as file:
                size = os.fstat(file.fileno()).st_size
                return {"": _stored(where, local, size, file.read(_FIRST), file)}
        size, start = file_size(path), path.read_head()
        # A header is not worth the whole file, which may be another shard's.
        if len(start) >= min(size, _begin(start)):
            return {"": _stored(where, path, size, start)}
        with path.open() as file:
            return {"": _stored(where, path, size, b"", file)}


def read_npz(path: DataPath, where: str) -> dict[str, StoredArray]:
    """The arrays of a `.npz` archive by key; their headers are read.

    Raises:
        DataError: when it is not such an archive, or one of the arrays holds Python objects or records.
    """
    with _reading(where):
        # Of a small remote file, one read serves all of its arrays.
        whole = None if isinstance(path, Path) or not path.is_small() else path.read_bytes()
        open_whole = partial(_open_archive, path) if whole is None else partial(io.BytesIO, whole)
        with open_whole() as file, zipfile.ZipFile(file) as archive:
            members = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
    found = {}
    for entry in members:
        key = entry.filename.removesuffix(".npy")
        inside = f"{where}, key {key!r}"
        if entry.flag_bits & _ENCRYPTED:
            raise DataError("the array is encrypted", where=inside, fix="save it without a password")
        member = _Member(open_whole, entry.filename)
        with _reading(inside), member.open() as file:
            found[key] = _stored(inside, member, entry.file_size, b"", file)
    return found


@dataclass(frozen=True, slots=True)
class _Member:
    """An array inside a zip archive.

    Attributes:
        archive: opens the archive.
        name: the array's name in it.
    """

    archive: Callable[[], IO[bytes]]
    name: str

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The bytes from the start of the header on."""
        with (
            self.archive() as whole,
            zipfile.ZipFile(whole) as archive,
            closing(archive.open(self.name)) as file,
        ):
            yield file


def _open(source: str | _Source, buffering: int = 0) -> AbstractContextManager[IO[bytes]]:
    return open(source, "rb", buffering) if isinstance(source, str) else source.open()


def _open_archive(path: DataPath) -> IO[bytes]:
    return path.open("rb") if isinstance(path, Path) else path.open()


def _fill(file: IO[bytes], data: np.ndarray) -> int:
    """Reads bytes until `data` is full or the file ends; how many."""
    view, done = data.data, 0
    while done < data.size and (got := file.readinto(view[done:] if done else view)):  # type: ignore[attr-defined]
        done += got
    return done


def _stored(
    where: str, source: str | _Source, size: int, start: bytes, file: IO[bytes] | None = None
) -> StoredArray:
    """The array behind a header that is read.

    Args:
        where: what messages call it.
        source: what it is read from.
        size: how many bytes header and values take together.
        start: its first bytes, as far as they are read.
        file: gives the bytes that follow those.
    """
    if file is not None and len(start) < _PREFIX:
        start += file.read(_PREFIX - len(start))
    begin = min(_begin(start), size)
    if file is not None and len(start) < begin:
        start += file.read(begin - len(start))
    header = _parsed(start[:begin])
    if header.fault:
        raise DataError(
            f"the array holds {header.fault}",
            where=where,
            fix="save a plain numeric array for each of the model's inputs",
        )
    stored = StoredArray(where, header, source)
    # Before anything of the shape is believed: a header is quickly damaged, and memory quickly asked for.
    if len(header.head) + header.nbytes > size:
        raise stored.cut_short()
    return stored


def _begin(start: bytes) -> int:
    """Where a file's values begin, as its first bytes say; where these make no header, what there is of it."""
    if len(start) < _PREFIX or not start.startswith(_MAGIC):
        return len(start)
    narrow = start[len(_MAGIC)] == 1
    return _PREFIX - 2 * narrow + int.from_bytes(start[8 : 10 if narrow else _PREFIX], "little")


@lru_cache(_KNOWN)
def _parsed(head: bytes) -> Header:
    file = io.BytesIO(head)
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(
        version
    )
    shape, fortran, dtype = _parse(file, read) if read else ((), False, np.dtype(object))
    if dtype.subdtype or not all(type(size) is int and 0 <= size <= sys.maxsize for size in shape):
        raise ValueError(f"its header says shape {shape} and type {dtype}, which no array has")
    fault = ""
    # Version 3.0 is written for records with non-ASCII field names only.
    if dtype.hasobject or dtype.names is not None or not dtype.itemsize:
        fault = "records" if not dtype.hasobject or not read else "Python objects, which are never unpickled"
    return Header(head, shape, dtype, fortran and len(shape) > 1, math.prod(shape) * dtype.itemsize, fault)


def _parse(
    file: IO[bytes], read: Callable[[IO[bytes]], tuple[tuple[int, ...], bool, np.dtype]]
) -> tuple[tuple[int, ...], bool, np.dtype]:
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
