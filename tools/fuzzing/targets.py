"""The readers: what each is fed, how that is damaged, and what is done with it as a user would."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from fuzzing import saved, structured
from fuzzing.mutations import mutate_bytes, mutate_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["TARGETS", "RawOutputError", "Target", "UnforeseenError"]


class UnforeseenError(Exception):
    """The command line ended in status 70."""


class RawOutputError(Exception):
    """The command line printed something that acts on a terminal, or JSON that is none."""


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        seeds: good files, by their names in the folder of good files; those that are not there, for want of a package
            that writes them, are left out.
        mutate: makes a damaged one from one of them and another.
        use: reads the input; raises a CalibrationError, or returns whether it was accepted.
        suffix: of the input's name; "" for that of the good file.
    """

    seeds: tuple[str, ...]
    mutate: Callable[[bytes, bytes, Random], bytes]
    use: Callable[[Path, Path], bool]
    suffix: str = ""


@cache
def _inputs(model: Path) -> tuple[InputSpec, ...]:
    from onnx_trtcal.graph.model.load import load

    return load(model).inputs


def _samples(path: Path, good: Path) -> bool:
    from onnx_trtcal.data.batching import sample_hash
    from onnx_trtcal.data.sources import open_source

    source = open_source(str(path), _inputs(good / "model.onnx"), max_samples=64)
    known = source.count
    for sample in source:
        sample_hash(sample)
    return known != 0


def _labels(path: Path, _good: Path) -> bool:
    from onnx_trtcal.evaluation.labels import read_labels
    from onnx_trtcal.support.progress import LoggingListener

    labels = read_labels(path).for_model(["a", "b", "c"], LoggingListener())
    labels.check_count(4, LoggingListener())
    names = ["1.png", "2.png"] if path.suffix == ".json" else ["a.png", "b.png"]
    return all(labels.number(label, 5, names[0]) >= 0 for label in labels.of(names, range(len(names))))


def _boxes(path: Path, _good: Path) -> bool:
    from onnx_trtcal.evaluation.tasks.detect.truth import read_truth

    return bool(read_truth(path))


def _toml(path: Path, good: Path) -> bool:
    from onnx_trtcal.cli import parser_for
    from onnx_trtcal.cli.flags import options_from, qdq_from

    args = parser_for("calibrate").parse_args([str(good / "model.onnx"), "data", "--config", str(path)])
    options_from(args)
    qdq_from(args)
    return True


def _yolo(path: Path, _good: Path) -> bool:
    """A folder with one file of boxes, read for a detector and for a classifier."""
    from onnx_trtcal.errors import CalibrationError
    from onnx_trtcal.evaluation.labels import read_labels
    from onnx_trtcal.evaluation.tasks.detect.truth import read_truth

    folder = path.parent / "yolo"
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder / "1.txt")
    with contextlib.suppress(CalibrationError):
        read_labels(folder)
    return bool(read_truth(folder))


def _mask(path: Path, _good: Path) -> bool:
    from onnx_trtcal.evaluation.tasks.segment.masks import read_masks

    folder = path.parent / "masks"
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder / "1.png")
    return read_masks(folder).of("1.png", 0, None, (8, 8)).shape == (8, 8)


def _hints(path: Path, good: Path) -> bool:
    """What lies beside a model, and what its metadata holds, about how images are prepared for it."""
    from onnx_trtcal.data.images.proposal import class_names, proposal
    from onnx_trtcal.options import Preprocess

    folder = path.parent / "hints"
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder / "preprocessor_config.json")
    text = path.read_bytes().decode("utf-8", "replace")
    said = {"imgsz": text, "names": text, "stride": "32", "task": "detect"}
    inputs = _inputs(good / "model.onnx")
    found = [proposal(inputs, Preprocess(), metadata, folder) for metadata in ({}, said)]
    return any((*found, *class_names(said)))


def _checkpoint(path: Path, good: Path) -> bool:
    """What a run that resumes reads, one file of it damaged."""
    from onnx_trtcal.counting.checkpoint_file import CheckpointFile, read_head
    from onnx_trtcal.support.noted import read_noted

    made = path.parent / "made.checkpoint"
    for name in _CHECKPOINT:
        shutil.copy(good / name, made.parent / name.replace("run", "made"))
    shutil.copy(path, f"{made}{path.suffix.removeprefix(made.suffix)}")
    noted = read_noted(made.with_name(f"{made.name}.search"))
    read_head(made)
    return CheckpointFile(made).load()[1] >= 0 and bool(noted)


def _file_list(path: Path, good: Path) -> bool:
    for name in ("data.npy", "data.npz"):
        if not (path.parent / name).exists():
            shutil.copy(good / name, path.parent)
    return _samples(path, good)


def _verb(*words: Any, is_json: bool = False) -> bool:
    """Runs the command line in this process; returns whether it accepted what it read."""
    from onnx_trtcal.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(word) for word in words])
        except SystemExit as leaving:
            status = int(leaving.code or 0)
    said = out.getvalue() + err.getvalue()
    if status == 70 or "Traceback" in said:
        raise UnforeseenError(err.getvalue())
    if not said.replace("\n", "").isprintable():
        raise RawOutputError(repr(said[:2000]))
    if is_json and status == 0:
        try:
            json.loads(out.getvalue())
        except ValueError as error:
            raise RawOutputError(out.getvalue()[:2000]) from error
    return status == 0


def _onnx(path: Path, good: Path) -> bool:
    _verb("lint", path)
    _verb("check", path, good / "good.cache")
    made = path.parent / "made.onnx"
    accepted = _verb("quantize", path, good / "good.cache", "-o", made, "--json", is_json=True)
    if not accepted:
        accepted = _verb("dequantize", path, "-o", made, "--cache", path.parent / "made.cache")
    return accepted


def _statistics(path: Path, good: Path) -> bool:
    _verb("merge", path, good / "good.stats", "-o", path.parent / "merged.stats")
    _verb("compare", path, good / "model.onnx")
    return _verb("solve", path, good / "model.onnx", "-o", path.parent / "made.cache")


def _cache(path: Path, good: Path) -> bool:
    made = path.parent / "made.cache"
    _verb("check", good / "model.onnx", path, "--json", is_json=True)
    _verb("cache", "diff", path, good / "good.cache")
    _verb("cache", "merge", good / "good.cache", path, "-o", made)
    _verb("cache", "set-version", path, "--trt-version", "10.3", "-o", made)
    return _verb("cache", "show", path)


def _sidecar(path: Path, good: Path) -> bool:
    cache, made = path.with_suffix(""), path.parent / "made.cache"
    shutil.copy(good / "good.cache", cache)
    _verb("cache", "merge", good / "good.cache", cache, "-o", made)
    _verb("cache", "set-version", cache, "--trt-version", "10.3", "-o", made)
    _verb("cache", "rename", cache, "--map", good / "map.csv", "-o", made)
    _verb("check", good / "model.onnx", cache)
    return _verb("quantize", good / "model.onnx", cache, "-o", path.parent / "made.onnx")


def _log(path: Path, good: Path) -> bool:
    return _verb("check", good / "model.onnx", good / "good.cache", "--log", path)


def _map(path: Path, good: Path) -> bool:
    return _verb("cache", "rename", good / "good.cache", "--map", path, "-o", path.parent / "made.cache")


_CHECKPOINT = ("run.checkpoint", "run.checkpoint.samples", "run.checkpoint.search")

TARGETS = {
    "npy": Target(("data.npy",), structured.npy, _samples),
    "npz": Target(("data.npz",), structured.npz, _samples),
    "images": Target(
        tuple(f"image.{name}" for name in ("png", "jpg", "bmp", "gif", "tiff", "webp", "ppm")),
        mutate_bytes,
        _samples,
    ),
    "pb tensors": Target(("data.pb",), mutate_bytes, _samples),
    "jsonl": Target(("data.jsonl",), structured.json_lines, _samples),
    "safetensors": Target(("data.safetensors",), structured.safetensors, _samples),
    "parquet": Target(("data.parquet",), mutate_bytes, _samples),
    "torch": Target(("data.pt", "old.pt"), saved.torch_file, _samples),
    "polygraphy": Target(("inputs.json",), saved.polygraphy, _samples),
    "file lists": Target(("files.txt", "files.csv"), mutate_text, _file_list),
    "onnx": Target(("model.onnx", "qdq.onnx", "branches.onnx"), structured.onnx_model, _onnx),
    "statistics": Target(("good.stats",), structured.statistics, _statistics),
    "caches": Target(("good.cache",), mutate_text, _cache),
    "sidecars": Target(("good.cache.json",), structured.json_document, _sidecar, suffix=".cache.json"),
    "checkpoints": Target(_CHECKPOINT, saved.checkpoint, _checkpoint),
    "logs": Target(("build.log",), mutate_text, _log),
    "labels csv": Target(("labels.csv", "labels.txt"), mutate_text, _labels),
    "labels json": Target(("labels.json",), structured.json_document, _labels),
    "labels npy": Target(("labels.npy",), structured.npy, _labels),
    "boxes json": Target(("labels.json",), structured.json_document, _boxes),
    "boxes yolo": Target(("yolo.txt",), mutate_text, _yolo),
    "masks": Target(("mask.png", "palette.png"), mutate_bytes, _mask),
    "hints": Target(("preprocessor_config.json", "names.txt"), saved.hints, _hints),
    "toml": Target(("options.toml",), mutate_text, _toml),
    "rename csv": Target(("map.csv",), mutate_text, _map),
    "rename json": Target(("map.json",), structured.json_document, _map),
}
