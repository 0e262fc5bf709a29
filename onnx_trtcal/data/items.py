"""Items: what one file, or files that belong together, hold for each of the model's inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from onnx_trtcal.data.formats import content_of, format_names, read_arrays
from onnx_trtcal.data.images.load import load_image
from onnx_trtcal.data.images.recipe import Recipe
from onnx_trtcal.data.input_names import match_inputs, missing_inputs
from onnx_trtcal.data.readers.lazy_array import LazyArray
from onnx_trtcal.errors import DataError
from onnx_trtcal.support.input_spec import InputSpec

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

__all__ = ["InputData", "Item", "LazyImage", "Recipes", "file_item", "folder_item", "joint_item"]

Recipes = Callable[[InputSpec], Recipe]

# What numpy.savez calls an array that it was given without a name.
_UNNAMED = "arr_0"


@dataclass(frozen=True)
class LazyImage:
    """An image that is one sample; its shape is unknown until `load` decodes and preprocesses it."""

    load: Callable[[], np.ndarray]


InputData = LazyArray | LazyImage


@dataclass(frozen=True)
class Item:
    """A file, a set of files that belong together, or an element of an iterable: one sample or a stack.

    Attributes:
        name: what its samples are called; those of a stack get `[i]` after it.
        where: what messages call it.
        open: gives the data of each of the model's inputs, by the input's name.
    """

    name: str
    where: str
    open: Callable[[], Mapping[str, InputData]]


def file_item(path: Path, name: str, inputs: Sequence[InputSpec], recipes: Recipes) -> Item:
    """One file as one item.

    Args:
        path: the file.
        name: what its samples are called.
        inputs: the model's inputs.
        recipes: how an image becomes the array of an input; asked only for an image.

    Raises:
        DataError: when its format is unknown, or cannot hold all of the model's inputs.
    """
    suffix = path.suffix.lower()
    content = content_of(path)
    if content is None:
        raise DataError(
            f"a {suffix or 'nameless'} file is not calibration data",
            where=str(path),
            fix=f"usable are {format_names()}",
        )
    if content == "arrays":
        return Item(name, str(path), partial(_open_arrays, path, inputs))
    if len(inputs) > 1:
        raise DataError(
            f"a {suffix} file holds one array, the model has {len(inputs)} inputs: "
            + ", ".join(repr(spec.name) for spec in inputs),
            where=str(path),
            fix=f"give {format_names('arrays')} files with a key per input, or a directory with a sub-folder per "
            "input",
        )
    return joint_item({inputs[0].name: path}, name, str(path), inputs, recipes)


def joint_item(
    paths: Mapping[str, Path], name: str, where: str, inputs: Sequence[InputSpec], recipes: Recipes
) -> Item:
    """Files that hold one input each, together one item."""
    chosen = {spec.name: recipes(spec) for spec in inputs if content_of(paths[spec.name]) == "image"}
    return Item(name, where, partial(_open_files, paths, chosen))


def folder_item(paths: Sequence[Path], name: str, inputs: Sequence[InputSpec]) -> Item:
    """Files of one folder with an array each, in the order of their numbers, together one item."""
    return Item(name, str(paths[0].parent), partial(_open_numbered, paths, inputs))


def _open_arrays(path: Path, inputs: Sequence[InputSpec]) -> Mapping[str, InputData]:
    arrays = read_arrays(path, str(path))
    if len(inputs) == 1 and list(arrays) == [_UNNAMED]:
        return {inputs[0].name: arrays[_UNNAMED]}
    matched = match_inputs(inputs, arrays)
    if len(matched) < len(inputs):
        raise missing_inputs(inputs, matched, arrays, "key", str(path))
    return {name: arrays[key] for name, key in matched.items()}


def _open_files(paths: Mapping[str, Path], recipes: Mapping[str, Recipe]) -> Mapping[str, InputData]:
    return {name: _open_file(path, recipes.get(name)) for name, path in paths.items()}


def _open_file(path: Path, recipe: Recipe | None) -> InputData:
    where = str(path)
    if recipe:
        return LazyImage(partial(load_image, path, recipe, where))
    if content_of(path) != "array":
        raise DataError(
            f"the file holds an array per key, and one input's own is wanted: in {format_names('image', 'array')}",
            where=where,
        )
    _, array = _only_array(path)
    return array


def _only_array(path: Path) -> tuple[str, LazyArray]:
    ((name, array),) = read_arrays(path, str(path)).items()
    return name, array


def _open_numbered(paths: Sequence[Path], inputs: Sequence[InputSpec]) -> Mapping[str, InputData]:
    """Arrays by the names they carry where those are the inputs', else by the number in the file name."""
    arrays = [_only_array(path) for path in paths]
    by_name = dict(arrays)
    if all(spec.name in by_name for spec in inputs):
        return {spec.name: by_name[spec.name] for spec in inputs}
    if len(arrays) != len(inputs):
        found = [path.name for path in paths]
        raise DataError(
            f"the model has {len(inputs)} inputs, the folder {len(found)}: {', '.join(found)}",
            where=str(paths[0].parent),
            fix="give input_0.pb, input_1.pb … in the order of the model's inputs",
        )
    return {spec.name: array for spec, (_, array) in zip(inputs, arrays, strict=True)}
