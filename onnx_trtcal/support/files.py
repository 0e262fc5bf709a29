"""Files at the edges: written whole or not at all, hashed, and sorted as a person would."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from onnx_trtcal.errors import CalibrationError
from onnx_trtcal.support.temporary import temporary_file

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["atomic_file", "atomic_write", "natural_key", "sha256_file", "writing"]

_NUMBERS = re.compile(r"(\d+)")


def atomic_write(path: str | Path, data: bytes) -> None:
    """Writes `data` to `path`, whole or not at all; see `atomic_file`."""
    with atomic_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """A temporary file in the folder of `path`, which replaces it when the block ends without an error.

    The new file gets the permissions that a plain `open` would give it. Where `path` is a link, the file that
    it leads to is written and the link stays. Neither an error nor an interrupt leaves the temporary file.

    Raises:
        CalibrationError: when the folder is missing or not writable, the disk is full, the name is too long, or the
            path is that of something other than a regular file.
    """
    with writing(path):
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            # A rename would replace a device or a pipe by a file.
            raise CalibrationError(
                "cannot write the file: what is there is not a regular file",
                where=str(path),
                fix="give another path",
            )
        with temporary_file(target) as (temporary, file):
            yield file
            file.flush()
            os.fsync(file.fileno())
            if os.name == "nt":
                file.close()  # elsewhere it stays locked until it has its name
            os.replace(temporary, target)


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """The boundary of whatever writes a file: what the system refuses becomes an error that names it.

    Raises:
        CalibrationError: when the folder is missing or not writable, the disk is full, or the name is too long.
    """
    try:
        yield
    except OSError as error:
        raise CalibrationError(
            f"cannot write the file: {error.strerror or error}",
            where=str(path),
            fix="check that the folder exists, is writable, and has room",
        ) from error


def sha256_file(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def natural_key(text: str) -> tuple[tuple[int, int | str], ...]:
    """A sort key under which `img2` comes before `img10`."""
    parts = _NUMBERS.split(text)
    return (*((0, int(part)) if part.isdecimal() else (1, part) for part in parts if part), (1, text))
