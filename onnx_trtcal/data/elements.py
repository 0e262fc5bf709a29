"""One element of Python data, or one row of a file, as data for each of the model's inputs.

- `{input name: array}`; keys that are not inputs are dropped. A model with one input also takes the only image of a
  mapping whose keys are other names, as the rows of image data sets are.
- A tuple or list of arrays and other things, as `(image, label)`: the first ones feed the inputs in their order, the
  rest is dropped.
- An array or tensor of any framework, or nested lists of numbers, for a model with one input.
- A PIL image, preprocessed as image files are.

What is dropped is said once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from onnx_trtcal.data.arrays import is_array, to_array
from onnx_trtcal.data.images.load import load_image
from onnx_trtcal.data.input_names import match_inputs, missing_inputs
from onnx_trtcal.data.items import InputData, Intake, Item, LazyImage
from onnx_trtcal.data.readers.lazy_array import LoadedArray
from onnx_trtcal.errors import DataError
from onnx_trtcal.support.wording import with_article

if TYPE_CHECKING:
    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["element_item"]


def element_item(name: str, where: str, element: Any, intake: Intake) -> Item:
    """An element as an item.

    Args:
        name: what its samples are called.
        where: what messages call it.
        element: one of the kinds in the module's docstring.
        intake: what it is read for.

    Raises:
        DataError: when the element does not tell what feeds each input.
    """
    data = _data(where, element, intake)
    return Item(name, where, lambda: data)


def _data(where: str, element: Any, intake: Intake) -> dict[str, InputData]:
    inputs = intake.inputs
    if isinstance(element, Mapping):
        return _of_mapping(where, element, intake)
    fields = getattr(element, "_fields", ())
    if isinstance(element, tuple) and len(match_inputs(inputs, fields)) == len(inputs):
        return _of_mapping(where, dict(zip(fields, element, strict=True)), intake)
    if isinstance(element, (tuple, list)) and any(map(_is_data, element)):
        return _of_tuple(where, element, intake)
    if len(inputs) > 1:
        raise DataError(
            f"{with_article(type(element).__name__)} was given, the model has {len(inputs)} inputs: {_names(inputs)}",
            where=where,
            fix="give {input name: array}",
        )
    return {inputs[0].name: _value(element, inputs[0], where, intake)}


def _of_mapping(where: str, element: Mapping[Any, Any], intake: Intake) -> dict[str, InputData]:
    inputs = intake.inputs
    keys = [key for key in element if isinstance(key, str)]
    matched = match_inputs(inputs, keys)
    images = [key for key in keys if _is_image(element[key])]
    if len(inputs) == 1 and not matched and len(images) == 1:
        matched = {inputs[0].name: images[0]}
        intake.notes.once("image key", f"{images[0]!r} of each element feeds the input {inputs[0].name!r}")
    if len(matched) < len(inputs):
        raise missing_inputs(inputs, matched, map(str, element), "key", where)
    extra = [str(key) for key in element if key not in matched.values()]
    if extra:
        intake.notes.once("keys", f"not inputs of the model, and dropped: {', '.join(map(repr, extra))}")
    return {
        spec.name: _value(element[matched[spec.name]], spec, f"{where}, key {matched[spec.name]!r}", intake)
        for spec in inputs
    }


def _of_tuple(where: str, element: Sequence[Any], intake: Intake) -> dict[str, InputData]:
    inputs, kind = intake.inputs, f"{with_article(type(element).__name__)} of {len(element)}"
    if isinstance(element[0], Mapping):
        _say_dropped(kind, element[:1], element[1:], intake)
        return _of_mapping(where, element[0], intake)
    fed, rest = element[: len(inputs)], element[len(inputs) :]
    if len(fed) < len(inputs) or not all(map(_is_data, fed)):
        raise DataError(
            f"{kind} was given, the model has {len(inputs)} input{'s' * (len(inputs) > 1)}: {_names(inputs)}",
            where=where,
            fix="give the arrays of the inputs first, in the order of the model, or {input name: array}",
        )
    if any(_is_data(each) and _shape(each) == _shape(fed[0]) for each in rest):
        raise DataError(
            f"{kind} was given, in which more than {len(inputs)} could be the model's "
            f"input{'s' * (len(inputs) > 1)} {_names(inputs)}: they have the same shape {_shape(fed[0])}",
            where=where,
            fix="give {input name: array}, or say which: transform=lambda element: element[0]",
        )
    _say_dropped(kind, fed, rest, intake)
    return {
        spec.name: _value(value, spec, f"{where}[{index}]", intake)
        for index, (spec, value) in enumerate(zip(inputs, fed, strict=True))
    }


def _say_dropped(kind: str, fed: Sequence[Any], rest: Sequence[Any], intake: Intake) -> None:
    if rest:
        what = "the first is fed" if len(fed) == 1 else f"the first {len(fed)} are fed"
        dropped = ", ".join(type(each).__name__ for each in rest)
        intake.notes.once("tuple", f"each element is {kind}: {what}, and the rest ({dropped}) is dropped")


def _value(value: Any, spec: InputSpec, where: str, intake: Intake) -> InputData:
    if not _is_image(value):
        return LoadedArray(to_array(value, where))
    recipe = intake.recipes(spec)
    place = f" for {spec.name!r}" * (len(intake.inputs) > 1)
    intake.notes.once(f"images {spec.name}", f"images{place}: {recipe.describe()}")
    source = value["bytes"] if isinstance(value, Mapping) else value
    return LazyImage(partial(load_image, source, recipe, where))


def _is_data(value: Any) -> bool:
    return is_array(value) or _is_image(value) or isinstance(value, Mapping)


def _is_image(value: Any) -> bool:
    """Whether it is a PIL image, or an encoded image as a row of an image data set holds it."""
    if isinstance(value, Mapping):
        return isinstance(value.get("bytes"), bytes)
    pillow = sys.modules.get("PIL.Image")  # without Pillow in use, nothing is an image of its
    return pillow is not None and isinstance(value, pillow.Image)


def _shape(value: Any) -> tuple[int, ...]:
    shape = getattr(value, "size", ()) if _is_image(value) else getattr(value, "shape", ())
    return tuple(shape) if isinstance(shape, Iterable) else ()


def _names(inputs: Sequence[InputSpec]) -> str:
    return ", ".join(repr(spec.name) for spec in inputs)
