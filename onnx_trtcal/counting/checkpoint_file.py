"""The files of a checkpoint: the histograms, written anew each time, and the samples, which are appended.

So a checkpoint costs the same however many samples were counted before. `PATH` is laid out as a statistics file is
(`onnx_trtcal.stats.store`) but for its magic and three more fields in its header:

    journal   {bytes, sha256}: how much of the file `PATH.samples` belongs to it, and the hash of that much
    count     samples in it
    seconds   how long it took to count them

`PATH.samples` has one line of JSON, [name, hash], per sample, in the order in which they were counted. It is written
first, so that what lies beyond `bytes`, be it torn, belongs to a checkpoint that was not completed and is ignored.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from onnx_trtcal.errors import StatisticsError
from onnx_trtcal.stats import store
from onnx_trtcal.stats.header import is_sample
from onnx_trtcal.support.files import writing
from onnx_trtcal.support.parsed_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from onnx_trtcal.stats.collection import Collection

__all__ = ["CheckpointFile", "read_head", "samples_path"]


class CheckpointFile:
    """A checkpoint of one collection, as it grows.

    Args:
        path: the file of its histograms.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0
        self._bytes = 0
        self._hash = hashlib.sha256()

    def load(self) -> tuple[Collection, float]:
        """What the last save saved, and how many seconds that had taken; further saves go on from there.

        Raises:
            StatisticsError: when the files cannot be read, are damaged, or do not belong together.
        """
        header, collection = store.loads_checkpoint(_read(self._path), str(self._path))
        size, wanted, count, seconds = _fields(header, self._path)
        lines = _read(samples_path(self._path))[:size]
        self._hash = hashlib.sha256(lines)
        if len(lines) != size or self._hash.hexdigest() != wanted:
            raise StatisticsError(
                "the list of its samples is damaged or cut short", where=str(samples_path(self._path))
            )
        collection.restore_samples(_samples(lines, count))
        self._bytes, self._count = size, count
        return collection, seconds

    def save(self, collection: Collection, added: Sequence[tuple[str, str]], seconds: float) -> None:
        """Saves a collection.

        Args:
            collection: what was counted.
            added: (name, hash) of the samples in it that were not in it when it was last saved or loaded.
            seconds: how long it took to count all of it.

        Raises:
            CalibrationError: when a file cannot be written; the checkpoint before this one is still whole.
        """
        lines = b"".join(json.dumps(sample).encode("ascii") + b"\n" for sample in added)
        self._append(lines)
        whole = self._hash.copy()
        whole.update(lines)
        size, count = self._bytes + len(lines), self._count + len(added)
        journal = {"bytes": size, "sha256": whole.hexdigest()}
        more = {"journal": journal, "count": count, "seconds": round(seconds, 3)}
        store.save_checkpoint(self._path, collection, more)
        self._hash, self._bytes, self._count = whole, size, count

    def _append(self, lines: bytes) -> None:
        path = samples_path(self._path)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        with writing(path), open(os.open(path, flags, 0o666), "r+b") as file:
            # Not at its end: what a save that was not completed left there is written over.
            file.seek(self._bytes)
            file.write(lines)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())


def samples_path(path: Path) -> Path:
    """The file beside a checkpoint with the samples counted in it."""
    return path.with_name(f"{path.name}.samples")


def read_head(path: Path) -> tuple[int, float]:
    """How many samples a checkpoint holds, and how many seconds it took to count them.

    Raises:
        StatisticsError: when it is not a checkpoint, or damaged.
    """
    header = store.loads_checkpoint(_read(path), str(path))[0]
    _, _, count, seconds = _fields(header, path)
    return count, seconds


def _fields(header: dict[str, Any], path: Path) -> tuple[int, str, int, float]:
    try:
        journal = header["journal"]
        return int(journal["bytes"]), str(journal["sha256"]), int(header["count"]), float(header["seconds"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise StatisticsError("the checkpoint contradicts itself", where=str(path)) from error


def _samples(lines: bytes, count: int) -> list[tuple[str, str]]:
    try:
        samples = list(map(parse_json, lines.splitlines()))
    except ValueError as error:
        raise StatisticsError("the list of its samples contradicts itself") from error
    if not all(map(is_sample, samples)):
        raise StatisticsError("the list of its samples contradicts itself")
    if len(samples) != count:
        raise StatisticsError(f"the list of its samples has {len(samples)}, where it should have {count}")
    return [(name, digest) for name, digest in samples]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StatisticsError(f"it cannot be read: {error.strerror or error}", where=str(path)) from error
