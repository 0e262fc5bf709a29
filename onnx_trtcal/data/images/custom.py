"""The user's own preprocessing of images, in place of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_trtcal.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CustomRecipe", "apply"]


def apply(function: Callable[[Any], Any], element: Any, where: str) -> Any:
    """What a caller's `transform` makes of an element.

    Raises:
        DataError: the transform raises; the message names the element.
    """
    try:
        return function(element)
    except Exception as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"the transform failed: {told}", where=where) from error


@dataclass(frozen=True)
class CustomRecipe:
    """What a caller's `transform` makes of an image.

    Attributes:
        function: receives a PIL image in mode RGB, upright; returns the array that the model takes, with or
            without a batch axis of length 1.
    """

    function: Callable[[Any], Any]

    def describe(self) -> str:
        """The function's name, as `the transform 'to_tensor'`."""
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return f"the transform {name!r}"
