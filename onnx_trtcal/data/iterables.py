"""Calibration data given as Python objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_trtcal.data.input_names import match_inputs, missing_inputs
from onnx_trtcal.data.items import InputData, Item, Recipes, file_item
from onnx_trtcal.data.readers.lazy_array import LoadedArray
from onnx_trtcal.errors import DataError

if TYPE_CHECKING:
    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["items_of"]

AGAIN = "pass a list, an object that can be iterated over again, or a function that returns an iterable"


def items_of(
    data: Any, inputs: Sequence[InputSpec], recipes: Recipes
) -> tuple[Callable[[], Iterator[Item]], bool]:
    """How to get the items of an array, a mapping, an iterable, or a callable that returns an iterable.

    An element is an array (for a model with one input), a mapping from input names to arrays, or the path of
    a file. Anything that NumPy turns into an array counts as one, PyTorch CPU tensors included.

    Returns:
        A function that starts a pass over the items, and whether all elements are in memory.

    Raises:
        DataError: when the data is of another kind. The items raise it for an unusable element, and an
            iterator for a second pass.
    """
    if isinstance(data, (Mapping, np.ndarray)) or _is_tensor(data):
        return lambda: iter((_item("data", data, inputs, recipes),)), True
    if isinstance(data, (list, tuple)):
        return lambda: _items(data, inputs, recipes, copy=False), True
    if isinstance(data, Iterator):
        once = _Once(data)
        return lambda: _items(once.start(), inputs, recipes, copy=True), False
    if isinstance(data, Iterable) and not isinstance(data, (bytes, bytearray)):
        return lambda: _items(data, inputs, recipes, copy=True), False
    if callable(data):
        return lambda: _items(_called(data), inputs, recipes, copy=True), False
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, (bytes, bytearray)):
        return lambda: _items((data[i] for i in range(len(data))), inputs, recipes, copy=True), False
    raise DataError(
        f"data is of type {type(data).__name__}",
        fix="pass a path, an array, an iterable of arrays or of {input name: array}, or a function "
        "that returns one",
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
    if isinstance(result, Iterable) and not isinstance(result, (Mapping, np.ndarray, str, bytes)):
        return result
    raise DataError(
        f"the function given as data returned a {type(result).__name__}",
        fix="return an iterable of arrays or of {input name: array}",
    )


def _items(
    elements: Iterable[Any], inputs: Sequence[InputSpec], recipes: Recipes, *, copy: bool
) -> Iterator[Item]:
    """`copy` keeps an element's values when its producer reuses the buffer while samples are read ahead."""
    for index, element in enumerate(elements):
        yield _item(f"item {index}", _owned(element) if copy else element, inputs, recipes)


def _owned(element: Any) -> Any:
    if isinstance(element, Mapping):
        return {name: _owned(value) for name, value in element.items()}
    return element.copy() if isinstance(element, np.ndarray) else element


def _item(name: str, element: Any, inputs: Sequence[InputSpec], recipes: Recipes) -> Item:
    if isinstance(element, (str, Path)):
        path = Path(element)
        return file_item(path, path.as_posix(), inputs, recipes)
    arrays = _input_arrays(name, element, inputs)
    return Item(name, name, lambda: arrays)


def _input_arrays(where: str, element: Any, inputs: Sequence[InputSpec]) -> dict[str, InputData]:
    if isinstance(element, Mapping):
        matched = match_inputs(inputs, [key for key in element if isinstance(key, str)])
        if len(matched) < len(inputs):
            raise missing_inputs(inputs, matched, map(str, element), "key", where)
        return {
            name: LoadedArray(_array(element[key], f"{where}, key {key!r}")) for name, key in matched.items()
        }
    if len(inputs) > 1:
        names = ", ".join(repr(spec.name) for spec in inputs)
        raise DataError(
            f"a {type(element).__name__} was given, the model has {len(inputs)} inputs: {names}",
            where=where,
            fix="give {input name: array}",
        )
    return {inputs[0].name: LoadedArray(_array(element, where))}


def _array(value: Any, where: str) -> np.ndarray:
    if isinstance(value, (tuple, list)) and any(
        isinstance(each, np.ndarray) or _is_tensor(each) for each in value
    ):
        raise DataError(
            f"a {type(value).__name__} of {len(value)} was given where an array is wanted",
            where=where,
            fix="give the array alone (without its label), or {input name: array}",
        )
    try:
        array = np.asarray(value)
    except Exception as error:
        raise DataError(
            f"a {type(value).__name__} is not an array: {error}", where=where, fix="give NumPy arrays"
        ) from error
    if array.dtype == object:
        raise DataError(
            f"a {type(value).__name__} is not a numeric array", where=where, fix="give NumPy arrays"
        )
    return array


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "__array__") and hasattr(value, "shape")
