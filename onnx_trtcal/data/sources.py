"""The one entrance for calibration data: a path or Python objects in, a stream of samples out."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from onnx_trtcal.data.images.custom import CustomRecipe
from onnx_trtcal.data.images.recipe import Recipe, make_recipe
from onnx_trtcal.data.input_names import match_inputs
from onnx_trtcal.data.items import Intake, Rows, items_in
from onnx_trtcal.data.iterables import AGAIN, items_of
from onnx_trtcal.data.layout import Feeding, feeding_of, shape_text
from onnx_trtcal.data.loader_script import is_loader, load_data
from onnx_trtcal.data.lookahead import Lookahead
from onnx_trtcal.data.notes import Notes
from onnx_trtcal.data.paths import open_paths, paths_of
from onnx_trtcal.data.remote import is_url, shown_path
from onnx_trtcal.data.samples import Sample, SampleTask, Splitter
from onnx_trtcal.data.shard import Sharded, Shards, data_digest
from onnx_trtcal.data.transform import Transformed
from onnx_trtcal.data.uniform_folders import ImageFiles
from onnx_trtcal.errors import CalibrationError, DataError, OptionError, did_you_mean
from onnx_trtcal.options import Preprocess

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from onnx_trtcal.data.items import Item
    from onnx_trtcal.support.input_spec import InputSpec
    from onnx_trtcal.support.progress import Listener

__all__ = ["Sample", "Source", "feeding_lines", "open_source"]


@dataclass(frozen=True)
class Source:
    """Samples in a fixed order, read when they are asked for; none is held.

    Attributes:
        description: what was found and what is applied to it, in words.
        inputs: the model's inputs.
        feeding: how samples become feeds (see `data.layout`).
        items: starts a pass over the files or elements; what was looked at before is part of the first pass.
        max_samples: how many samples to give at most, None for all.
        countable: whether samples can be counted without running through the data.
        image_inputs: the inputs that are known to be fed from image files.
        chosen: positions of the samples to give, from 0, of which those behind the end mean nothing; None for all.
        shards: of one shard of the data, which it is.
        remote: whether it is read over a network, so that a file is waited for rather than worked on.
        singles: the items, where each is known to be one sample; None where that is not known of all.
        notes: receives what is worth saying about the data while it is read.
    """

    description: tuple[str, ...]
    inputs: tuple[InputSpec, ...]
    feeding: Feeding
    items: Lookahead
    max_samples: int | None
    countable: bool
    image_inputs: tuple[InputSpec, ...] = ()
    chosen: frozenset[int] | range | None = None
    shards: Shards | None = None
    remote: bool = False
    singles: ImageFiles | None = None
    notes: Notes = field(default_factory=Notes)

    @cached_property
    def count(self) -> int | None:
        """The number of samples, from file headers; None when only a pass over the data would tell.

        Raises:
            DataError: when a header does not fit the model.
        """
        if isinstance(self.chosen, frozenset):
            return len(self.chosen)
        if self.whole_count is None or self.chosen is None:
            return self.whole_count
        return len(range(self.chosen.start, self.whole_count, self.chosen.step))

    @cached_property
    def whole_count(self) -> int | None:
        """The number of samples before some are chosen; None and errors as of `count`."""
        if self.singles is not None:
            return min(len(self.singles), self.max_samples or len(self.singles))
        if not self.countable:
            return None
        total = 0
        for item in self.items():
            total += self._splitter.count(item)
            if self.max_samples is not None and total >= self.max_samples:
                return self.max_samples
        return total

    def tasks(self) -> Iterator[SampleTask]:
        """The samples as calls that do the work left, such as decoding; they may be made in any thread.

        Raises:
            DataError: when there is no sample at all, an iterator is asked for a second pass, or an item does
                not fit the model.
        """
        if self.singles is not None and isinstance(self.chosen, range):
            # Of millions of files, those of other shards do not even become items.
            own = self.singles[self.chosen.start : self.whole_count : self.chosen.step]
            for item in items_in(own):
                yield from self._splitter.open(item).tasks()
            return
        at = 0
        for item in self.items():
            if self.max_samples is not None and at >= self.max_samples:
                return
            if item.single and self.chosen is not None and at not in self.chosen:
                at += 1
                continue
            opened = self._splitter.open(item)
            end = at + opened.count if self.max_samples is None else min(at + opened.count, self.max_samples)
            yield from opened.tasks(self._chosen_between(at, end))
            at = end
        if not at:
            raise DataError(
                "the data holds no samples", fix=f"if it is a generator that was used before, {AGAIN}"
            )

    def __iter__(self) -> Iterator[Sample]:
        return (task() for task in self.tasks())

    def first_samples(self) -> Iterator[Sample]:
        """The first samples, whatever `max_samples` is.

        A later pass gives them once more, and what is wrong with the data is left to that pass to say.
        """
        with suppress(CalibrationError):
            for item in self.items.look():
                for task in self._splitter.open(item).tasks():
                    yield task()

    def settled(self, feeding: Feeding) -> Source:
        """The same data fed in another way."""
        return replace(self, feeding=feeding)

    def only(self, positions: Iterable[int]) -> Source:
        """The same data, of which only the samples at these positions, from 0, are given."""
        return replace(self, chosen=frozenset(positions))

    @cached_property
    def _splitter(self) -> Splitter:
        return Splitter(self.inputs, self.feeding, self.notes)

    def _chosen_between(self, begin: int, end: int) -> Sequence[int]:
        """The positions, counted from `begin`, of the chosen samples from there up to `end`."""
        if self.chosen is None:
            return range(end - begin)
        if isinstance(self.chosen, frozenset):
            return [at - begin for at in range(begin, end) if at in self.chosen]
        step = self.chosen.step
        return range((self.chosen.start - begin) % step, end - begin, step)


def open_source(
    data: Any,
    inputs: Sequence[InputSpec],
    preprocess: Preprocess = Preprocess(),
    max_samples: int | None = None,
    listener: Listener | None = None,
    item_axis: Sequence[str] = (),
) -> Source:
    """Opens calibration data; the samples are checked against the model as they stream.

    Args:
        data: one path or a list of them: directories, files of a format in `onnx_trtcal.data.formats`, globs, lists of
            files, or `loader.py:function`; or an array, an iterable, a map-style data set, or a function that returns
            an iterable, with elements as `onnx_trtcal.data.elements` describes; or any of these Transformed; or
            any of all these Sharded.
        inputs: the model's inputs.
        preprocess: how images become inputs; arrays are fed as they are.
        max_samples: use the first so many samples only.
        listener: receives, once each, what is worth saying about the data while it is read.
        item_axis: along which axes items are stacked, see `onnx_trtcal.data.layout.feeding_of`; otherwise shapes
            say so as far as they can, and `onnx_trtcal.counting.trial` settles the rest.

    `onnx_trtcal.data.layout` defines how arrays split into samples.

    Raises:
        DataError: when there is no such path, nothing usable in it, or the data is of an unknown kind.
        OptionError: when preprocessing flags or item axes contradict each other or the model.
    """
    if max_samples is not None and max_samples < 1:
        raise OptionError(f"max_samples is {max_samples}, wanted a positive number")
    feeding = feeding_of(inputs, item_axis)
    given, shard = (data.data, data.shard) if isinstance(data, Sharded) else (data, None)
    inner, transform = (given.data, given.function) if isinstance(given, Transformed) else (given, None)
    per_input = _per_input(preprocess, inputs)

    @cache
    def recipes(spec: InputSpec) -> Recipe | CustomRecipe:
        return CustomRecipe(transform) if transform else make_recipe(per_input[spec.name], spec, feeding)

    notes = Notes(listener)
    intake = Intake(tuple(inputs), recipes, notes)
    paths = paths_of(inner)
    image_inputs: tuple[InputSpec, ...] = ()
    names: Iterable[str] = ()
    singles: ImageFiles | None = None
    if len(paths) == 1 and is_loader(paths[0]):
        items, countable = items_of(load_data(paths[0]), intake, transform, paths[0])
        found: tuple[str, ...] = (f"data from {paths[0]}",)
    elif paths:
        files = open_paths(paths, intake)
        found, image_inputs = files.description, files.image_inputs
        singles = files.items if isinstance(files.items, ImageFiles) else None
        names = (entry.name for entry in files.items) if singles is None else singles.names()
        countable = singles is not None or not any(isinstance(entry, Rows) for entry in files.items)
        if transform and not image_inputs:
            raise OptionError(
                "a transform was given for files that are not images, and arrays are fed as they are",
                where=", ".join(map(shown_path, paths[:3])),
                fix="give the arrays as Python data, and the transform receives each",
            )

        def items() -> Iterator[Item]:
            return items_in(files.items)
    else:
        items, countable = items_of(inner, intake, transform)
        found = (f"Python data: {type(inner).__name__}",)
    applied = [_recipe_line(recipes(spec), spec, inputs) for spec in image_inputs]
    if not applied and preprocess != Preprocess() and paths and countable:
        applied = ["image preprocessing flags do nothing here: arrays are fed as they are"]
    return Source(
        (*found, *applied, *feeding_lines(inputs, feeding)),
        tuple(inputs),
        feeding,
        Lookahead(items),
        max_samples,
        countable,
        image_inputs,
        shard.positions if shard else None,
        Shards(shard.of, data_digest(names, max_samples), frozenset({shard.index})) if shard else None,
        any(map(is_url, paths)),
        singles,
        notes,
    )


def _per_input(preprocess: Preprocess, inputs: Sequence[InputSpec]) -> dict[str, Preprocess]:
    """The preprocessing of each input: what is asked for it, over what is asked for all."""
    asked = preprocess.per_input or {}
    matched = match_inputs(inputs, asked)
    unknown = [name for name in asked if name not in matched.values()]
    if unknown:
        names = [spec.name for spec in inputs]
        raise OptionError(
            f"preprocessing is given for {unknown[0]!r}, and the model has no such input",
            fix=did_you_mean(unknown[0], names) or f"its inputs are {', '.join(map(repr, names))}",
        )
    return {
        spec.name: preprocess.over(asked[matched[spec.name]]) if spec.name in matched else preprocess
        for spec in inputs
    }


def _recipe_line(recipe: Recipe | CustomRecipe, spec: InputSpec, inputs: Sequence[InputSpec]) -> str:
    return f"images{f' for {spec.name!r}' if len(inputs) > 1 else ''}: {recipe.describe()}"


def feeding_lines(inputs: Sequence[InputSpec], feeding: Feeding) -> tuple[str, ...]:
    """What is to be said of how items are fed; nothing where axis 0 is the batch axis."""
    if feeding.asked and not feeding.verbatim:
        axes = (
            f"{name!r} along axis {axis}" if axis is not None else f"{name!r} as it is"
            for name, axis in feeding.axes.items()
        )
        return (f"items are stacked as {feeding.asked} says: {', '.join(axes)}",)
    if not feeding.verbatim:
        return ()
    shapes = ", ".join(
        f"{spec.name!r} {shape_text(spec.shape) if spec.ranked else 'of any shape'}" for spec in inputs
    )
    return (f"one file or item is one feed, exactly as given ({feeding.verbatim}): {shapes}",)
