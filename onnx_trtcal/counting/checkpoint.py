"""What a run saves of its counts now and then, so that a killed run resumes where it was."""

from __future__ import annotations

import glob
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.counting.checkpoint_file import CheckpointFile, read_head, samples_path
from onnx_trtcal.errors import CalibrationError, StatisticsError
from onnx_trtcal.support.temporary import remove_leftovers
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from onnx_trtcal.stats.collection import Collection
    from onnx_trtcal.support.progress import Listener

__all__ = [
    "Checkpoint",
    "Saved",
    "checkpoint_files",
    "looks_path",
    "remove_checkpoints",
    "saved_at",
    "search_path",
]


class Checkpoint:
    """Saves a collection every so many samples, and finds it again.

    Args:
        path: the file; None to keep no checkpoint.
        every: samples between two saves.
        listener: receives a line when a checkpoint is used or ignored.
    """

    def __init__(self, path: Path | None, every: int, listener: Listener) -> None:
        self._path = path
        self._file = CheckpointFile(path) if path else None
        self._every = every
        self._listener = listener
        self._unsaved: list[tuple[str, str]] = []
        self._began = time.monotonic()

    def resume(self, fresh: Collection) -> Collection:
        """The collection saved by an earlier run of the same job, else `fresh`, which is still empty.

        A checkpoint of another model or of other options is ignored with a warning, and overwritten in time.
        """
        if self._file is None or self._path is None or not self._path.exists():
            return fresh
        try:
            saved, seconds = self._file.load()
            saved.origin.check_same(fresh.origin)
        except StatisticsError as error:
            self.ignore(error.what)
            return fresh
        self._began -= seconds
        self._listener.say(
            f"resuming from the checkpoint {self._path}: {many(len(saved.samples), 'sample')} already counted"
        )
        return saved

    def ignore(self, reason: str) -> None:
        """Warns that the checkpoint is not used; the next one is written from the beginning."""
        self._listener.warn(f"the checkpoint {self._path} is ignored: {reason}")
        self._began = time.monotonic()
        if self._path is not None:
            self._file = CheckpointFile(self._path)

    def note(self, collection: Collection, added: Sequence[tuple[str, str]]) -> None:
        """Notes that these (name, hash) are counted, too; saves when it is time."""
        self._unsaved += added
        if len(self._unsaved) >= self._every:
            self.save(collection)

    def save(self, collection: Collection) -> None:
        """Saves what was counted since the last time, if anything was.

        Raises:
            CalibrationError: when the file cannot be written.
        """
        if self._file is not None and self._unsaved:
            self._file.save(collection, self._unsaved, time.monotonic() - self._began)
        self._unsaved = []


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds.

    Attributes:
        samples: how many samples are counted in it, over all passes.
        seconds: how long it took to count them.
    """

    samples: int
    seconds: float


def saved_at(path: Path) -> Saved | None:
    """What the checkpoint of a job, or those of its passes, hold; None without any that can be read."""
    found = []
    for file in (path, *_passes(path)):
        try:
            found.append(read_head(file))
        except CalibrationError:
            continue
    return Saved(sum(n for n, _ in found), sum(s for _, s in found)) if found else None


def checkpoint_files(path: Path) -> list[Path]:
    """The files of a checkpoint, those that are not there, too."""
    return [path, samples_path(path), looks_path(path), search_path(path)]


def looks_path(checkpoint: Path) -> Path:
    """The file beside a checkpoint for what was seen of the scales on the way to it."""
    return checkpoint.with_name(f"{checkpoint.name}.looks")


def search_path(checkpoint: Path) -> Path:
    """The file beside a checkpoint for what a search of thresholds has found on the way."""
    return checkpoint.with_name(f"{checkpoint.name}.search")


def remove_checkpoints(path: Path) -> None:
    """Removes the checkpoint of a finished job, and what its passes and kills have left beside it."""
    for file in (*checkpoint_files(path), *_passes(path)):
        file.unlink(missing_ok=True)
        remove_leftovers(file)


def _passes(path: Path) -> list[Path]:
    """The files of the passes of a job."""
    return sorted(path.parent.glob(f"{glob.escape(path.name)}.[0-9]*"))
