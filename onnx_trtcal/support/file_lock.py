"""A lock on an open file that ends with the process that holds it, however that ends."""

from __future__ import annotations

import errno
import os
import sys

__all__ = ["try_lock"]

_HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        # Such a lock keeps others from reading what it covers: it covers a byte that no file has.
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def try_lock(descriptor: int) -> bool | None:
    """Takes the lock of a file that is open for writing, without waiting.

    It belongs to the open file, so that one process can hold it only once, and ends when the descriptor is closed.

    Returns:
        Whether it was taken; None where the file system, such as some network drives, has no locks.
    """
    try:
        _lock(descriptor)
    except OSError as error:
        return False if error.errno in _HELD else None
    return True
