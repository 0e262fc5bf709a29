"""The protocol of a task: what reads the answers of a float model and of its variants, and compares them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np

    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.data.images.geometry import Geometry
    from onnx_trtcal.evaluation.tasks.result import TaskResult

    Outputs = Mapping[str, Sequence[np.ndarray]]
    """Output -> one array per sample, without the axis that counts samples."""

__all__ = ["Samples", "Scoring", "Task", "each_sample", "samples_in"]


@dataclass(frozen=True)
class Samples:
    """The samples of a batch, as far as tasks ask.

    Attributes:
        names: their names, with the path that the data was given by: what labels are found with.
        positions: where they are in the data.
        size: height and width of the image that the model is fed; None when no input looks like one.
        geometry: per sample, where the original image lies in it; None when that is not known.
    """

    names: tuple[str, ...]
    positions: Sequence[int]
    size: tuple[int, int] | None
    geometry: tuple[Geometry | None, ...]


class Scoring(Protocol):
    """One pass over the data: a float model and any number of variants of it, batch by batch."""

    def expect(self, outputs: Outputs, samples: Samples) -> None:
        """Reads what the float model answers for the next samples.

        Args:
            outputs: its outputs.
            samples: those samples.
        """

    def compare(self, variant: str, outputs: Outputs) -> None:
        """Reads what a variant answers for the same samples, and counts how far it agrees.

        Args:
            variant: its name.
            outputs: its outputs.
        """

    def results(self) -> dict[str, TaskResult]:
        """Variant -> what comes of it."""


class Task(Protocol):
    """What a model's outputs are for. A task outlives a pass: what it has found out of the outputs stays."""

    name: str

    def start(self) -> Scoring:
        """Begins a pass over the data."""


def samples_in(batch: Batch, positions: Sequence[int]) -> Samples:
    """What a task sees of a batch.

    Args:
        batch: the batch.
        positions: of its samples in the data.
    """
    name, size = None, None
    for key, array in batch.feeds.items():
        size = _image_size(array.shape)
        if size is not None:
            name = key
            break
    known = batch.geometry or ({},) * batch.count
    geometry = tuple(each.get(name) if name else None for each in known)
    return Samples(batch.paths or batch.names, positions, size, geometry)


def each_sample(outputs: Outputs) -> Iterator[dict[str, np.ndarray]]:
    """The outputs of one sample after the other."""
    for rows in zip(*outputs.values(), strict=True):
        yield dict(zip(outputs, rows, strict=True))


def _image_size(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Height and width of a feed of images, channels first or last."""
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return shape[1], shape[2]
    if len(shape) != 4:
        return None
    if shape[1] in (1, 3, 4) or shape[3] not in (1, 3, 4):
        return shape[2], shape[3]
    return shape[1], shape[2]
