"""The shapes that the inputs of a model were fed with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SeenShapes", "in_batches", "per_sample"]


@dataclass
class SeenShapes:
    """The smallest and largest size of each axis among the shapes one input was fed with.

    Attributes:
        smallest: size of each axis.
        largest: size of each axis.
        item_axis: the axis along which any number of items may be stacked; None where there is none.
    """

    smallest: tuple[int, ...] = ()
    largest: tuple[int, ...] = ()
    item_axis: int | None = None

    def add(self, shape: tuple[int, ...]) -> None:
        """Takes another shape in; its rank is that of the others."""
        self.smallest = tuple(map(min, self.smallest, shape)) if self.smallest else shape
        self.largest = tuple(map(max, self.largest, shape)) if self.largest else shape


def per_sample(shapes: Mapping[str, SeenShapes]) -> dict[str, SeenShapes]:
    """The shapes of one sample at a time: how samples were put into batches plays no part."""
    return {name: _stacked(seen, 1, 1) for name, seen in shapes.items()}


def in_batches(shapes: Mapping[str, SeenShapes], batch: int) -> dict[str, SeenShapes]:
    """The shapes of batches of up to so many samples, from what `per_sample` returns."""
    return {name: _stacked(seen, 1, batch) for name, seen in shapes.items()}


def _stacked(seen: SeenShapes, least: int, most: int) -> SeenShapes:
    axis = seen.item_axis
    if axis is None:
        return seen
    smallest, largest = (
        (*shape[:axis], size, *shape[axis + 1 :])
        for shape, size in ((seen.smallest, least), (seen.largest, most))
    )
    return SeenShapes(smallest, largest, axis)
