"""Files at the edges: written whole or not at all, hashed, and sorted as a person would."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from onnx_trtcal.errors import CalibrationError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["atomic_file", "atomic_write", "natural_key", "remove_leftovers", "sha256_file"]

_LONGEST_NAME = 60  # of which a temporary file shows all


def atomic_write(path: str | Path, data: bytes) -> None:
    """Writes `data` to `path`, whole or not at all; see `atomic_file`."""
    with atomic_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """A temporary file in the folder of `path`, which replaces it when the block ends without an error.

    The new file gets the permissions that a plain `open` would give it. Where `path` is a link, the file that
    it leads to is written and the link stays.

    Raises:
        CalibrationError: when the folder is missing or not writable, the disk is full, or the path is that of
            something other than a regular file.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        # A rename would replace a device or a pipe by a file.
        raise CalibrationError(
            "cannot write the file: what is there is not a regular file",
            where=str(path),
            fix="give another path",
        )
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name[:_LONGEST_NAME]}.", dir=target.parent)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            if temporary:
                os.unlink(temporary)
        raise CalibrationError(
            f"cannot write the file: {error.strerror or error}",
            where=str(target),
            fix="check that the folder exists, is writable, and has room",
        ) from error


def remove_leftovers(path: str | Path) -> None:
    """Removes the temporary files of `atomic_write` calls for this path that were killed half-way."""
    target = Path(os.path.realpath(path))
    if len(target.name) > _LONGEST_NAME:
        return  # they might belong to a neighbour whose name begins alike
    for file in target.parent.glob(f".{glob.escape(target.name)}.????????"):
        file.unlink(missing_ok=True)


def sha256_file(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def natural_key(text: str) -> tuple[tuple[int, int | str], ...]:
    """A sort key under which `img2` comes before `img10`."""
    parts = re.split(r"(\d+)", text)
    return (*((0, int(part)) if part.isdecimal() else (1, part) for part in parts if part), (1, text))
