"""Items: what one file, or files that belong together, or one element, holds for each of the model's inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnx_trtcal.data.images.custom import CustomRecipe
from onnx_trtcal.data.images.recipe import Recipe
from onnx_trtcal.data.readers.lazy_array import LazyArray
from onnx_trtcal.support.input_spec import InputSpec

if TYPE_CHECKING:
    from onnx_trtcal.data.images.load import LoadedImage
    from onnx_trtcal.data.notes import Notes

__all__ = ["Entry", "InputData", "Intake", "Item", "LazyImage", "Recipes", "Rows", "items_in"]

Recipes = Callable[[InputSpec], Recipe | CustomRecipe]


@dataclass(frozen=True, slots=True)
class LazyImage:
    """An image that is one sample; its shape is unknown until `load` decodes and preprocesses it."""

    load: Callable[[], LoadedImage]


InputData = LazyArray | LazyImage


@dataclass(frozen=True, slots=True)
class Item:
    """A file, a set of files that belong together, or an element of an iterable: one sample or a stack.

    Attributes:
        name: what its samples are called; those of a stack get `[i]` after it.
        where: what messages call it.
        open: gives the data of each of the model's inputs, by the input's name.
        path: the name with the path that the data was given by, which labels are found with; empty where that is
            the name.
        single: whether it is known to be one sample before it is opened.
    """

    name: str
    where: str
    open: Callable[[], Mapping[str, InputData]]
    path: str = ""
    single: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """A file that holds many items, which come out one after the other.

    Attributes:
        name: what its samples are called, with `[row]` after it.
        where: what messages call it.
        open: starts reading; its items are named by what follows the file's name in theirs. It may be called again.
        path: as that of an item.
    """

    name: str
    where: str
    open: Callable[[], Iterator[Item]]
    path: str = ""


Entry = Item | Rows


@dataclass(frozen=True)
class Intake:
    """What data is read for.

    Attributes:
        inputs: the model's inputs.
        recipes: how an image becomes the array of an input; asked only for inputs that get images.
        notes: receives what is worth saying about the data while it is read.
    """

    inputs: Sequence[InputSpec]
    recipes: Recipes
    notes: Notes


def items_in(entries: Iterable[Entry]) -> Iterator[Item]:
    """The items of all entries, in order."""
    for entry in entries:
        if isinstance(entry, Rows):
            for item in entry.open():
                path = entry.path + item.name if entry.path else ""
                yield replace(item, name=entry.name + item.name, path=path)
        else:
            yield entry
