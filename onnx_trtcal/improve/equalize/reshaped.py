"""How channel numbers travel through a Reshape.

Numbers of a tensor are an int64 array of its rank; an axis along which all channels are alike has length 1.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["reshaped"]

Shape = tuple[int | str | None, ...]
_MOST_NUMBERS = 1 << 22


def reshaped(ids: np.ndarray, before: Shape, after: Shape) -> np.ndarray | None:
    """The numbers of a tensor in another shape; None where the shapes are not known well enough.

    Args:
        ids: of the tensor as it was.
        before: its shape.
        after: its new shape.
    """
    parts = _groups(before, after)
    if parts is None:
        return None
    numbers = ids
    sizes: list[int] = []
    for old, new in parts:
        if all(ids.shape[axis] == 1 for axis in old):
            sizes += [1] * len(new)
            continue
        known = [size for size in (before[axis] for axis in old) if isinstance(size, int)]
        wanted = [size for size in (after[axis] for axis in new) if isinstance(size, int)]
        if len(known) < len(old) or len(wanted) < len(new) or math.prod(known) > _MOST_NUMBERS:
            return None
        for axis, size in zip(old, known, strict=True):
            if numbers.shape[axis] == 1:
                numbers = np.repeat(numbers, size, axis=axis)
        sizes += wanted
    return _compressed(numbers.reshape(sizes))


def _groups(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]] | None:
    """Axes before and after that hold the same elements; None where that cannot be told."""
    found: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        old, new = list(range(i, min(i + 1, len(before)))), list(range(j, min(j + 1, len(after))))
        a, b = before[i] if old else 1, after[j] if new else 1
        i, j = i + len(old), j + len(new)
        if a is None or a != b:
            if isinstance(a, int) and isinstance(b, int):
                grown = _grown(before, after, (i, j), (a, b))
                if grown is None:
                    return None
                old += range(i, grown[0])
                new += range(j, grown[1])
                i, j = grown
            elif not _as_many(before[i:], after[j:]):
                # An axis of unknown size corresponds to another one where all that follows is known, and alike.
                return None
        found.append((old, new))
    return found


def _grown(
    before: Shape, after: Shape, at: tuple[int, int], sizes: tuple[int, int]
) -> tuple[int, int] | None:
    """Where both groups end that begin with axes of these sizes, before `at`; None where that is not known."""
    (i, j), (left, right) = at, sizes
    while left != right:
        axis = before[i : i + 1] if left < right else after[j : j + 1]
        if not axis or not isinstance(axis[0], int):
            return None
        if left < right:
            left, i = left * axis[0], i + 1
        else:
            right, j = right * axis[0], j + 1
    return i, j


def _as_many(before: Shape, after: Shape) -> bool:
    """Whether two shapes are known to hold as many elements."""
    sizes = [[size for size in shape if isinstance(size, int)] for shape in (before, after)]
    return (
        len(sizes[0]) == len(before)
        and len(sizes[1]) == len(after)
        and math.prod(sizes[0]) == math.prod(sizes[1])
    )


def _compressed(numbers: np.ndarray) -> np.ndarray:
    """The numbers with an axis of length 1 wherever they are alike along it."""
    for axis in range(numbers.ndim):
        first = numbers.take([0], axis)
        if numbers.shape[axis] > 1 and (numbers == first).all():
            numbers = first
    return numbers
