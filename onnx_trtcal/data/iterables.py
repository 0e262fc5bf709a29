"""Calibration data given as Python objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_trtcal.data.arrays import is_array
from onnx_trtcal.data.elements import element_item
from onnx_trtcal.data.file_items import file_entry
from onnx_trtcal.data.images.custom import apply
from onnx_trtcal.data.items import items_in
from onnx_trtcal.errors import DataError
from onnx_trtcal.support.wording import with_article

if TYPE_CHECKING:
    from onnx_trtcal.data.items import Intake, Item

__all__ = ["AGAIN", "Elements", "elements_of", "items_of"]

AGAIN = "pass a list, an object that can be iterated over again, or a function that returns an iterable"


@dataclass(frozen=True)
class Elements:
    """How to go through data.

    Attributes:
        start: starts a pass over the elements.
        in_memory: whether all of them are in memory, so that they can be counted without a pass.
        name: what one of them is called, given its number.
    """

    start: Callable[[], Iterable[Any]]
    in_memory: bool
    name: Callable[[int], str] = "item {}".format


def elements_of(data: Any) -> Elements:
    """The elements of an array, a mapping, an iterable, a map-style data set, or a function that returns one.

    Raises:
        DataError: when the data is of another kind. An iterator raises it for a second pass.
    """
    if isinstance(data, Mapping) or is_array(data):
        return Elements(lambda: [data], in_memory=True, name=lambda _: "data")
    if isinstance(data, (list, tuple)):
        return Elements(lambda: data, in_memory=True)
    if isinstance(data, Iterator):
        return Elements(_Once(data).start, in_memory=False)
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes, bytearray)):
        return Elements(lambda: data, in_memory=False)
    # PyTorch's data sets have a length and indices, and may be callable for another purpose.
    if _is_indexed(data):
        return Elements(lambda: (data[i] for i in range(len(data))), in_memory=False)
    if callable(data):
        return Elements(lambda: _called(data), in_memory=False)
    raise DataError(
        f"data is of type {type(data).__name__}",
        fix="pass a path, an array, an iterable of arrays or of {input name: array}, or a function "
        "that returns one",
    )


def items_of(
    data: Any, intake: Intake, transform: Callable[[Any], Any] | None = None, where: str = ""
) -> tuple[Callable[[], Iterator[Item]], bool]:
    """How to get the items of Python data.

    An element is what `onnx_trtcal.data.elements` describes, or the path of a file.

    Args:
        data: whatever `elements_of` takes.
        intake: what it is read for.
        transform: makes of each element what is fed.
        where: what the data comes from, for messages.

    Returns:
        A function that starts a pass over the items, and whether all elements are in memory.

    Raises:
        DataError: when the data is of another kind. The items raise it for an unusable element, and an
            iterator for a second pass.
    """
    elements = elements_of(data)

    def items() -> Iterator[Item]:
        for index, given in enumerate(elements.start()):
            # A producer may reuse its buffer while samples are read ahead.
            element = given if elements.in_memory else _owned(given)
            name = elements.name(index)
            place = f"{where}, {name}" if where else name
            yield from _items(name, place, apply(transform, element, place) if transform else element, intake)

    return items, elements.in_memory and transform is None


def _is_indexed(data: Any) -> bool:
    return (
        hasattr(data, "__getitem__")
        and hasattr(data, "__len__")
        and not isinstance(data, (type, str, bytes, bytearray))
    )


class _Once:
    """An iterator that says clearly that it cannot be started twice."""

    def __init__(self, iterator: Iterator[Any]) -> None:
        self._iterator: Iterator[Any] | None = iterator

    def start(self) -> Iterator[Any]:
        iterator, self._iterator = self._iterator, None
        if iterator is None:
            raise DataError(
                "the data is a generator, which was consumed by the first pass over it", fix=AGAIN
            )
        return iterator


def _called(data: Callable[[], Any]) -> Iterable[Any]:
    result = data()
    if not isinstance(result, (Mapping, np.ndarray, str, bytes)):
        if isinstance(result, Iterable):
            return result
        if _is_indexed(result):
            return elements_of(result).start()
    raise DataError(
        f"the function given as data returned {with_article(type(result).__name__)}",
        fix="return an iterable of arrays or of {input name: array}",
    )


def _owned(element: Any) -> Any:
    if isinstance(element, Mapping):
        return {name: _owned(value) for name, value in element.items()}
    if type(element) in (tuple, list):
        return type(element)(map(_owned, element))
    return element.copy() if isinstance(element, np.ndarray) else element


def _items(name: str, where: str, element: Any, intake: Intake) -> Iterator[Item]:
    if isinstance(element, (str, Path)):
        path = Path(element)
        yield from items_in([replace(file_entry(path, name, intake), path=path.as_posix())])
    else:
        yield element_item(name, where, element, intake)
