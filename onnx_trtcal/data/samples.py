"""Items as samples: each input's data is checked against the model and split along the axes that count samples."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.data.casts import cast
from onnx_trtcal.data.items import InputData, Item, LazyImage
from onnx_trtcal.data.readers.lazy_array import LoadedArray
from onnx_trtcal.data.shape_mismatch import fits, leading_axis_may_be_added, shape_mismatch
from onnx_trtcal.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from onnx_trtcal.data.images.geometry import Geometry
    from onnx_trtcal.data.layout import Feeding
    from onnx_trtcal.data.readers.lazy_array import LazyArray
    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["OpenedItem", "Sample", "count_samples", "sample_tasks"]


@dataclass(frozen=True)
class Sample:
    """One item of the data.

    Attributes:
        name: what it is called.
        arrays: per input the array as fed, without the item axis where there is one.
        geometry: input that is made from an image -> where the image lies in its array, as far as that is known.
        path: its name with the path that the data was given by, which labels are found with; empty where that is
            the name.
    """

    name: str
    arrays: Mapping[str, np.ndarray]
    geometry: Mapping[str, Geometry] = field(default_factory=dict)
    path: str = ""


def count_samples(item: Item, inputs: Sequence[InputSpec], feeding: Feeding) -> int:
    """The number of samples in an item, from array headers alone.

    Raises:
        DataError: when shapes do not fit the model, or inputs hold different numbers of samples.
    """
    return 1 if item.single else OpenedItem.of(item, inputs, feeding).count


def sample_tasks(item: Item, inputs: Sequence[InputSpec], feeding: Feeding) -> Iterator[Callable[[], Sample]]:
    """The item's samples in order, see `OpenedItem.tasks`."""
    return OpenedItem.of(item, inputs, feeding).tasks()


@dataclass(frozen=True)
class OpenedItem:
    """An item whose shapes are known.

    Attributes:
        item: the item.
        data: what it holds for each input.
        inputs: the model's inputs.
        feeding: how they are fed.
        split: how it splits into samples.
    """

    item: Item
    data: Mapping[str, InputData]
    inputs: Sequence[InputSpec]
    feeding: Feeding
    split: _Split

    @classmethod
    def of(cls, item: Item, inputs: Sequence[InputSpec], feeding: Feeding) -> OpenedItem:
        """Opens an item.

        Raises:
            DataError: when shapes do not fit the model, or inputs hold different numbers of samples.
        """
        data = item.open()
        return cls(item, data, inputs, feeding, _split(item, data, inputs, feeding))

    @property
    def count(self) -> int:
        """How many samples it holds."""
        return 1 if self.split.count is None else self.split.count

    def tasks(self, picks: Sequence[int] | None = None) -> Iterator[Callable[[], Sample]]:
        """The samples in order, each as a call that does the work left: decoding, casting, checking.

        Rows of stacks are read as the iterator advances, so it has to be advanced in one thread; the calls may be
        made in any.

        Args:
            picks: the positions of those to give, ascending; rows between them are not read where the file allows
                that. None for all.

        Raises:
            DataError: when a file is damaged; the calls raise it for values that do not fit the model.
        """
        chosen = range(self.count) if picks is None else picks
        if not len(chosen):
            return iter(())
        if self.split.count is None:
            return iter([partial(_single, self.item, self.data, self.inputs, self.feeding)])
        return _rows(self, chosen)


def _rows(opened: OpenedItem, picks: Sequence[int]) -> Iterator[Callable[[], Sample]]:
    item, data, inputs, feeding = opened.item, opened.data, opened.inputs, opened.feeding
    split = opened.split
    stacks = {name: array for name, array in data.items() if not isinstance(array, LazyImage)}
    shared = {name: array.read() for name, array in stacks.items() if split.axes[name] == 0}
    with ExitStack() as closers:
        rows = {
            name: closers.enter_context(closing(_leading(array, feeding.axes[name], split.axes[name], picks)))
            for name, array in stacks.items()
            if name not in shared
        }
        for index in picks:
            arrays = shared | {name: next(iterator) for name, iterator in rows.items()}
            yield partial(_sample, item, f"[{index}]", arrays, inputs, feeding)


@dataclass(frozen=True)
class _Split:
    """How an item splits into samples.

    Attributes:
        axes: per input, how many of its axes count samples.
        count: the number of samples; None for an item that is one sample as it is.
    """

    axes: Mapping[str, int]
    count: int | None


def _split(
    item: Item, data: Mapping[str, InputData], inputs: Sequence[InputSpec], feeding: Feeding
) -> _Split:
    axes: dict[str, int] = {}
    lengths: dict[str, int] = {}
    for spec in inputs:
        array = data[spec.name]
        axes[spec.name] = 0
        if isinstance(array, LazyImage):
            continue
        counting = _counting_axes(spec, array.shape, feeding, _where(item.where, spec, inputs))
        axes[spec.name] = len(counting)
        if counting:
            lengths[spec.name] = int(np.prod([array.shape[axis] for axis in counting]))
    if set(lengths.values()) <= {1}:
        return _Split(axes, None)
    if 0 in lengths.values():
        raise DataError("the array holds no samples: an axis has length 0", where=item.where)
    single = [spec.name for spec in inputs if axes[spec.name] == 0 and not _shared(spec, feeding)]
    if len(set(lengths.values())) > 1 or single:
        counts = [f"{name!r} holds {length}" for name, length in lengths.items()]
        raise DataError(
            "the inputs hold different numbers of samples: "
            + ", ".join([*counts, *(f"{name!r} holds one" for name in single)]),
            where=item.where,
            fix="give every input an array with the same length along axis 0, or name the axis of its items with "
            "--item-axis NAME=N, and with NAME=none an input that all items of a file share",
        )
    return _Split(axes, next(iter(lengths.values())))


def _shared(spec: InputSpec, feeding: Feeding) -> bool:
    """Whether an array without an axis that counts samples belongs to all samples of its file."""
    return (spec.ranked and not spec.shape) or (not feeding.verbatim and feeding.axes[spec.name] is None)


def _counting_axes(spec: InputSpec, shape: tuple[int, ...], feeding: Feeding, where: str) -> tuple[int, ...]:
    """The axes of the array that count samples; the rule is in layout's docstring."""
    if not spec.ranked:
        return ()
    wanted, axis = feeding.sample_shape(spec), feeding.axes[spec.name]
    extra = len(shape) - len(wanted)
    if axis is None and extra == -1 and leading_axis_may_be_added(spec) and fits(shape, spec.shape[1:]):
        return ()
    place = axis or 0
    counting = {0: (), 1: (place,), 2: (0, place + 1)}.get(extra)
    if counting is None or (axis is None and extra == 2):
        raise shape_mismatch(spec, shape, feeding, where)
    if not fits([size for at, size in enumerate(shape) if at not in counting], wanted):
        raise shape_mismatch(spec, shape, feeding, where)
    return counting


def _leading(
    array: LazyArray, axis: int | None, counting: int, picks: Sequence[int]
) -> Generator[np.ndarray, None, None]:
    """The samples of a stack; one along another axis than the first is read whole."""
    if axis:
        moved = np.moveaxis(array.read(), axis + counting - 1, counting - 1)
        array = LoadedArray(np.ascontiguousarray(moved))
    return array.rows(counting, picks)


def _single(
    item: Item, data: Mapping[str, InputData], inputs: Sequence[InputSpec], feeding: Feeding
) -> Sample:
    arrays, geometry = {}, {}
    for spec in inputs:
        array = data[spec.name]
        if not isinstance(array, LazyImage):
            arrays[spec.name] = array.read()
            continue
        arrays[spec.name], placed = array.load()
        if placed is not None:
            geometry[spec.name] = placed
    return replace(_sample(item, "", arrays, inputs, feeding), geometry=geometry)


def _sample(
    item: Item, row: str, arrays: Mapping[str, np.ndarray], inputs: Sequence[InputSpec], feeding: Feeding
) -> Sample:
    """One sample of an item; `row` is what follows the item's name in its own."""
    where = item.where + row
    fed = {}
    for spec in inputs:
        wanted = feeding.sample_shape(spec)
        place = _where(where, spec, inputs)
        array = cast(arrays[spec.name], spec.dtype, place)
        fed[spec.name] = array
        if not spec.ranked:
            continue
        axis = feeding.axes[spec.name]
        if array.ndim == len(wanted) + 2 and array.shape[0] == 1:
            array = array[0]
        if array.ndim == len(wanted) + 1 and array.shape[axis or 0] == 1:
            array = array.squeeze(axis or 0)
        if array.ndim == len(wanted) - 1 and axis is None and leading_axis_may_be_added(spec):
            array = array[np.newaxis]
        if not fits(array.shape, wanted):
            raise shape_mismatch(spec, array.shape, feeding, place)
        fed[spec.name] = array
    return Sample(item.name + row, fed, path=item.path + row if item.path else "")


def _where(where: str, spec: InputSpec, inputs: Sequence[InputSpec]) -> str:
    return f"{where}, input {spec.name!r}" if len(inputs) > 1 else where
