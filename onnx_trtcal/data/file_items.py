"""Files as items: one file, files that hold one input each, or the numbered tensors of a folder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.data.elements import element_item
from onnx_trtcal.data.formats import content_of, format_names, read_arrays, read_rows
from onnx_trtcal.data.images.load import load_image
from onnx_trtcal.data.input_names import file_name, match_inputs, missing_inputs
from onnx_trtcal.data.items import Entry, InputData, Intake, Item, LazyImage, Rows
from onnx_trtcal.data.readers.lazy_array import LoadedArray
from onnx_trtcal.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from onnx_trtcal.data.images.custom import CustomRecipe
    from onnx_trtcal.data.images.recipe import Recipe
    from onnx_trtcal.data.readers.lazy_array import LazyArray
    from onnx_trtcal.data.remote import DataPath
    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["array_item", "file_entry", "folder_item", "joint_item", "unknown_kind"]

# What numpy.savez calls an array that it was given without a name.
_UNNAMED = "arr_0"


def file_entry(path: DataPath, name: str, intake: Intake) -> Entry:
    """One file as one item, or as many where it holds rows.

    Args:
        path: the file.
        name: what its samples are called.
        intake: what it is read for.

    Raises:
        DataError: when its format is unknown, or cannot hold all of the model's inputs.
    """
    content, inputs = content_of(path), intake.inputs
    if content is None:
        raise unknown_kind(path)
    if content == "arrays":
        return Item(name, str(path), partial(_open_arrays, path, inputs))
    if content == "rows":
        return Rows(name, str(path), partial(_row_items, path, intake))
    if len(inputs) > 1:
        raise DataError(
            f"a {path.suffix.lower()} file holds one array, the model has {len(inputs)} inputs: "
            + ", ".join(repr(spec.name) for spec in inputs),
            where=str(path),
            fix=f"give {format_names('arrays')} files with a key per input, or a directory with a sub-folder per "
            f"input: {', '.join(map(file_name, inputs))}",
        )
    return joint_item({inputs[0].name: path}, name, str(path), intake)


def unknown_kind(path: DataPath) -> DataError:
    """The error for a file whose name says that it is not calibration data."""
    return DataError(
        f"a {path.suffix.lower() or 'nameless'} file is not calibration data",
        where=str(path),
        fix=f"usable are lists of files (.txt, .csv), loader.py:function, {format_names()}",
    )


def joint_item(paths: Mapping[str, DataPath], name: str, where: str, intake: Intake) -> Item:
    """Files that hold one input each, together one item."""
    contents = {spec: content_of(paths[spec.name]) for spec in intake.inputs}
    if set(contents.values()) == {"array"}:
        files = tuple(_ArrayFile(name, _kept_path(path)) for name, path in paths.items())
        return Item(name, where, files[0] if len(files) == 1 else partial(_open_all, files))
    chosen = {spec.name: intake.recipes(spec) for spec, content in contents.items() if content == "image"}
    return Item(name, where, partial(_open_files, paths, chosen), single=len(chosen) == len(paths))


def array_item(path: str, name: str, input_name: str) -> Item:
    """A local file that holds the array of a model's only input.

    Args:
        path: the file, which is known to hold one array.
        name: what its samples are called.
        input_name: the input.
    """
    return Item(name, path, _ArrayFile(input_name, path))


def folder_item(paths: Sequence[DataPath], name: str, inputs: Sequence[InputSpec]) -> Item:
    """Files of one folder with an array each, in the order of their numbers, together one item."""
    return Item(name, str(paths[0].parent), partial(_open_numbered, paths, inputs))


@dataclass(slots=True)
class _ArrayFile:
    """A file that holds the array of one input. What its header says is kept, so that it is read only once.

    Attributes:
        input_name: the input.
        path: the file; a text where it is a local one, of which there may be millions.
        known: the array, unless it is not known yet or was read whole at once.
    """

    input_name: str
    path: str | DataPath
    known: LazyArray | None = None

    def __call__(self) -> Mapping[str, InputData]:
        """The data of the input, as an item gives it."""
        return {self.input_name: self.open()}

    def open(self) -> LazyArray:
        """The array."""
        if self.known is not None:
            return self.known
        path = Path(self.path) if isinstance(self.path, str) else self.path
        _, array = _only_array(path, str(self.path))
        if not isinstance(array, LoadedArray):
            self.known = array
        return array


def _kept_path(path: DataPath) -> str | DataPath:
    return str(path) if isinstance(path, Path) else path


def _open_all(files: Sequence[_ArrayFile]) -> Mapping[str, InputData]:
    return {file.input_name: file.open() for file in files}


def _row_items(path: DataPath, intake: Intake) -> Iterator[Item]:
    number = -1
    for number, (place, row) in enumerate(read_rows(path, str(path))):
        yield element_item(f"[{number}]", f"{path}, {place}", row, intake)
    if number < 0:
        raise DataError("the file holds no samples", where=str(path), fix="save at least one row of inputs")


def _open_arrays(path: DataPath, inputs: Sequence[InputSpec]) -> Mapping[str, InputData]:
    arrays = read_arrays(path, str(path))
    if len(inputs) == 1 and list(arrays) == [_UNNAMED]:
        return {inputs[0].name: arrays[_UNNAMED]}
    matched = match_inputs(inputs, arrays)
    if len(matched) < len(inputs):
        raise missing_inputs(inputs, matched, arrays, "key", str(path))
    return {name: arrays[key] for name, key in matched.items()}


def _open_files(
    paths: Mapping[str, DataPath], recipes: Mapping[str, Recipe | CustomRecipe]
) -> Mapping[str, InputData]:
    return {name: _open_file(path, recipes.get(name)) for name, path in paths.items()}


def _open_file(path: DataPath, recipe: Recipe | CustomRecipe | None) -> InputData:
    where = str(path)
    if recipe:
        return LazyImage(partial(load_image, path, recipe, where))
    if content_of(path) != "array":
        raise DataError(
            f"the file holds an array per key, and one input's own is wanted: in {format_names('image', 'array')}",
            where=where,
        )
    _, array = _only_array(path, where)
    return array


def _only_array(path: DataPath, where: str) -> tuple[str, LazyArray]:
    ((name, array),) = read_arrays(path, where).items()
    return name, array


def _open_numbered(paths: Sequence[DataPath], inputs: Sequence[InputSpec]) -> Mapping[str, InputData]:
    """Arrays by the names they carry where those are the inputs', else by the number in the file name."""
    arrays = [_only_array(path, str(path)) for path in paths]
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
