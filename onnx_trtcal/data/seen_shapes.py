"""The shapes that the inputs of a model were fed with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

__all__ = ["SeenShapes", "in_batches", "per_sample"]


@dataclass
class SeenShapes:
    """The smallest and largest size of each axis among the shapes one input was fed with."""

    smallest: tuple[int, ...] = ()
    largest: tuple[int, ...] = ()

    def add(self, shape: tuple[int, ...]) -> None:
        """Takes another shape in; its rank is that of the others."""
        self.smallest = tuple(map(min, self.smallest, shape)) if self.smallest else shape
        self.largest = tuple(map(max, self.largest, shape)) if self.largest else shape


def per_sample(shapes: Mapping[str, SeenShapes], batched: Container[str]) -> dict[str, SeenShapes]:
    """The shapes of one sample at a time: how samples were put into batches plays no part.

    Args:
        shapes: per input, the shapes that it was fed with.
        batched: the inputs whose axis 0 is a dynamic batch axis; it becomes 1.
    """
    return {
        name: SeenShapes((1, *seen.smallest[1:]), (1, *seen.largest[1:])) if name in batched else seen
        for name, seen in shapes.items()
    }


def in_batches(
    shapes: Mapping[str, SeenShapes], batched: Container[str], batch: int
) -> dict[str, SeenShapes]:
    """The shapes of batches of up to so many samples, from what `per_sample` returns."""
    return {
        name: SeenShapes(seen.smallest, (batch, *seen.largest[1:])) if name in batched else seen
        for name, seen in shapes.items()
    }
