"""Runs inputs in child processes, starts a new one where one died, and adds up what they found."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fuzzing.child import input_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["KINDS", "Result", "fuzz", "make_work", "table"]

KINDS = ("traceback", "hang", "crash", "escape", "raw output")

_ENTRY = Path(__file__).resolve().parents[1] / "fuzz.py"
_PER_CHILD = 2000
_MOST_IN_A_ROW = 10  # children that die at their first input: it is not the inputs that they die of
_STUCK = 150.0  # seconds at one input after which a child is killed: its own timers did not help


@dataclass
class Result:
    """What one reader did.

    Attributes:
        target: the reader.
        inputs, accepted: how many it was given, and how many of them it took for good ones.
        seconds: how long that took.
        findings: how many of each kind.
        told: what was said of the first finding of each sort.
    """

    target: str
    inputs: int = 0
    accepted: int = 0
    seconds: float = 0.0
    findings: Counter[str] = field(default_factory=Counter)
    told: dict[str, str] = field(default_factory=dict)


def make_work(work: Path, good: Path | None = None) -> None:
    """Makes the folders of a campaign: good files (or a link to those there), inputs, and what lies outside."""
    work.mkdir(parents=True)
    if good is None:
        from fuzzing.good import make_good

        make_good(work / "good")
    else:
        (work / "good").symlink_to(good)
    for name in ("inputs/sub", "outside", "tmp"):
        (work / name).mkdir(parents=True)
    # Opening the other end of nothing blocks: a reader that does it is seen even where Python is not asked.
    os.mkfifo(work / "outside" / "secret")
    os.mkfifo(work / "inputs" / "fifo")
    (work / "inputs" / "link").symlink_to("../outside/secret")


def fuzz(target: str, work: Path, seed: int, inputs: int, seconds: float) -> Result:
    """Gives a reader this many inputs, or as many as it takes in the time; saves those that find something."""
    result = Result(target)
    begun = time.monotonic()
    done = in_a_row = 0
    while done < inputs and time.monotonic() - begun < seconds:
        count = min(_PER_CHILD, inputs - done)
        reached, accepted, died = _child(target, work, seed, done, count, begun + seconds)
        _note(result, work, seed)
        in_a_row = in_a_row + 1 if died and reached == done else 0
        if in_a_row == _MOST_IN_A_ROW:
            raise SystemExit(f"{target} cannot be read at all: {died}")
        if died:
            result.findings[died.split(":")[0]] += 1
            result.told.setdefault(died[:200], died)
            _save(work, target, seed, reached)
            reached += 1
        result.accepted += accepted
        done = reached
    result.inputs, result.seconds = done, time.monotonic() - begun
    return result


def table(results: Sequence[Result]) -> list[str]:
    """The results as a Markdown table."""
    head = (
        "reader",
        "inputs",
        "accepted",
        *(f"{kind}s" if kind != "crash" else "crashes" for kind in KINDS),
        "inputs/s",
    )
    lines = [" | ".join(head), " | ".join(["---", *["--:"] * (len(head) - 1)])]
    for each in results:
        cells = [each.inputs, each.accepted, *(each.findings[kind] for kind in KINDS)]
        rate = each.inputs / max(each.seconds, 1e-9)
        lines.append(" | ".join([each.target, *(f"{cell:,}" for cell in cells), f"{rate:.0f}"]))
    total = [sum(each.inputs for each in results), sum(each.accepted for each in results)]
    total += [sum(each.findings[kind] for each in results) for kind in KINDS]
    lines.append(" | ".join(["**all**", *(f"{cell:,}" for cell in total), ""]))
    return [f"| {line} |" for line in lines]


def _child(target: str, work: Path, seed: int, first: int, count: int, end: float) -> tuple[int, int, str]:
    """Runs one child; returns the input it reached, how many it accepted, and what it died of, if it did."""
    (work / "at").write_text(f"{first} 0\n")
    command = [sys.executable, str(_ENTRY), "--child", target, str(work), str(seed), str(first), str(count)]
    environment = {
        **os.environ,
        "TMPDIR": str(work / "tmp"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),  # the package that this process would import, and no other
    }
    with open(work / "noise", "w+b") as noise:
        child = subprocess.Popen(
            command, stdout=noise, stderr=noise, stdin=subprocess.DEVNULL, env=environment
        )
        stuck, at, since = False, "", time.monotonic()
        while child.poll() is None:
            time.sleep(0.05)
            now = (work / "at").read_text()
            if now != at:
                at, since = now, time.monotonic()
            stuck = time.monotonic() - since > _STUCK
            if stuck or time.monotonic() > end:
                child.kill()
                child.wait()
                break
        size = noise.seek(0, os.SEEK_END)
        noise.seek(max(0, size - 3000))
        tail = noise.read().decode(errors="replace")
    reached, accepted = map(int, (work / "at").read_text().split() or (first, 0))
    if stuck:
        return reached, accepted, f"hang: input {reached} of {target}"
    if child.returncode == 0 or time.monotonic() > end:
        return reached, accepted, ""
    return reached, accepted, f"crash: input {reached} of {target}, status {child.returncode}\n{tail}"


def _note(result: Result, work: Path, seed: int) -> None:
    """Adds up what a child wrote of its findings."""
    with contextlib.suppress(FileNotFoundError):
        for line in (work / "findings").read_text().splitlines():
            found = json.loads(line)
            result.findings[found["kind"]] += 1
            # One of each sort is told: what ends in the same line is of one sort.
            sort = f"{found['kind']} {' '.join(found['told'].splitlines()[-3:])[-160:]}"
            result.told.setdefault(
                sort, f"{found['kind']}: input {found['index']} of {result.target}\n{found['told']}"
            )
            _save(work, result.target, seed, found["index"])
        (work / "findings").unlink()


def _save(work: Path, target: str, seed: int, index: int) -> None:
    folder = work / "found"
    folder.mkdir(exist_ok=True)
    data, suffix = input_of(target, work / "good", seed, index)
    (folder / f"{target.replace(' ', '-')}-{seed}-{index}{suffix}").write_bytes(data)
    shutil.rmtree(work / "tmp", ignore_errors=True)
    (work / "tmp").mkdir()
