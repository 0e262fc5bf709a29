"""Whether this machine has an NVIDIA driver; finding out loads nothing else of CUDA."""

from __future__ import annotations

import ctypes
import functools
import sys

__all__ = ["driver_loads"]


@functools.cache
def driver_loads() -> bool:
    """Whether the driver's library is there and finds a GPU."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        return bool(ctypes.CDLL(library).cuInit(0) == 0)
    except (OSError, AttributeError):
        return False
