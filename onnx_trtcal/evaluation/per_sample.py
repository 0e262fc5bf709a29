"""A batch's outputs, sample by sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.fidelity.distance import Distance

__all__ = ["add_batch", "is_float", "samples_of"]


def samples_of(array: np.ndarray, batch: Batch) -> list[np.ndarray]:
    """An output split into one array per real sample.

    An output whose first axis does not count the batch's rows belongs to all samples of the batch alike: each
    gets the whole array.
    """
    if _has_rows(array, batch):
        return list(array[: batch.count])
    return [array] * batch.count


def add_batch(distance: Distance, batch: Batch, expected: np.ndarray, got: np.ndarray) -> None:
    """Adds a batch's values to a distance, one sample after the other where axis 0 counts samples."""
    distance.add(expected, got, batch.count if _has_rows(expected, batch) else None)


def is_float(array: np.ndarray) -> bool:
    """Whether an array holds floats of any width."""
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def _has_rows(array: np.ndarray, batch: Batch) -> bool:
    return array.ndim > 0 and array.shape[0] == batch.rows
