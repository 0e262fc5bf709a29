"""What was found in one file or item, held against the model's inputs, and made into samples."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.data.casts import cast
from onnx_trtcal.data.layout import Feeding, Shape, is_fixed, shape_text
from onnx_trtcal.data.readers import Column
from onnx_trtcal.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["Item", "Part", "Picture", "Sample", "count_samples", "sample_tasks"]


@dataclass(frozen=True)
class Sample:
    """One sample: its name, and per input the array as fed, without a batch axis where the input has one."""

    name: str
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Picture:
    """An image that is one sample, its shape unknown until `load` decodes and preprocesses it."""

    load: Callable[[], np.ndarray]


Part = Column | Picture


@dataclass(frozen=True)
class Item:
    """A file, a set of files that belong together, or an element of an iterable: one sample or a stack.

    Attributes:
        name: what its samples are called; those of a stack get `[i]` after it.
        where: what messages call it.
        open: gives one part for each of the model's inputs.
    """

    name: str
    where: str
    open: Callable[[], Mapping[str, Part]]


def count_samples(item: Item, inputs: Sequence[InputSpec], feeding: Feeding) -> int:
    """The number of samples in an item, from array headers alone.

    Raises:
        DataError: when shapes do not fit the model, or inputs hold different numbers of samples.
    """
    found = _stack(item, item.open(), inputs, feeding)
    return 1 if found.length is None else found.length


def sample_tasks(item: Item, inputs: Sequence[InputSpec], feeding: Feeding) -> Iterator[Callable[[], Sample]]:
    """The item's samples in order, each as a call that does the work left: decoding, casting, checking.

    Rows of stacks are read as the iterator advances, so it has to be advanced in one thread; the calls may be
    made in any.

    Raises:
        DataError: as `count_samples`, and when a file is damaged; the calls raise it for values that do not
            fit the model.
    """
    parts = item.open()
    found = _stack(item, parts, inputs, feeding)
    if found.length is None:
        yield partial(_single, item, parts, inputs, feeding)
        return
    columns = {name: part for name, part in parts.items() if not isinstance(part, Picture)}
    shared = {name: column.whole() for name, column in columns.items() if found.axes[name] == 0}
    with ExitStack() as stack:
        rows = {
            name: stack.enter_context(closing(column.rows(found.axes[name])))
            for name, column in columns.items()
            if name not in shared
        }
        for index in range(found.length):
            arrays = shared | {name: next(iterator) for name, iterator in rows.items()}
            yield partial(_sample, f"{item.name}[{index}]", f"{item.where}[{index}]", arrays, inputs, feeding)


@dataclass(frozen=True)
class _Stack:
    """How an item's arrays are cut: axes to iterate over per input, and samples (None: one, uncut)."""

    axes: Mapping[str, int]
    length: int | None


def _stack(item: Item, parts: Mapping[str, Part], inputs: Sequence[InputSpec], feeding: Feeding) -> _Stack:
    axes: dict[str, int] = {}
    lengths: dict[str, int] = {}
    for spec in inputs:
        part = parts[spec.name]
        axes[spec.name] = 0
        if isinstance(part, Picture):
            continue
        axes[spec.name] = _leading_axes(spec, part.shape, feeding, _where(item.where, spec, inputs))
        if axes[spec.name]:
            lengths[spec.name] = int(np.prod(part.shape[: axes[spec.name]]))
    if set(lengths.values()) <= {1}:
        return _Stack(axes, None)
    if 0 in lengths.values():
        raise DataError("the array holds no samples: an axis has length 0", where=item.where)
    single = [spec.name for spec in inputs if axes[spec.name] == 0 and (spec.shape or not spec.ranked)]
    if len(set(lengths.values())) > 1 or single:
        counts = [f"{name!r} holds {length}" for name, length in lengths.items()]
        raise DataError(
            "the inputs hold different numbers of samples: "
            + ", ".join([*counts, *(f"{name!r} holds one" for name in single)]),
            where=item.where,
            fix="give every input an array with the same length along axis 0",
        )
    return _Stack(axes, next(iter(lengths.values())))


def _leading_axes(spec: InputSpec, shape: tuple[int, ...], feeding: Feeding, where: str) -> int:
    """How many leading axes of the array count samples; the rule is in layout's docstring."""
    if not spec.ranked:
        return 0
    wanted = feeding.sample_shape(spec)
    extra = len(shape) - len(wanted)
    if feeding.verbatim and extra == -1 and _can_lead_with_one(spec) and _fits(shape, spec.shape[1:]):
        return 0
    if not 0 <= extra <= (1 if feeding.verbatim else 2) or not _fits(shape[extra:], wanted):
        raise _misfit(spec, shape, feeding, where)
    return extra


def _can_lead_with_one(spec: InputSpec) -> bool:
    return bool(spec.shape) and (spec.shape[0] == 1 or not is_fixed(spec.shape[0]))


def _fits(shape: Sequence[int], wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        not is_fixed(dim) or dim == size for size, dim in zip(shape, wanted, strict=True)
    )


def _single(item: Item, parts: Mapping[str, Part], inputs: Sequence[InputSpec], feeding: Feeding) -> Sample:
    arrays = {}
    for spec in inputs:
        part = parts[spec.name]
        arrays[spec.name] = part.load() if isinstance(part, Picture) else part.whole()
    return _sample(item.name, item.where, arrays, inputs, feeding)


def _sample(
    name: str, where: str, arrays: Mapping[str, np.ndarray], inputs: Sequence[InputSpec], feeding: Feeding
) -> Sample:
    fed = {}
    for spec in inputs:
        wanted = feeding.sample_shape(spec)
        place = _where(where, spec, inputs)
        array = cast(arrays[spec.name], spec.dtype, place)
        fed[spec.name] = array
        if not spec.ranked:
            continue
        while array.ndim > len(wanted) and array.shape[0] == 1:
            array = array[0]
        if array.ndim == len(wanted) - 1 and feeding.verbatim and _can_lead_with_one(spec):
            array = array[np.newaxis]
        if not _fits(array.shape, wanted):
            raise _misfit(spec, array.shape, feeding, place)
        fed[spec.name] = array
    return Sample(name, fed)


def _where(where: str, spec: InputSpec, inputs: Sequence[InputSpec]) -> str:
    return f"{where}, input {spec.name!r}" if len(inputs) > 1 else where


def _misfit(spec: InputSpec, shape: tuple[int, ...], feeding: Feeding, where: str) -> DataError:
    wanted = feeding.sample_shape(spec)
    if feeding.verbatim:
        forms = f"{shape_text(spec.shape)} (fed as given, because {feeding.verbatim})"
    else:
        forms = f"{shape_text(wanted)} per sample, or a stack of them along axis 0"
    return DataError(
        f"the array has shape {shape_text(shape)}, the model's input {spec.name!r} wants {forms}",
        where=where,
        fix=_hint(wanted, shape),
    )


def _hint(wanted: Shape, shape: tuple[int, ...]) -> str:
    """Recognises the usual mistakes: other axis order, a missing axis of length 1, flattened values."""
    rank = len(wanted)
    for drop in (0, 1, 2):
        sample = shape[drop:]
        if rank == 3 and len(sample) == 3:
            height, width, channels = sample
            if channels in (1, 3, 4) and _fits((channels, height, width), wanted):
                return f"the array is HWC, the model wants CHW: save array.transpose({_axes(drop, 2, 0, 1)})"
            if sample[0] in (1, 3, 4) and _fits((sample[1], sample[2], sample[0]), wanted):
                return f"the array is CHW, the model wants HWC: save array.transpose({_axes(drop, 1, 2, 0)})"
        for axis, dim in enumerate(wanted):
            if dim == 1 and _fits((*sample[:axis], 1, *sample[axis:]), wanted):
                return f"an axis of length 1 is missing: save numpy.expand_dims(array, {axis + drop})"
        sizes = [dim for dim in wanted if isinstance(dim, int) and is_fixed(dim)]
        if sample and len(sizes) == rank and int(np.prod(sample)) == int(np.prod(sizes)):
            leading = ", ".join(map(str, (*shape[:drop], *sizes)))
            return f"the number of values is right: save array.reshape({leading}) if their order is"
    return "save arrays of the shape that the model wants"


def _axes(drop: int, *order: int) -> str:
    return ", ".join(map(str, (*range(drop), *(axis + drop for axis in order))))
