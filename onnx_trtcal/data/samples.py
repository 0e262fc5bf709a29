"""Items as samples: each input's data is checked against the model and split along the axes that count samples."""

from __future__ import annotations

import math
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from onnx_trtcal.data.array_hints import hint
from onnx_trtcal.data.casts import cast
from onnx_trtcal.data.items import InputData, Item, LazyImage
from onnx_trtcal.data.readers.lazy_array import LoadedArray
from onnx_trtcal.data.shape_mismatch import fits, leading_axis_may_be_added, shape_mismatch
from onnx_trtcal.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from onnx_trtcal.data.images.geometry import Geometry
    from onnx_trtcal.data.layout import Feeding
    from onnx_trtcal.data.notes import Notes
    from onnx_trtcal.data.readers.lazy_array import LazyArray
    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["OpenedItem", "Sample", "SampleTask", "Splitter"]

_K = TypeVar("_K")
_V = TypeVar("_V")

_SMALL = 1 << 16  # bytes of a sample that is little work
_MOST_KNOWN = 4096  # shapes to remember


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


class Splitter:
    """Splits items into samples, as the model and its feeding want it.

    What follows from shapes and types alone is worked out once for each of them: a data set's files have few.

    Args:
        inputs: the model's inputs.
        feeding: how they are fed.
        notes: receives what is worth saying about arrays of a kind.
    """

    def __init__(self, inputs: Sequence[InputSpec], feeding: Feeding, notes: Notes) -> None:
        self._inputs = inputs
        self._feeding = feeding
        self._notes = notes
        self._splits: dict[tuple[object, ...], _Split] = {}
        # (input, shape) of an array -> the shape that it is fed with.
        self._fed: dict[tuple[str, tuple[int, ...]], tuple[int, ...]] = {}

    def open(self, item: Item) -> OpenedItem:
        """Opens an item.

        Raises:
            DataError: when shapes do not fit the model, or inputs hold different numbers of samples.
        """
        data = item.open()
        kinds = tuple([_kind(data[spec.name]) for spec in self._inputs])
        split = self._splits.get(kinds)
        if split is None:
            hint(self._inputs, data, self._notes)
            split = _split(item, data, self._inputs, self._feeding)
            _keep(self._splits, kinds, split)
        return OpenedItem(item, data, split, self)

    def count(self, item: Item) -> int:
        """The number of samples in an item, from array headers alone.

        Raises:
            DataError: as `open`.
        """
        return 1 if item.single else self.open(item).count

    def sample(self, item: Item, row: str, data: Mapping[str, InputData | np.ndarray]) -> Sample:
        """One sample of an item, read, decoded, cast and checked.

        Args:
            item: the item.
            row: what follows the item's name in that of the sample.
            data: what the sample holds for each input.

        Raises:
            DataError: when a file is damaged, or an array does not fit the model.
        """
        where = item.where + row
        arrays: dict[str, np.ndarray] = {}
        geometry: dict[str, Geometry] = {}
        for spec in self._inputs:
            given = data[spec.name]
            if isinstance(given, LazyImage):
                given, placed = given.load()
                if placed is not None:
                    geometry[spec.name] = placed
            array = given if isinstance(given, np.ndarray) else given.read()
            arrays[spec.name] = self._as_fed(array, spec, where)
        return Sample(item.name + row, arrays, geometry, item.path + row if item.path else "")

    def rows(self, opened: OpenedItem, picks: Sequence[int]) -> Iterator[SampleTask]:
        """The samples of a stack at these positions, ascending, each read as the iterator advances."""
        item, data, split = opened.item, opened.data, opened.split
        shared: dict[str, InputData | np.ndarray] = {}
        with ExitStack() as closers:
            rows = {}
            for name, given in data.items():
                if isinstance(given, LazyImage):
                    shared[name] = given
                elif split.axes[name] == 0:
                    shared[name] = given.read()
                else:
                    stack = _leading(given, self._feeding.axes[name], split.axes[name], picks)
                    rows[name] = closers.enter_context(closing(stack))
            for index in picks:
                arrays = {name: next(iterator) for name, iterator in rows.items()}
                yield SampleTask(self, item, f"[{index}]", shared | arrays if shared else arrays, split.small)

    def _as_fed(self, array: np.ndarray, spec: InputSpec, where: str) -> np.ndarray:
        place = _where(where, spec, self._inputs)
        array = cast(array, spec.dtype, place)
        given = spec.name, array.shape
        shape = self._fed.get(given)
        if shape is None:
            shape = _fed_shape(array.shape, spec, self._feeding, place)
            _keep(self._fed, given, shape)
        return array if array.shape == shape else array.reshape(shape)


class SampleTask(NamedTuple):
    """A sample of which some work is left: reading, decoding, casting, checking. It may be called in any thread.

    Attributes:
        splitter: does the work.
        item: the item that it is of.
        row: what follows the item's name in its own.
        data: what it holds for each input.
        small: whether it is known to be little work.
    """

    splitter: Splitter
    item: Item
    row: str
    data: Mapping[str, InputData | np.ndarray]
    small: bool

    def __call__(self) -> Sample:
        """The sample.

        Raises:
            DataError: when a file is damaged, or an array does not fit the model.
        """
        return self.splitter.sample(self.item, self.row, self.data)


@dataclass(frozen=True, slots=True)
class OpenedItem:
    """An item whose shapes are known.

    Attributes:
        item: the item.
        data: what it holds for each input.
        split: how it splits into samples.
        splitter: splits it.
    """

    item: Item
    data: Mapping[str, InputData]
    split: _Split
    splitter: Splitter

    @property
    def count(self) -> int:
        """How many samples it holds."""
        return 1 if self.split.count is None else self.split.count

    def tasks(self, picks: Sequence[int] | None = None) -> Iterator[SampleTask]:
        """The samples in order, each as a call that does the work left.

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
            return iter((SampleTask(self.splitter, self.item, "", self.data, self.split.small),))
        return self.splitter.rows(self, chosen)


@dataclass(frozen=True)
class _Split:
    """How an item splits into samples.

    Attributes:
        axes: per input, how many of its axes count samples.
        count: the number of samples; None for an item that is one sample as it is.
        small: whether a sample is known to be little work.
    """

    axes: Mapping[str, int]
    count: int | None
    small: bool


def _split(
    item: Item, data: Mapping[str, InputData], inputs: Sequence[InputSpec], feeding: Feeding
) -> _Split:
    axes: dict[str, int] = {}
    nbytes: list[int | None] = []
    lengths: dict[str, int] = {}
    for spec in inputs:
        array = data[spec.name]
        axes[spec.name] = 0
        if isinstance(array, LazyImage):
            nbytes.append(None)
            continue
        nbytes.append(None if array.dtype is None else math.prod(array.shape) * array.dtype.itemsize)
        counting = _counting_axes(spec, array.shape, feeding, _where(item.where, spec, inputs))
        axes[spec.name] = len(counting)
        if counting:
            lengths[spec.name] = int(np.prod([array.shape[axis] for axis in counting]))
    if set(lengths.values()) <= {1}:
        return _Split(axes, None, _is_small(nbytes, 1))
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
    count = next(iter(lengths.values()))
    return _Split(axes, count, _is_small(nbytes, count))


def _is_small(nbytes: Sequence[int | None], count: int) -> bool:
    """Whether samples are known to be little work, `count` of which take so many bytes for each input."""
    known = [each for each in nbytes if each is not None]
    return len(known) == len(nbytes) and sum(known) <= _SMALL * count


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


def _fed_shape(shape: tuple[int, ...], spec: InputSpec, feeding: Feeding, where: str) -> tuple[int, ...]:
    """The shape that one item's array is fed with: without axes that count one sample, with one that is missing."""
    if not spec.ranked:
        return shape
    wanted, axis = feeding.sample_shape(spec), feeding.axes[spec.name]
    if len(shape) == len(wanted) + 2 and shape[0] == 1:
        shape = shape[1:]
    place = axis or 0
    if len(shape) == len(wanted) + 1 and shape[place] == 1:
        shape = (*shape[:place], *shape[place + 1 :])
    if len(shape) == len(wanted) - 1 and axis is None and leading_axis_may_be_added(spec):
        shape = (1, *shape)
    if not fits(shape, wanted):
        raise shape_mismatch(spec, shape, feeding, where)
    return shape


def _kind(data: InputData) -> tuple[tuple[int, ...], np.dtype | None] | None:
    """What decides how data splits: shape and type of an array; of an image, nothing does."""
    return None if isinstance(data, LazyImage) else (data.shape, data.dtype)


def _keep(known: dict[_K, _V], key: _K, value: _V) -> None:
    """Remembers a value; not endlessly many, where each array has a shape of its own."""
    if len(known) >= _MOST_KNOWN:
        known.clear()
    known[key] = value


def _where(where: str, spec: InputSpec, inputs: Sequence[InputSpec]) -> str:
    return f"{where}, input {spec.name!r}" if len(inputs) > 1 else where
