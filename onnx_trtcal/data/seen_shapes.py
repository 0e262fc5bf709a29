"""The shapes that the inputs of a model were fed with."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SeenShapes"]


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
