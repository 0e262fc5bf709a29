"""Files as items: what each kind of file holds for which input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from onnx_trtcal.data.images.load import load_image
from onnx_trtcal.data.images.recipe import Recipe
from onnx_trtcal.data.input_names import match_inputs, missing_inputs
from onnx_trtcal.data.readers import npy_column, npz_columns, pb_tensor
from onnx_trtcal.data.samples import Item, Part, Picture
from onnx_trtcal.errors import DataError
from onnx_trtcal.support.input_spec import InputSpec

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FORMATS", "Recipes", "file_item", "folder_item", "is_image", "is_usable", "joint_item"]

Recipes = Callable[[InputSpec], Recipe]

FORMATS = "images (PNG, JPEG, BMP, WebP, TIFF, GIF), .npy, .npz and ONNX .pb tensors"
_IMAGES = frozenset(
    f".{suffix}"
    for suffix in (
        *("png", "jpg", "jpeg", "jpe", "jfif", "bmp", "dib", "webp", "tif", "tiff"),
        *("gif", "ppm", "pgm", "pbm", "pnm", "jp2", "avif"),
    )
)
_ARRAYS = frozenset({".npy", ".npz", ".pb"})


def is_image(path: Path) -> bool:
    """Whether the file's suffix is an image's."""
    return path.suffix.lower() in _IMAGES


def is_usable(path: Path) -> bool:
    """Whether the file's suffix is one that data comes in."""
    return path.suffix.lower() in _IMAGES | _ARRAYS


def file_item(path: Path, name: str, inputs: Sequence[InputSpec], recipes: Recipes) -> Item:
    """One file as one item.

    Raises:
        DataError: when its kind is unknown, or cannot hold all of the model's inputs.
    """
    suffix = path.suffix.lower()
    if not is_usable(path):
        raise DataError(
            f"a {suffix or 'nameless'} file is no calibration data",
            where=str(path),
            fix=f"usable are {FORMATS}",
        )
    if suffix == ".npz":
        return Item(name, str(path), partial(_open_npz, path, inputs))
    if len(inputs) > 1:
        raise DataError(
            f"a {suffix} file holds one array, the model has {len(inputs)} inputs: "
            + ", ".join(repr(spec.name) for spec in inputs),
            where=str(path),
            fix="give .npz files with a key per input, or a directory with a sub-folder per input",
        )
    return joint_item({inputs[0].name: path}, name, str(path), inputs, recipes)


def joint_item(
    paths: Mapping[str, Path], name: str, where: str, inputs: Sequence[InputSpec], recipes: Recipes
) -> Item:
    """Files that hold one input each, together one item."""
    chosen = {spec.name: recipes(spec) for spec in inputs if is_image(paths[spec.name])}
    return Item(name, where, partial(_open_parts, paths, chosen))


def folder_item(paths: Sequence[Path], name: str, inputs: Sequence[InputSpec]) -> Item:
    """The ONNX tensors of one folder, in the order of their numbers, together one item."""
    return Item(name, str(paths[0].parent), partial(_open_tensors, paths, inputs))


def _open_npz(path: Path, inputs: Sequence[InputSpec]) -> Mapping[str, Part]:
    columns = npz_columns(path, str(path))
    if len(inputs) == 1 and list(columns) == ["arr_0"]:
        return {inputs[0].name: columns["arr_0"]}
    matched = match_inputs(inputs, columns)
    if len(matched) < len(inputs):
        raise missing_inputs(inputs, matched, columns, "key", str(path))
    return {name: columns[key] for name, key in matched.items()}


def _open_parts(paths: Mapping[str, Path], recipes: Mapping[str, Recipe]) -> Mapping[str, Part]:
    return {name: _open_part(path, recipes.get(name)) for name, path in paths.items()}


def _open_part(path: Path, recipe: Recipe | None) -> Part:
    where = str(path)
    if is_image(path) and recipe:
        return Picture(partial(load_image, path, recipe, where))
    if path.suffix.lower() == ".npy":
        return npy_column(path, where)
    if path.suffix.lower() == ".pb":
        return pb_tensor(path, where)[1]
    raise DataError("only .npy, .pb and image files hold the one array of an input", where=where)


def _open_tensors(paths: Sequence[Path], inputs: Sequence[InputSpec]) -> Mapping[str, Part]:
    """Tensors by the names they carry where those are the inputs', else by the number in the file name."""
    tensors = [pb_tensor(path, str(path)) for path in paths]
    by_name = dict(tensors)
    if all(spec.name in by_name for spec in inputs):
        return {spec.name: by_name[spec.name] for spec in inputs}
    if len(tensors) != len(inputs):
        found = [path.name for path in paths]
        raise DataError(
            f"the model has {len(inputs)} inputs, the folder {len(found)}: {', '.join(found)}",
            where=str(paths[0].parent),
            fix="give input_0.pb, input_1.pb … in the order of the model's inputs",
        )
    return {spec.name: column for spec, (_, column) in zip(inputs, tensors, strict=True)}
