"""Whether what a model computes from several items at once is what it computes from each alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RowCheck", "relative_distance"]


class RowCheck:
    """Compares the tensors of a joint run with those of each of its items alone, one item after the other.

    They agree when the tensors of the items, put together along the one axis in which the shapes differ, have the
    shape of the joint one, and the same values up to a tolerance. Tensors that hold no floats are ignored. One that
    has the same values for every item alone, and in the joint run their shape, depends on no item: it is set apart.

    Args:
        names: of the tensors.
        together: their values in the joint run.
        tolerance: how far values may be apart, as a share of the largest magnitude of the joint tensor.

    Attributes:
        apart: the tensors that depend on no item, and that a joint run computes only once.
    """

    def __init__(self, names: Sequence[str], together: Sequence[np.ndarray], tolerance: float) -> None:
        self._joint = {
            name: array for name, array in zip(names, together, strict=True) if array.dtype.kind == "f"
        }
        self._names = tuple(names)
        self._tolerance = tolerance
        self._axes: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        self._items = 0
        self.apart: dict[str, np.ndarray] = {}

    def take(self, alone: Sequence[np.ndarray]) -> str:
        """Compares the tensors of the next item.

        Returns:
            The first difference in words; empty when there is none.
        """
        self._items += 1
        arrays = dict(zip(self._names, alone, strict=True))
        return next((text for name in self._joint if (text := self._difference(name, arrays[name]))), "")

    def finish(self) -> str:
        """Whether any tensor of the joint run holds more than those of the items; words as for `take`."""
        for name, end in self._ends.items():
            joint, axis = self._joint[name], self._axes[name]
            if end != joint.shape[axis]:
                return (
                    f"tensor {name!r} has length {joint.shape[axis]} along axis {axis} for {self._items} items "
                    f"together, and {end} for all of them alone"
                )
        return ""

    def _difference(self, name: str, alone: np.ndarray) -> str:
        joint = self._joint[name]
        if name not in self._axes:
            growing = [
                axis for axis, size in enumerate(joint.shape) if alone.shape[axis : axis + 1] != (size,)
            ]
            if alone.shape == joint.shape:
                return self._set_apart(name, alone)
            if alone.ndim != joint.ndim or len(growing) > 1:
                return f"tensor {name!r} has shape {_text(alone)} for one item, {_text(joint)} for several"
            self._axes[name] = growing[0]
        axis, start = self._axes[name], self._ends.get(name, 0)
        end = self._ends[name] = start + (alone.shape[axis] if alone.ndim == joint.ndim else 0)
        part = joint[(slice(None),) * axis + (slice(start, end),)]
        if part.shape != alone.shape:
            return f"tensor {name!r} has shape {_text(alone)} for one item, {_text(joint)} for several"
        distance = relative_distance(alone, part, joint)
        if distance <= self._tolerance:
            return ""
        return (
            f"tensor {name!r} is not the same when items are run together: off by {distance:.2g} of its largest "
            "magnitude"
        )

    def _set_apart(self, name: str, alone: np.ndarray) -> str:
        if not alone.size or np.array_equal(self.apart.setdefault(name, alone), alone, equal_nan=True):
            return ""
        return f"tensor {name!r} has shape {_text(alone)} for one item and for several alike"


def relative_distance(one: np.ndarray, other: np.ndarray, whole: np.ndarray) -> float:
    """The largest |one - other| as a share of the largest finite magnitude in `whole`; NaN and Inf must be equal.

    Args:
        one: of any float type.
        other: of the same shape.
        whole: what the difference is measured by.
    """
    # Looked at first, because it is what most tensors come to, and cheaper.
    if np.array_equal(one, other):
        return 0.0
    one, other = one.astype(np.float64), other.astype(np.float64)
    finite = np.isfinite(one) & np.isfinite(other)
    if not np.array_equal(one[~finite], other[~finite], equal_nan=True):
        return float("inf")
    difference = float(np.abs(one[finite] - other[finite]).max(initial=0.0))
    magnitudes = np.abs(whole[np.isfinite(whole)])
    largest = float(magnitudes.max(initial=0.0))
    return difference / largest if largest else float("inf") * difference if difference else 0.0


def _text(array: np.ndarray) -> str:
    return f"({', '.join(map(str, array.shape))})"
