"""Kills runs at every write point and at random times, and looks at what they leave.

    python tools/crash.py                  every write point of every verb, three signals, and 100 kills at random
    python tools/crash.py --points 6 --kills 10 --seed 7

Each run is a process of its own, forked from one that has everything imported. At a write point (a file in the run's
folder is about to be opened for writing, locked, renamed or removed, or has just been written through to the disk) it
gets SIGKILL, SIGINT or SIGTERM; or else after a random time, up to three times in a row. Then

- every output must be whole: the file that was there before, or that of an uninterrupted run, byte for byte;
- an interrupt or a SIGTERM must leave no temporary file and no lock, and exit with 130 or 143, without a traceback;
- the same command once more must succeed, with the bytes of an uninterrupted run, and leave nothing else.

The exit status is 0 when all of that holds. POSIX only.
"""

from __future__ import annotations

import argparse
import atexit
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np

from onnx_trtcal import Options, calibrate, quantize, save_statistics
from onnx_trtcal.cli import VERBS, main, parser_for

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "models" / "digits_mlp.onnx"
SAMPLES = ROOT / "models" / "digits_calib.npy"
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
HUNG = 60.0  # seconds
FAULTS = ("torn", "leftovers", "tracebacks", "wrong exit", "hung", "rerun fails", "rerun differs")


@dataclass
class Job:
    """One command, and what it may find in its folder and leave there."""

    name: str
    arguments: list[str]
    before: dict[str, bytes] = field(default_factory=dict)
    after: dict[str, bytes] = field(default_factory=dict)
    points: int = 0
    seconds: float = 0.0

    def begin(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, data in self.before.items():
            (folder / name).write_bytes(data)


class Points:
    """Counts the write points of this process, and sends it a signal at one of them."""

    def __init__(self, at: int, number: int) -> None:
        self.count, self.at, self.number = 0, at, number
        self.folder = os.getcwd() + os.sep
        self.here = os.getpid()
        sys.addaudithook(self.audit)
        self.fsync, os.fsync = os.fsync, self.after_fsync

    def audit(self, event: str, args: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in {"os.rename", "os.remove", "os.truncate"}:
            if isinstance(args[0], str | os.PathLike) and os.path.abspath(args[0]).startswith(self.folder):
                self.pass_one()
        elif event == "fcntl.flock":
            self.pass_one()

    def after_fsync(self, descriptor: int) -> None:
        self.fsync(descriptor)
        self.pass_one()

    def pass_one(self) -> None:
        self.count += 1
        if self.count == self.at and os.getpid() == self.here:
            signal.raise_signal(self.number)


def start(job: Job, folder: Path, at: int = 0, number: int = signal.SIGKILL) -> tuple[int, Path]:
    """Forks a run; returns when it is about to begin.

    Returns:
        Its process, and the file that has what it printed; its last line says how many write points there were.
    """
    said = folder.with_suffix(".said")
    ready, begins = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(ready)
        run_and_leave(job, folder, said, begins, (at, number))
    os.close(begins)
    os.read(ready, 1)
    os.close(ready)
    return process, said


def run_and_leave(job: Job, folder: Path, said: Path, begins: int, at: tuple[int, int]) -> NoReturn:
    status: object = 99
    try:
        os.chdir(folder)
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        points = Points(*at)
        os.write(begins, b"x")
        try:
            status = main(job.arguments)
        except SystemExit as left:
            status = left.code
        # The run is over: what an interrupt of Python's own end prints is not the package's.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.stdout.flush()
        sys.stderr.flush()
        # os._exit leaves out what the end of a process does.
        atexit._run_exitfuncs()
        os.write(1, f"\n{points.count}".encode())
    except BaseException:  # noqa: BLE001 (a fork must not run on into its parent's code)
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status if isinstance(status, int) else 1)


def wait(process: int) -> int | None:
    """How a run ended, as subprocess has it; None when it hung and was killed."""
    deadline = time.monotonic() + HUNG
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return None
        time.sleep(0.002)


class Campaign:
    """Runs the jobs and counts what goes wrong."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.where = ""
        self.table: dict[tuple[str, str], Counter[str]] = {}

    def learn(self, job: Job) -> None:
        """Has the job done without a signal: how long it takes, what it writes, and its write points."""
        job.begin(self.folder)
        process, said = start(job, self.folder)
        begun = time.monotonic()
        status = wait(process)
        job.seconds = time.monotonic() - begun
        if status != 0:
            raise SystemExit(f"{job.name} fails by itself: {said.read_text()}")
        job.points = int(said.read_text().rsplit("\n", 1)[1])
        job.after = {path.name: path.read_bytes() for path in self.folder.iterdir()}

    def at_points(self, job: Job, most: int | None) -> None:
        for number in SIGNALS:
            chosen = list(range(1, job.points + 1))
            if most is not None and most < len(chosen):
                chosen = sorted(self.random.sample(chosen, most))
            for at in chosen:
                job.begin(self.folder)
                self.where = f"at write point {at}"
                process, said = start(job, self.folder, at, number)
                self.judge(job, number, wait(process), said)
                self.once_more(job, number)

    def at_random(self, job: Job) -> int:
        """Kills one job up to three times in a row; returns how often."""
        job.begin(self.folder)
        number, times = self.random.choice(SIGNALS), self.random.randint(1, 3)
        for _ in range(times):
            process, said = start(job, self.folder)
            pause = self.random.uniform(0, job.seconds)
            self.where = f"after {pause:.4f} s"
            time.sleep(pause)
            os.kill(process, number)
            self.judge(job, number, wait(process), said)
        self.once_more(job, number)
        return times

    def judge(self, job: Job, number: int, status: int | None, said: Path) -> None:
        counts = self.counts(job, number)
        counts["kills"] += 1
        counts["hung"] += status is None
        counts["too late"] += status == 0
        # Before a run handles SIGTERM, and after that, it dies of it; a shell says 143 of both.
        died = {signal.SIGKILL: (-number,), signal.SIGINT: (128 + number,)}.get(
            number, (-number, 128 + number)
        )
        if status not in (None, 0, *died):
            self.note(job, number, f"exits with {status}")
            counts["wrong exit"] += 1
        if "Traceback" in (text := said.read_text(errors="replace")):
            self.note(job, number, f"prints {text[text.index('Traceback') :]}")
            counts["tracebacks"] += 1
        for path in self.folder.iterdir():
            if path.name in job.after:
                whole = (job.after[path.name], job.before.get(path.name))
                counts["torn"] += path.read_bytes() not in whole
            elif number != signal.SIGKILL and (path.name[0] == "." or ".checkpoint" not in path.name):
                self.note(job, number, f"leaves {path.name}")
                counts["leftovers"] += 1

    def once_more(self, job: Job, number: int) -> None:
        counts = self.counts(job, number)
        process, _ = start(job, self.folder)
        counts["rerun fails"] += wait(process) != 0
        left = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        for name in left.keys() - job.after.keys():
            self.note(job, number, f"{name} is left after the rerun")
            counts["leftovers"] += 1
        differ = [name for name, data in job.after.items() if left.get(name) != data]
        if differ:
            self.note(job, number, f"after the rerun {', '.join(differ)} differ")
            counts["rerun differs"] += 1

    def note(self, job: Job, number: int, what: str) -> None:
        sys.stderr.write(f"{job.name}, {signal.Signals(number).name} {self.where}: {what}\n")

    def counts(self, job: Job, number: int) -> Counter[str]:
        return self.table.setdefault((job.name, signal.Signals(number).name), Counter())

    def print(self) -> int:
        columns = ("kills", "too late", *FAULTS)
        width = max(len(name) for name, _ in self.table)
        print(f"{'job':{width}}  signal   {'  '.join(columns)}")
        total: Counter[str] = Counter()
        for (name, number), counts in sorted(self.table.items()):
            total.update(counts)
            cells = "  ".join(f"{counts[each]:{len(each)}}" for each in columns)
            print(f"{name:{width}}  {number:7}  {cells}")
        cells = "  ".join(f"{total[each]:{len(each)}}" for each in columns)
        print(f"{'all':{width}}  {'':7}  {cells}")
        return sum(total[each] for each in FAULTS)


def jobs(inputs: Path) -> list[Job]:
    """One command of each verb that writes, over files made here."""
    samples = np.load(SAMPLES)[:40]
    np.save(inputs / "data.npy", samples)
    options = Options(provider="cpu", threads=1, check_samples=0)
    parts = {
        name: calibrate(MODEL, part, options) for name, part in zip("ab", np.split(samples, 2), strict=True)
    }
    for name, part in parts.items():
        part.write_cache(inputs / f"{name}.cache")
        save_statistics(inputs / f"{name}.stats", part.collection)
    quantize(MODEL, inputs / "a.stats").save(inputs / "qdq.onnx")
    cache = {name: (inputs / name).read_bytes() for name in ("a.cache", "a.cache.json")}
    (inputs / "names.json").write_text('{"input": "renamed"}')
    model, data = str(MODEL), str(inputs / "data.npy")
    stats = [str(inputs / "a.stats"), str(inputs / "b.stats")]
    caches = [str(inputs / "a.cache"), str(inputs / "b.cache")]
    common = ["--provider", "cpu", "--threads", "1", "--batch-size", "2", "-q", "--checkpoint-every", "8"]
    run = [model, data, "-o", "c.cache", *common, "--check-samples", "0"]
    more = ["--save-stats", "c.stats", "--save-folded", "c.onnx", "--format", "trt", "--format", "qdq"]
    old = {"c.cache": cache["a.cache"], "c.cache.json": cache["a.cache.json"]}
    return [
        Job("calibrate", [*run, *more]),
        Job("calibrate, old files there", run, old),
        Job("calibrate, in passes", [*run, "--memory-limit", "400", "--max-samples", "16"]),
        Job("quantize", ["quantize", model, stats[0], "-o", "q.onnx", "-q"]),
        Job("solve", ["solve", stats[0], model, "-o", "c.cache", "-q"], old),
        Job("collect", ["collect", model, data, "-o", "c.stats", *common, "--shard", "2/3"]),
        Job("report", ["report", *stats, model, "-o", "r.html", "-q"]),
        Job("merge", ["merge", *stats, "-o", "all.stats", "-q"]),
        Job(
            "dequantize", ["dequantize", str(inputs / "qdq.onnx"), "-o", "f.onnx", "--cache", "f.cache", "-q"]
        ),
        Job("cache merge", ["cache", "merge", *caches, "-o", "c.cache"], old),
        Job("cache rename", ["cache", "rename", "a.cache", "--map", str(inputs / "names.json"), "-i"], cache),
        Job("cache set-version", ["cache", "set-version", "a.cache", "--trt-version", "8.6", "-i"], cache),
    ]


def campaign(points: int | None, kills: int, seed: int, only: str) -> int:
    """Runs all of it and prints the table; returns how much went wrong."""
    for verb in VERBS:  # imported before the forks, not after each
        parser_for(verb)
    # A TemporaryDirectory would be removed at the end of the first fork.
    folder = Path(tempfile.mkdtemp(prefix="onnx_trtcal-crash-"))
    try:
        (folder / "inputs").mkdir()
        chosen = [job for job in jobs(folder / "inputs") if job.name.startswith(only)]
        runs = Campaign(folder / "run", seed)
        for job in chosen:
            runs.learn(job)
        for job in chosen:
            runs.at_points(job, points)
        done = 0
        while done < kills:
            done += runs.at_random(runs.random.choice(chosen))
        print(f"seed {seed}; write points: {', '.join(f'{job.name} {job.points}' for job in chosen)}")
        return runs.print()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Kills runs and looks at what they leave.")
    parser.add_argument(
        "--points", type=int, metavar="N", help="write points a job and signal (default: all)"
    )
    parser.add_argument(
        "--kills", type=int, default=100, metavar="N", help="kills at random times (default 100)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is chosen at random (default 0)")
    parser.add_argument("--only", default="", metavar="JOB", help="jobs whose names begin so")
    args = parser.parse_args()
    sys.exit(1 if campaign(args.points, args.kills, args.seed, args.only) else 0)
