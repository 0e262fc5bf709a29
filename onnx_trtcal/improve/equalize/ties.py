"""Sets of numbers that hang together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["joined"]


def joined(count: int, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Per number below `count`, the smallest one that a chain of pairs connects it with.

    Args:
        count: how many numbers there are.
        pairs: arrays of one length: `a[i]` is connected with `b[i]`.
    """
    labels = np.arange(count, dtype=np.int64)
    arrays = list(pairs)
    if not arrays:
        return labels
    one = np.concatenate([a for a, _ in arrays])
    other = np.concatenate([b for _, b in arrays])
    while True:
        before = labels.copy()
        least = np.minimum(labels[one], labels[other])
        np.minimum.at(labels, one, least)
        np.minimum.at(labels, other, least)
        # The label of a label may be smaller by now.
        np.minimum.at(labels, before, labels.copy())
        labels = labels[labels]
        if (labels == before).all():
            return labels
