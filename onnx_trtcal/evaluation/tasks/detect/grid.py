"""The cells that a detector's rows belong to, level after level of its pyramid."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import numpy as np

__all__ = ["Grid", "cells", "grid_of", "level_cells"]

Size = tuple[int, int]

_STRIDES = (
    (8, 16, 32),
    (8, 16, 32, 64),
    (16, 32),
    (4, 8, 16, 32),
    (8, 16, 32, 64, 128),
    (8, 16),
    (32,),
    (16,),
    (8,),
)
_ANCHORS = (1, 3)


class Grid(NamedTuple):
    """The strides of a pyramid's levels, and how many rows each cell has."""

    strides: tuple[int, ...]
    anchors: int


def grid_of(rows: int, size: Size) -> Grid | None:
    """The usual pyramid that has so many rows for an image of this size; None if none has.

    Args:
        rows: how many boxes the head makes.
        size: height and width of the network's input.
    """
    for anchors in _ANCHORS:
        for strides in _STRIDES:
            if anchors * sum(ceil(size[0] / each) * ceil(size[1] / each) for each in strides) == rows:
                return Grid(strides, anchors)
    return None


def cells(strides: tuple[int, ...], size: Size, anchors: int = 1) -> np.ndarray:
    """Column, row and stride of each row's cell, Nx3 in float64: levels in turn, each anchor by anchor, row by row."""
    return np.concatenate([np.tile(level_cells(stride, size), (anchors, 1)) for stride in strides])


def level_cells(stride: int, size: Size, anchors: int = 1) -> np.ndarray:
    """The cells of one level; one after the other as often as it has anchors."""
    height, width = ceil(size[0] / stride), ceil(size[1] / stride)
    rows, columns = np.divmod(np.arange(height * width), width)
    found = np.stack([columns, rows, np.full(height * width, stride)], axis=1).astype(np.float64)
    return np.repeat(found, anchors, axis=0)
