"""Measurements in processes of their own, so that time and memory are one contender's and nobody else's."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Report", "Spec", "Timer", "measure", "peak_memory"]

ENTRY = Path(__file__).resolve().parents[1] / "bench.py"
TIMEOUT = 1800  # seconds after which a contender is given up


@dataclass(frozen=True)
class Spec:
    """What one process does.

    Attributes:
        who: name of the contender.
        model, data: paths.
        name: the model's input.
        samples, batch, threads: how many.
        scratch: folder to write to.
        test: path of data to measure on, for what needs it.
        born: when the process was started, by `time.monotonic`, which all processes share.
    """

    who: str
    model: str
    data: str = ""
    name: str = ""
    samples: int = 0
    batch: int = 8
    threads: int = 1
    scratch: str = ""
    test: str = ""
    born: float = 0.0


@dataclass(frozen=True)
class Report:
    """What a process did.

    Attributes:
        wall: seconds from starting the process to its end.
        seconds: per phase.
        steady: seconds that one more sample takes, from the first batch of a run to its last.
        cpu: seconds of processor time of all threads, spinning included.
        peak: most bytes of memory resident at a time.
        activations: most bytes of observed activations held at a time, where the contender tells.
    """

    wall: float
    seconds: dict[str, float]
    steady: float
    cpu: float
    peak: int
    activations: int


class Timer:
    """Adds up seconds by phase, and notes when batches are done and how large their activations are."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.activations = 0
        self._ticks: list[tuple[float, int]] = []

    @contextlib.contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.add(phase, time.perf_counter() - start)

    def add(self, phase: str, seconds: float) -> None:
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    def tick(self, count: int) -> None:
        """A batch of so many samples is done."""
        self._ticks.append((time.perf_counter(), count))

    def steady(self, samples: int) -> float:
        """Seconds per sample after the first batch, which warms up; of the whole run where no batch was noted."""
        if len(self._ticks) > 1:
            (first, _), (last, _) = self._ticks[0], self._ticks[-1]
            return (last - first) / sum(count for _, count in self._ticks[1:])
        return (self.seconds.get("run", 0.0) + self.seconds.get("histogram", 0.0)) / max(samples, 1)


def measure(
    spec: Spec, python: str = sys.executable, environment: Mapping[str, str] = MappingProxyType({})
) -> Report:
    """Runs a contender, with more environment variables if given, and returns its report.

    Raises:
        SystemExit: when it fails, with the end of what it wrote to stderr.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        born = time.monotonic()
        text = json.dumps(asdict(replace(spec, scratch=scratch, born=born)))
        done = subprocess.run(
            [python, str(ENTRY), "--child", text],
            capture_output=True,
            text=True,
            cwd=scratch,
            env={**os.environ, **environment},
            timeout=TIMEOUT,
            check=False,
        )
        wall = time.monotonic() - born
        if done.returncode:
            raise SystemExit(f"{spec.who} failed on {spec.model}:\n{done.stderr[-3000:]}")
        report = json.loads(Path(scratch, "report.json").read_text())
    return Report(wall=wall, **report)


def peak_memory() -> int:
    """Most bytes this process has had resident.

    Linux keeps `ru_maxrss` across exec, so that it can be the parent's: /proc tells this process's own.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
