"""A batch's outputs, sample by sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.fidelity.distance import Distance

__all__ = ["add_batch", "is_float", "rows_of", "samples_of"]


def samples_of(array: np.ndarray, batch: Batch, *, rowless: bool = False) -> list[np.ndarray]:
    """An output split into one array per real sample.

    An output whose first axis does not count the batch's rows belongs to all samples of the batch alike: each
    gets the whole array.

    Args:
        array: the output.
        batch: what it was computed from.
        rowless: whether its first axis counts something else, even where it happens to be as long as the batch.
    """
    if not rowless and _has_rows(array, batch):
        return list(array[: batch.count])
    return [array] * batch.count


def add_batch(
    distance: Distance, batch: Batch, expected: np.ndarray, got: np.ndarray, *, rowless: bool = False
) -> None:
    """Adds a batch's values to a distance, one sample after the other where axis 0 counts samples.

    Args:
        distance: what they are added to.
        batch: what they were computed from.
        expected: the float model's values.
        got: the quantized model's, of the same shape.
        rowless: as for `samples_of`.
    """
    distance.add(expected, got, rows_of(expected, batch, rowless=rowless))


def rows_of(array: np.ndarray, batch: Batch, *, rowless: bool = False) -> int | None:
    """How many rows of axis 0 are samples of the batch, without those that fill it up; None where it counts no samples.

    Arguments as for `samples_of`.
    """
    return batch.count if not rowless and _has_rows(array, batch) else None


def is_float(array: np.ndarray) -> bool:
    """Whether an array holds floats of any width."""
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def _has_rows(array: np.ndarray, batch: Batch) -> bool:
    return array.ndim > 0 and array.shape[0] == batch.rows
