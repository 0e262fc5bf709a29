"""What a run saves of its counts now and then, so that a killed run resumes where it was."""

from __future__ import annotations

import glob
from typing import TYPE_CHECKING

from onnx_trtcal.errors import StatisticsError
from onnx_trtcal.stats import store
from onnx_trtcal.support.files import remove_leftovers
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_trtcal.stats.collection import Collection
    from onnx_trtcal.support.progress import Listener

__all__ = ["Checkpoint", "looks_path", "remove_checkpoints", "search_path"]


class Checkpoint:
    """Saves a collection every so many samples, and finds it again.

    Args:
        path: the file; None to keep no checkpoint.
        every: samples between two saves.
        listener: receives a line when a checkpoint is used or ignored.
    """

    def __init__(self, path: Path | None, every: int, listener: Listener) -> None:
        self._path = path
        self._every = every
        self._listener = listener
        self._unsaved = 0

    def resume(self, fresh: Collection) -> Collection:
        """The collection saved by an earlier run of the same job, else `fresh`, which is still empty.

        A checkpoint of another model or of other options is ignored with a warning, and overwritten in time.
        """
        if self._path is None or not self._path.exists():
            return fresh
        try:
            saved = store.load_statistics(self._path)
            saved.origin.check_same(fresh.origin)
        except StatisticsError as error:
            self.ignore(error.what)
            return fresh
        self._listener.say(
            f"resuming from the checkpoint {self._path}: {many(len(saved.samples), 'sample')} already counted"
        )
        return saved

    def ignore(self, reason: str) -> None:
        """Warns that the checkpoint is not used."""
        self._listener.warn(f"the checkpoint {self._path} is ignored: {reason}")

    def note(self, collection: Collection, added: int) -> None:
        """Notes that `added` more samples are counted; saves when it is time."""
        self._unsaved += added
        if self._unsaved >= self._every:
            self.save(collection)

    def save(self, collection: Collection) -> None:
        """Saves what was counted since the last time, if anything was.

        Raises:
            CalibrationError: when the file cannot be written.
        """
        if self._path is not None and self._unsaved:
            store.save_statistics(self._path, collection)
            self._unsaved = 0


def looks_path(checkpoint: Path) -> Path:
    """The file beside a checkpoint for what was seen of the scales on the way to it."""
    return checkpoint.with_name(f"{checkpoint.name}.looks")


def search_path(checkpoint: Path) -> Path:
    """The file beside a checkpoint for what a search of thresholds has found on the way."""
    return checkpoint.with_name(f"{checkpoint.name}.search")


def remove_checkpoints(path: Path) -> None:
    """Removes the checkpoint of a finished job, and what its passes and kills have left beside it."""
    passes = path.parent.glob(f"{glob.escape(path.name)}.[0-9]*")
    for file in (path, looks_path(path), search_path(path), *passes):
        file.unlink(missing_ok=True)
        remove_leftovers(file)
