"""What a run over very many images on very many workers comes to, from what is measured on this machine.

    python tools/scaling.py                                        10 million images on 1,000 workers
    python tools/scaling.py --model resnet50.onnx --data imgs/ --preset imagenet
    python tools/scaling.py --images 1000000 --workers 64 --rate 40

Measured here: how many images a second one worker of --threads threads counts (or --rate says); what listing the data
costs a worker; what a statistics file weighs, and what reading, adding and writing one costs, by merging --files real
files of shards that are made from real statistics. Computed from that: the time of the whole run and the bytes that
move. Simulated: workers of unequal speed, of which some are lost, each shard being collected again elsewhere.

The tree of merges is that of a run on a cluster: tasks of up to 16 parts, which fetch them at 100 MB/s. Prints a table
in Markdown, with how each number came about.
"""

from __future__ import annotations

import argparse
import copy
import heapq
import math
import os
import random
import statistics
import tempfile
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnx_trtcal import Options, Preprocess, collect, merge, save_statistics
from onnx_trtcal.cluster.node import this_node
from onnx_trtcal.cluster.tasks import merge_parts
from onnx_trtcal.data.shard import Shard, Sharded, Shards
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.stats.collection import Collection
from onnx_trtcal.support.input_spec import InputSpec

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 16  # parts of a merge
SHARDS_PER_WORKER = 4
SPREAD = 0.15  # standard deviation of the logarithm of workers' speeds
LOSS = 0.05  # workers lost in an hour
RESTART = 20.0  # seconds until a shard of a lost worker is begun again
START = 8.0  # seconds from nothing to the first batch: imports, the model, the session
NETWORK = 100e6  # bytes a second into one worker


@dataclass
class Measured:
    """What this machine says."""

    rate: float  # images a second of a worker
    listing: float  # seconds per file of the data
    file_bytes: float  # of a shard's statistics without its samples
    sample_bytes: float  # of one sample in it
    part: float  # seconds to take one more part into a merge
    sample: float  # seconds per sample in a merge, read and written
    memory: float  # bytes of a merge per sample
    merged: int
    merged_seconds: float


def measure(args: argparse.Namespace) -> Measured:
    options = Options(
        provider="cpu",
        threads=args.threads,
        max_samples=args.samples,
        preprocess=Preprocess(preset=args.preset),
    )
    began = time.perf_counter()
    collection = collect(args.model, args.data, options)
    first = time.perf_counter() - began
    half = len(collection.samples) // 2
    began = time.perf_counter()
    collect(args.model, args.data, Options(**{**vars(options), "max_samples": half}))
    # Two runs differ by half of the samples; what both start with falls out.
    slope = max(first - (time.perf_counter() - began), 1e-6) / (len(collection.samples) - half)
    rate = args.rate or 1 / slope
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few, many = (
            made(folder / "few", collection, WIDTH, 10),
            made(folder / "many", collection, WIDTH, args.held),
        )
        size_few, size_many = (sum(map(os.path.getsize, each)) / WIDTH for each in (few, many))
        sample_bytes = (size_many - size_few) / (args.held - 10)
        sample = max(merging(many) - merging(few), 0.0) / (WIDTH * (args.held - 10))
        part = max(merging(few) / WIDTH - 10 * sample, 0.0)
        memory = max(resident(many) - resident(many[: WIDTH // 2]), 0) / (WIDTH // 2 * args.held)
        seconds, whole = timed(made(folder / "all", collection, args.files, 100))
    return Measured(
        rate, listing(args.listed), size_few - 10 * sample_bytes, sample_bytes, part, sample, memory,
        len(whole.samples), seconds,
    )  # fmt: skip


def made(folder: Path, like: Collection, count: int, samples: int) -> list[Path]:
    """Statistics files of the shards of one run, their counts like those of real statistics, but none like another."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    paths = []
    for index in range(count):
        shards = Shards(count, "", frozenset({index + 1}))
        shard = Collection(
            list(like.histograms), model=like.model, rule=like.rule, options=like.options, shards=shards
        )
        for name, histogram in like.histograms.items():
            own = copy.deepcopy(histogram)
            # A worker sees thousands of images: their counts have more digits, which take more bytes.
            own.counts = histogram.counts * generator.integers(60, 140, histogram.counts.shape)
            own.total = int(own.counts.sum()) + own.zeros
            shard._histograms[name] = own
        shard.shapes = copy.deepcopy(like.shapes)
        numbers = range(index, count * samples, count)
        shard.restore_samples(
            (f"n{number % 1000:08d}/n{number % 1000:08d}_{number}.JPEG", generator.bytes(32).hex())
            for number in numbers
        )
        paths.append(folder / f"{index:04d}.stats")
        save_statistics(paths[-1], shard)
    return paths


def timed(paths: list[Path]) -> tuple[float, Collection]:
    began = time.perf_counter()
    total = merge(paths)
    return time.perf_counter() - began, total


def merging(paths: list[Path]) -> float:
    """Seconds of the task that merges these parts: the least of three."""
    parts = [path.read_bytes() for path in paths]
    rounds = []
    for _ in range(3):
        began = time.perf_counter()
        merge_parts(*parts)
        rounds.append(time.perf_counter() - began)
    return min(rounds)


def resident(paths: list[Path]) -> int:
    """Bytes of Python objects at the height of a merge."""
    tracemalloc.start()
    merge(paths, partial=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def listing(count: int) -> float:
    """Seconds per file until a shard of a folder of images knows its samples."""
    with tempfile.TemporaryDirectory() as name:
        for number in range(count):
            folder = Path(name, f"n{number // 1000:08d}")
            if number % 1000 == 0:
                folder.mkdir()
            os.close(os.open(folder / f"n{number}.JPEG", os.O_CREAT | os.O_WRONLY))
        spec = InputSpec("x", np.dtype(np.float32), ("N", 3, 224, 224))
        began = time.perf_counter()
        source = open_source(Sharded(name, Shard(1, 1000)), [spec], Preprocess(preset="imagenet"))
        tasks = sum(1 for _ in source.tasks())
        seconds = time.perf_counter() - began
        assert tasks == -(-count // 1000)
    return seconds / count


def tree(measured: Measured, shards: int, images: int) -> tuple[float, int, float]:
    """Seconds on the longest way through the tree of merges, its levels, and the bytes that move."""
    seconds, levels, moved, parts = 0.0, 0, 0.0, shards
    held = images / shards  # samples of one part
    while parts > 1:
        width = min(WIDTH, parts)
        size = width * (measured.file_bytes + held * measured.sample_bytes)
        seconds += width * (measured.part + held * measured.sample) + size / NETWORK
        moved += parts / width * size
        held, parts, levels = held * width, math.ceil(parts / WIDTH), levels + 1
    return seconds, levels, moved


def simulated(workers: int, shards: int, work: float, fixed: float, seed: int) -> tuple[float, int]:
    """Seconds until all shards are there, and how many were collected twice.

    A worker takes the next shard when it has finished one. One that is lost gives its shard back, and another takes its
    place; `work` is the seconds of a shard on a worker of mean speed, `fixed` what it costs on any.
    """
    generator = random.Random(seed)
    free = [(0.0, number) for number in range(workers)]
    speeds = [math.exp(generator.gauss(0, SPREAD)) for _ in range(workers)]
    waiting, again, end = shards, 0, 0.0
    while waiting:
        now, worker = heapq.heappop(free)
        takes = fixed + work / speeds[worker]
        lost = generator.expovariate(LOSS / 3600)
        if lost < takes:
            again += 1
            heapq.heappush(free, (now + lost + RESTART, worker))
            continue
        waiting -= 1
        end = max(end, now + takes)
        heapq.heappush(free, (now + takes, worker))
    return end, again


def report(args: argparse.Namespace, measured: Measured) -> str:
    images, workers = args.images, args.workers
    shards = workers * SHARDS_PER_WORKER
    listed = images * measured.listing
    counting = images / workers / measured.rate
    merging, levels, moved = tree(measured, shards, images)
    fixed = START + listed
    runs = [
        simulated(workers, shards, images / shards / measured.rate, fixed, seed) for seed in range(args.runs)
    ]
    end = statistics.median(seconds for seconds, _ in runs)
    again = statistics.mean(count for _, count in runs)
    lone = simulated(workers, workers, images / workers / measured.rate, fixed, 0)[0]
    total = end + merging
    whole = measured.file_bytes + images * measured.sample_bytes
    rows = [
        ("images", f"{images:,}", "given"),
        ("workers, shards", f"{workers:,}, {shards:,}", f"{SHARDS_PER_WORKER} shards a worker, as by default"),
        (
            "images/s of a worker", f"{measured.rate:.1f}",
            "given with --rate" if args.rate else "measured: slope between two runs",
        ),
        ("counting, ideal", clock(counting), "images / workers / rate"),
        ("start of a shard", clock(START), "assumed: imports, model, session"),
        ("listing, in each shard", clock(listed), f"measured {measured.listing * 1e6:.1f} µs a file"),
        (
            "all shards, simulated", clock(end),
            f"median of {args.runs}: speeds ±{SPREAD:.0%}, {LOSS:.0%} of workers lost an hour: {again:.1f} redone",
        ),
        ("the same, one shard a worker", clock(lone), "no stealing of work: the slowest worker decides"),
        (
            "merge, longest way", clock(merging),
            f"{levels} levels: measured {measured.part * 1e3:.1f} ms a part, {measured.sample * 1e6:.1f} µs a sample",
        ),
        ("whole run", clock(total), "shards, then what is left of the merge, in full"),
        ("the merge's share", f"{merging / total:.1%}", "at most: most of it runs beside the counting"),
        (
            "a shard's statistics", size(measured.file_bytes + images / shards * measured.sample_bytes),
            f"measured {size(measured.file_bytes)} and {measured.sample_bytes:.0f} bytes a sample",
        ),
        ("bytes moved by the merge", size(moved), "each part once on each level"),
        ("the merged file", size(whole), "names and hashes of all samples"),
        ("memory of the last merge", size(images * measured.memory), f"{measured.memory:.0f} bytes a sample, measured"),
        (
            f"merge of {args.files:,} files here", clock(measured.merged_seconds),
            f"measured: one process, one after the other, {measured.merged:,} samples",
        ),
    ]  # fmt: skip
    lines = ["| | | how |", "| --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in rows)]
    where = f"Measured on {this_node().processor}, {args.threads} thread(s), {Path(args.model).name}."
    return "\n".join([*lines, "", where])


def clock(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.3g} {unit}" if count < 1000 else f"{count:,.0f} {unit}"
        count /= 1000
    raise AssertionError


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Computes what a run on a large cluster comes to.")
    parser.add_argument("--images", type=int, default=10_000_000)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--rate", type=float, help="images/s of a worker (default: measured)")
    parser.add_argument("--threads", type=int, default=1, help="of a worker (default 1)")
    parser.add_argument("--model", default=str(ROOT / "models" / "digits_resnet.onnx"))
    parser.add_argument("--data", default=str(ROOT / "models" / "digits_calib"))
    parser.add_argument("--preset", help="of the data's images")
    parser.add_argument("--samples", type=int, default=128, help="images to measure the rate on")
    parser.add_argument(
        "--files", type=int, default=1000, help="statistics files to merge for the measurement"
    )
    parser.add_argument("--held", type=int, default=4000, help="samples of a file, to measure what one costs")
    parser.add_argument("--listed", type=int, default=50_000, help="files of the folder that is listed")
    parser.add_argument("--runs", type=int, default=50, help="simulated runs")
    args = parser.parse_args(argv)
    print(report(args, measure(args)))


if __name__ == "__main__":
    main()
