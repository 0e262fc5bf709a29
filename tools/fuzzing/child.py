"""The process in which inputs are read: one after the other, each from its own seed, until the count is reached.

It says in a file which input it is at, so that the parent knows what killed it, and writes a line for every finding.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import resource
import shutil
import signal
import sys
import traceback
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn

from fuzzing.mutations import OUTSIDE
from fuzzing.targets import TARGETS, RawOutputError, UnforeseenError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CPU_SECONDS", "input_of", "run"]

CPU_SECONDS = 10  # of this process on one input: more is a hang
_WALL_SECONDS = 60  # a reader that waits, as for the other end of a pipe, uses no CPU
_MEMORY = 3 << 30  # bytes of address space beyond what the imports take


class _HangError(BaseException):
    """Raised by a timer; not an Exception, so that no reader takes it for its own."""


class _Watch:
    """What one input does that no exception tells of."""

    def __init__(self, folder: Path) -> None:
        self.hung = False
        self.escaped = ""
        self._forbidden = {"/etc/passwd", "/dev/zero", os.path.realpath(folder / OUTSIDE)}

    def timer(self, _number: int, _frame: object) -> NoReturn:
        self.hung = True
        raise _HangError

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.fsdecode(arguments[0])
            if "\0" not in path and os.path.realpath(path) in self._forbidden:
                self.escaped = path


def input_of(target: str, good: Path, seed: int, index: int) -> tuple[bytes, str]:
    """The input with this number, and how its name ends: the same whenever and wherever it is asked for."""
    what = TARGETS[target]
    random = Random(f"{target}:{seed}:{index}")
    seeds = [good / name for name in what.seeds if (good / name).exists()]
    one, other = random.choice(seeds), random.choice(seeds)
    return what.mutate(one.read_bytes(), other.read_bytes(), random), what.suffix or one.suffix


def run(target: str, work: Path, seed: int, first: int, count: int) -> None:
    """Reads the inputs `first` to `first + count - 1` in `work/inputs`; see the module."""
    folder, good = work / "inputs", work / "good"
    watch = _Watch(folder)
    signal.signal(signal.SIGPROF, watch.timer)
    signal.signal(signal.SIGALRM, watch.timer)
    sys.addaudithook(watch.audit)
    with contextlib.suppress(Exception):
        # A first, good input imports whatever is needed.
        path = folder / f"warm{TARGETS[target].suffix or Path(TARGETS[target].seeds[0]).suffix}"
        shutil.copy(good / TARGETS[target].seeds[0], path)
        TARGETS[target].use(path, good)
    _limit_memory()
    # What is imported by now need not be looked at again and again, and no file be on the disk when power fails.
    gc.collect()
    gc.freeze()
    os.fsync = _kept_in_memory
    faulthandler.enable()
    accepted = 0
    with open(work / "at", "w") as at, open(work / "findings", "a") as findings:
        for index in range(first, first + count):
            data, suffix = input_of(target, good, seed, index)
            at.seek(0)
            at.write(f"{index} {accepted}\n")
            at.flush()
            path = folder / f"input{suffix}"
            path.write_bytes(data)
            kind, told = _outcome(target, path, good, watch)
            accepted += kind == "accepted"
            if kind not in ("accepted", "refused"):
                findings.write(json.dumps({"kind": kind, "index": index, "told": told}) + "\n")
                findings.flush()
        at.seek(0)
        at.write(f"{first + count} {accepted}\n")


def _kept_in_memory(_descriptor: int) -> None:
    """Stands in for os.fsync."""


def _outcome(target: str, path: Path, good: Path, watch: _Watch) -> tuple[str, str]:
    from onnx_trtcal.errors import CalibrationError

    watch.hung, watch.escaped = False, ""
    kind, told = "refused", ""
    try:
        with _timed():
            kind = "accepted" if TARGETS[target].use(path, good) else "refused"
    except CalibrationError as error:
        _ = str(error)
    except _HangError:
        told = traceback.format_exc(limit=-6)
    except RawOutputError as error:
        kind, told = "raw output", str(error)
    except UnforeseenError as error:
        kind, told = "traceback", _with_report(str(error))
    except BaseException:  # noqa: BLE001 (each is a finding)
        kind, told = "traceback", traceback.format_exc(limit=-6)
    if watch.hung:
        return "hang", told
    return ("escape", watch.escaped) if watch.escaped else (kind, told)


@contextlib.contextmanager
def _timed() -> Iterator[None]:
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, _WALL_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _with_report(said: str) -> str:
    """What the command line said, and the end of the report that it names."""
    name = said.rpartition("report is in ")[2].strip()
    with contextlib.suppress(OSError):
        said += "\n".join(Path(name).read_text(encoding="utf-8").splitlines()[-14:])
        Path(name).unlink()
    return said


def _limit_memory() -> None:
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + _MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
