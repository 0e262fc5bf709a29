"""Temporary files beside the files that they become: whose they are, and what becomes of them when that one dies."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import secrets
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from onnx_trtcal.support.cleanup import cleaned_up
from onnx_trtcal.support.file_lock import try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "hidden_name",
    "host",
    "is_of_the_dead",
    "is_there",
    "remove_if_abandoned",
    "remove_leftovers",
    "temporary_file",
]

_LONGEST_NAME = 60  # of which a hidden file shows all
_OPEN = os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_SWEPT: set[Path] = set()  # whose leftovers this process has looked for


@contextlib.contextmanager
def temporary_file(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file in the folder of `target`, locked while it is open; it is gone at the end unless it was renamed.

    Its name, `.NAME.HOST.PROCESS.RANDOM.tmp`, says whose it is. It has the permissions that a plain `open` would give
    it. What a killed process left of the same target is removed, once a process.

    Raises:
        OSError: when it cannot be made.
    """
    if target not in _SWEPT:
        _SWEPT.add(target)
        remove_leftovers(target)
    while True:
        name = f"{hidden_name(target)}.{host()}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
        path = target.parent / name
        with cleaned_up(partial(_discard, path)), open(os.open(path, _NEW, 0o666), "wb") as file:
            # Another run may have taken it for abandoned before it was locked.
            if try_lock(file.fileno()) is not False and is_there(path, file.fileno()):
                yield path, file
                return


def remove_leftovers(path: str | Path) -> None:
    """Removes the temporary files for this path whose process has died; those of a live one stay."""
    with contextlib.suppress(OSError):
        target = Path(os.path.realpath(path))
        ours = re.compile(rf"{re.escape(hidden_name(target))}\.[\w-]+\.\d+\.[0-9a-f]+\.tmp")
        with os.scandir(target.parent) as entries:
            found = [entry.path for entry in entries if ours.fullmatch(entry.name)]
        for each in found:
            remove_if_abandoned(Path(each))


def remove_if_abandoned(path: Path) -> None:
    """Removes a file that its process keeps locked, or whose name says the process, unless that is alive."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, _OPEN)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                free = try_lock(descriptor)
                if free or (free is None and is_of_the_dead(path.name)):
                    path.unlink()
        finally:
            os.close(descriptor)


def hidden_name(target: Path) -> str:
    """What the name of a hidden file beside `target` begins with, short enough for any file system."""
    name = target.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME // 4]}~{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"
    return f".{name}"


def host() -> str:
    """This machine's name, as far as it may stand in a file's name."""
    return re.sub(r"[^A-Za-z0-9-]", "-", platform.node())[:20] or "-"


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def is_there(path: Path, descriptor: int) -> bool:
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def is_of_the_dead(name: str) -> bool:
    """Without locks: whether a process of this machine that is not there any more has made what has this name."""
    _, where, process, *_ = name.removesuffix(".tmp").rsplit(".", 3)
    if where != host() or os.name == "nt":  # where signal 0 is not a question
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False
