"""Where an image's pixels come to lie in the array that is made of it: what resizing, borders and crops do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from onnx_trtcal.data.images.recipe import Recipe

__all__ = ["Geometry", "geometry_of"]

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True)
class Geometry:
    """How an image gets into the array; heights come before widths, and tops before lefts.

    Attributes:
        original: size of the image, upright.
        resized: its size after resizing.
        canvas: size of what it is then pasted onto; `resized` without a letterbox.
        pasted: where its corner is on the canvas.
        cut: the corner of the crop on the canvas.
        size: size of the array.
    """

    original: Size
    resized: Size
    canvas: Size
    pasted: Size
    cut: Size
    size: Size

    def points(self, xy: np.ndarray) -> np.ndarray:
        """Points of the original image, in pixels, as points of the array.

        Args:
            xy: float64, x and y in turn along the last axis; corners of pixels are whole numbers.
        """
        scale, offset = self._affine
        # Whole boxes (x1, y1, x2, y2) are two points.
        placed: np.ndarray = xy.reshape(-1, 2) * scale[::-1] + offset[::-1]
        return placed.reshape(xy.shape)

    def originals(self, xy: np.ndarray) -> np.ndarray:
        """Points of the array as points of the original image: the inverse of `points`."""
        scale, offset = self._affine
        found: np.ndarray = (xy.reshape(-1, 2) - offset[::-1]) / scale[::-1]
        return found.reshape(xy.shape)

    @property
    def visible(self) -> tuple[float, float, float, float]:
        """The part of the array that shows the image: left, top, right, bottom."""
        import numpy as np

        height, width = self.original
        left, top, right, bottom = self.points(np.array([0.0, 0.0, width, height])).tolist()
        return (
            max(left, 0.0),
            max(top, 0.0),
            min(right, float(self.size[1])),
            min(bottom, float(self.size[0])),
        )

    @property
    def _affine(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Scale and offset, vertical ones first."""
        scale = (self.resized[0] / self.original[0], self.resized[1] / self.original[1])
        return scale, (float(self.pasted[0] - self.cut[0]), float(self.pasted[1] - self.cut[1]))


def geometry_of(recipe: Recipe, original: Size) -> Geometry:
    """What a recipe does to an image of this size.

    Args:
        recipe: what is done to every image.
        original: height and width of the image, upright.
    """
    resized, canvas = _resized(recipe, original)
    pasted = ((canvas[0] - resized[0]) // 2, (canvas[1] - resized[1]) // 2)
    if recipe.crop is None:
        return Geometry(original, resized, canvas, pasted, (0, 0), canvas)
    size = (recipe.crop[0] or canvas[0], recipe.crop[1] or canvas[1])
    cut = (round((canvas[0] - size[0]) / 2), round((canvas[1] - size[1]) / 2))
    return Geometry(original, resized, canvas, pasted, cut, size)


def _resized(recipe: Recipe, original: Size) -> tuple[Size, Size]:
    """The size of the resized image, and that of the canvas it stands on."""
    if recipe.size is None:
        return original, original
    height, width = recipe.size
    if recipe.resize == "stretch":
        return recipe.size, recipe.size
    down, across = height / original[0], width / original[1]
    if recipe.resize == "shorter":
        # One side comes out exact and the other is cut to an integer, as in torchvision's Resize.
        if across < down:
            size = (height, max(width, original[1] * height // original[0]))
        else:
            size = (max(height, original[0] * width // original[1]), width)
        return size, size
    factor = min(across, down)
    return (max(1, round(original[0] * factor)), max(1, round(original[1] * factor))), recipe.size
