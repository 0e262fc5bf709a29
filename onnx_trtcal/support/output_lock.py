"""Files beside the outputs of a run that keep other runs from writing the same ones."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.errors import CalibrationError
from onnx_trtcal.support.cleanup import cleaned_up
from onnx_trtcal.support.file_lock import try_lock
from onnx_trtcal.support.temporary import hidden_name, host, is_there, remove_if_abandoned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["locked", "owner_text"]

_OWNER = re.compile(r"process (\d+) on ([\w-]+) since (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4})\n")
_MOST_TRIES = 50
_SECONDS_BETWEEN_TRIES = 0.01


@contextlib.contextmanager
def locked(paths: Iterable[str | Path]) -> Iterator[None]:
    """Keeps other runs from writing these files until the block ends.

    Beside each lies `.NAME.lock` meanwhile, which says whose it is. What a killed run left of that does no harm. Where
    no file can be made or locked there, runs are not kept apart.

    Raises:
        CalibrationError: when another run has one of them; it is named.
    """
    targets: dict[Path, str | Path] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            targets.setdefault(Path(os.path.realpath(path)), path)
    with contextlib.ExitStack() as stack:
        for target, path in sorted(targets.items()):
            lock = _Lock(target, str(path))
            stack.enter_context(cleaned_up(lock.release))
            lock.take()
        yield


class _Lock:
    """The lock of one output.

    Args:
        target: the file that it protects.
        shown: what the user calls that.
    """

    def __init__(self, target: Path, shown: str) -> None:
        self._path = target.with_name(f"{hidden_name(target)}.lock")
        self._shown = shown
        self._descriptor: int | None = None
        self._taken = False

    def take(self) -> None:
        """Takes it, or does nothing where there are no locks.

        Raises:
            CalibrationError: when another run has it.
        """
        for last in reversed(range(_MOST_TRIES)):
            try:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError:
                return  # the run's own write will say what is wrong, if anything is
            free = try_lock(self._descriptor)
            if free is None:
                with contextlib.suppress(OSError):
                    os.unlink(self._path)
            if free is False:
                owner = owner_text(_read(self._descriptor))
                self._close()
                if owner or not last:
                    raise CalibrationError(
                        f"{self._shown} is being written by another run{owner}: wait for it, or give another output"
                    )
                # It has only just been taken, or is being looked at by a run that cleans up.
                time.sleep(_SECONDS_BETWEEN_TRIES)
                continue
            # The run that had it may have removed it in between.
            if free and is_there(self._path, self._descriptor):
                self._taken = True
                since = time.strftime("%Y-%m-%d %H:%M:%S %z")
                # A full disk takes the file, not what is in it.
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, 0)
                    os.write(self._descriptor, f"process {os.getpid()} on {host()} since {since}\n".encode())
                return
            self._close()
            if free is None:
                return

    def release(self) -> None:
        """Gives it back and removes its file; does nothing when that is done."""
        if not self._taken:
            self._close()
            remove_if_abandoned(self._path)
            return
        with contextlib.suppress(OSError):
            if self._descriptor is not None and is_there(self._path, self._descriptor):
                if os.name == "nt":
                    self._close()  # there, an open file cannot be removed
                self._path.unlink()
        self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def owner_text(said: bytes) -> str:
    """Whose a lock is, from its file, to be put behind the name of the file; empty where it does not tell."""
    found = _OWNER.fullmatch(said.decode("ascii", "replace"))
    return f" (process {found[1]} on {found[2]}, since {found[3]})" if found else ""


def _read(descriptor: int) -> bytes:
    with contextlib.suppress(OSError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        return os.read(descriptor, 200)
    return b""
