"""Temporary folders: whose they are, and what becomes of them when that one dies."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
import tempfile
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.support.cleanup import Cleanup
from onnx_trtcal.support.file_lock import try_lock
from onnx_trtcal.support.temporary import host, is_of_the_dead, is_there

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["TemporaryFolder", "remove_abandoned_folders"]

_NAME = re.compile(r"onnx_trtcal\.[\w-]+\.\d+\.[0-9a-f]{8}")
_OWNER = "owner"
_OPEN = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_SWEPT: set[str] = set()  # where this process has looked for leftovers


class TemporaryFolder:
    """A new folder among the system's temporary files (`TMPDIR`), for its owner's eyes only.

    It is gone when the block ends of which it is the context, or nobody refers to it any more, or with the process.
    What killed processes have left is removed, once a process: `onnx_trtcal.HOST.PROCESS.RANDOM` says whose it is, and
    holds the folder itself beside a file that its process keeps locked.

    Attributes:
        path: the folder, empty at first.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self) -> None:
        remove_abandoned_folders()
        while True:
            name = f"onnx_trtcal.{host()}.{os.getpid()}.{secrets.token_hex(4)}"
            root = Path(tempfile.gettempdir(), name)
            descriptors: list[int] = []
            cleanup = Cleanup(partial(_remove, root, descriptors, os.getpid()))
            try:
                root.mkdir(mode=0o700)
                self.path = root / "files"
                self.path.mkdir()
                descriptors.append(os.open(root / _OWNER, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
                # Another run may have taken it for abandoned before it was locked.
                kept = try_lock(descriptors[0]) is not False and is_there(root / _OWNER, descriptors[0])
            except BaseException:
                cleanup.run()
                raise
            if kept:
                break
            cleanup.run()
        self._finalizer = weakref.finalize(self, cleanup.run)
        self._finalizer.atexit = False  # `Cleanup` sees to that

    def remove(self) -> None:
        """Removes it with all that is in it."""
        self._finalizer()

    def __enter__(self) -> Path:
        """The folder."""
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Removes it."""
        self.remove()


def remove_abandoned_folders() -> None:
    """Removes what processes that have died have left of such folders; those of live ones stay. Once a process."""
    with contextlib.suppress(OSError):
        base = tempfile.gettempdir()
        if base in _SWEPT:
            return
        _SWEPT.add(base)
        with os.scandir(base) as entries:
            found = [Path(each.path) for each in entries if _NAME.fullmatch(each.name) and _is_ours(each)]
        for path in found:
            _remove_if_abandoned(path)


def _is_ours(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):
        if entry.is_dir(follow_symlinks=False):
            return os.name == "nt" or entry.stat(follow_symlinks=False).st_uid == os.getuid()
    return False


def _remove_if_abandoned(root: Path) -> None:
    try:
        descriptor = os.open(root / _OWNER, _OPEN)
    except FileNotFoundError:
        # It has just been made, or its process died in that moment.
        if is_of_the_dead(root.name):
            shutil.rmtree(root, ignore_errors=True)
        return
    except OSError:
        return
    with contextlib.suppress(OSError):
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            free = try_lock(descriptor)
            if free or (free is None and is_of_the_dead(root.name)):
                _remove(root, [descriptor], os.getpid())
                return
    os.close(descriptor)


def _remove(root: Path, descriptors: list[int], process: int) -> None:
    """Removes a folder and gives its lock back; in a fork of the process that has it, nothing is done."""
    if os.getpid() != process:
        return
    if os.name == "nt":
        _close(descriptors)  # there, an open file cannot be removed
    shutil.rmtree(root, ignore_errors=True)
    _close(descriptors)


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())
