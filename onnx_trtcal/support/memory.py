"""How much memory this process can still have, and how much it has had."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

__all__ = ["available_memory", "free_swap", "peak_memory", "resident_memory", "return_free_memory"]

_MEMINFO = Path("/proc/meminfo")
_NO_LIMIT = 1 << 60  # what cgroups of version 1 say where there is none


def available_memory() -> int | None:
    """Bytes that can be had without swapping; None where the system does not say.

    What is free on the machine, or what the process's control group (a container's, such as Docker's) or its limit on
    address space (`ulimit -v`) leaves of that.
    """
    known = [
        each for each in (_of_the_machine(), _of_the_group(Path("/")), _of_the_process()) if each is not None
    ]
    return min(known, default=None)


def free_swap() -> int:
    """Bytes of swap space that are free; 0 where the system does not say."""
    return _field(_MEMINFO, "SwapFree") or 0


def peak_memory() -> int | None:
    """The most bytes of memory that this process has had so far; None where the system does not say."""
    # What getrusage says of a process counts in the one that started it.
    if (known := _field(Path("/proc/self/status"), "VmHWM")) is not None:
        return known
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_memory() -> int | None:
    """Bytes of memory that this process has now; None where the system does not say."""
    return _field(Path("/proc/self/status"), "VmRSS")


def return_free_memory() -> None:
    """Gives what is freed in the middle of the heap back to the system, where the C library can: glibc's."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):  # musl has no such function
            ctypes.CDLL(None).malloc_trim(0)


def _of_the_machine() -> int | None:
    if (free := _field(_MEMINFO, "MemAvailable")) is not None:
        # Some sandboxes always say 0.
        return free or None
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") or None
    except (OSError, ValueError, AttributeError):
        return None


def _field(file: Path, name: str) -> int | None:
    """Bytes, from a line "NAME: 123 kB"."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in file.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None


def _of_the_group(root: Path) -> int | None:
    """What the control groups that the process is in, each in the one above it, still allow.

    Args:
        root: of the file system.
    """
    with contextlib.suppress(OSError, ValueError):
        found = []
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                mount, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
            elif "memory" in controllers.split(","):
                mount = root / "sys/fs/cgroup/memory"
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            else:
                continue
            group = mount / path.lstrip("/")
            groups = [group, *(above for above in group.parents if above.is_relative_to(mount))]
            found += [left for each in groups if (left := _left(each, *names)) is not None]
        return min(found, default=None)
    return None


def _left(group: Path, limit: str, usage: str, cached: str) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        most = int((group / limit).read_text())  # "max" where there is no limit
        if most < _NO_LIMIT:
            used = int((group / usage).read_text())
            fields = dict(line.split(" ", 1) for line in (group / "memory.stat").read_text().splitlines())
            # Files that were read count as used until their memory is wanted for something else.
            return max(most - used + int(fields.get(cached, 0)), 0)
    return None


def _of_the_process() -> int | None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            return max(most - pages * resource.getpagesize(), 0)
    return None
