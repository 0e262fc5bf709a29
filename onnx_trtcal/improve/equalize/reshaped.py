"""How channel numbers travel through a Reshape.

Numbers of a tensor are an int64 array of its rank; an axis along which all channels are alike has length 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    parts = list(_groups(before, after) or ())
    if not parts:
        return None
    numbers = ids
    sizes: list[int] = []
    for old, new in parts:
        if all(ids.shape[axis] == 1 for axis in old):
            sizes += [1] * len(new)
            continue
        known = [before[axis] for axis in old]
        wanted = [after[axis] for axis in new]
        if not all(isinstance(size, int) for size in (*known, *wanted)):
            return None
        if math.prod(map(int, known)) > _MOST_NUMBERS:  # type: ignore[arg-type]
            return None
        for axis, size in zip(old, known, strict=True):
            if numbers.shape[axis] == 1:
                numbers = np.repeat(numbers, int(size or 1), axis=axis)
        sizes += [int(size or 1) for size in wanted]
    return _compressed(numbers.reshape(sizes))


def _groups(before: Shape, after: Shape) -> Iterator[tuple[list[int], list[int]]] | None:
    """Axes before and after that hold the same elements; None where that cannot be told.

    An axis whose size is not known is a group of its own, and stands in front of or between known ones once.
    """
    found: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        old, new = [], []
        if i < len(before):
            old.append(i)
        if j < len(after):
            new.append(j)
        a = before[i] if i < len(before) else 1
        b = after[j] if j < len(after) else 1
        i, j = min(i + 1, len(before)), min(j + 1, len(after))
        if a == b and a is not None:
            found.append((old, new))
            continue
        if not isinstance(a, int) or not isinstance(b, int):
            # One axis of unknown size on either side, all the others known: its size is what is left.
            if _others_match(before, after, i, j):
                found.append((old, new))
                continue
            return None
        left, right = a, b
        while left != right:
            if left < right:
                if i >= len(before) or not isinstance(before[i], int):
                    return None
                left *= before[i]  # type: ignore[operator]
                old.append(i)
                i += 1
            else:
                if j >= len(after) or not isinstance(after[j], int):
                    return None
                right *= after[j]  # type: ignore[operator]
                new.append(j)
                j += 1
        found.append((old, new))
    return iter(found)


def _others_match(before: Shape, after: Shape, i: int, j: int) -> bool:
    """Whether as many elements follow on either side."""
    rest, other = before[i:], after[j:]
    if not all(isinstance(size, int) for size in (*rest, *other)):
        return False
    return math.prod(map(int, rest)) == math.prod(map(int, other))  # type: ignore[arg-type]


def _compressed(numbers: np.ndarray) -> np.ndarray:
    """The numbers with an axis of length 1 wherever they are alike along it."""
    for axis in range(numbers.ndim):
        first = numbers.take([0], axis)
        if numbers.shape[axis] > 1 and (numbers == first).all():
            numbers = first
    return numbers
