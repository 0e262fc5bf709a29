"""The one entrance for calibration data: a path or Python objects in, a stream of samples out."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.data.folders import open_path
from onnx_trtcal.data.formats import content_of
from onnx_trtcal.data.images.recipe import Recipe, make_recipe
from onnx_trtcal.data.iterables import AGAIN, items_of
from onnx_trtcal.data.layout import Feeding, feeding_of, shape_text
from onnx_trtcal.data.lookahead import Lookahead
from onnx_trtcal.data.samples import Sample, count_samples, sample_tasks
from onnx_trtcal.errors import CalibrationError, DataError, OptionError
from onnx_trtcal.options import Preprocess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from onnx_trtcal.data.items import Item
    from onnx_trtcal.support.input_spec import InputSpec

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
    """

    description: tuple[str, ...]
    inputs: tuple[InputSpec, ...]
    feeding: Feeding
    items: Lookahead
    max_samples: int | None
    countable: bool

    @cached_property
    def count(self) -> int | None:
        """The number of samples, from file headers; None when only a pass over the data would tell.

        Raises:
            DataError: when a header does not fit the model.
        """
        if not self.countable:
            return None
        total = 0
        for item in self.items():
            total += count_samples(item, self.inputs, self.feeding)
            if self.max_samples is not None and total >= self.max_samples:
                return self.max_samples
        return total

    def tasks(self) -> Iterator[Callable[[], Sample]]:
        """The samples as calls that do the work left, such as decoding; they may be made in any thread.

        Raises:
            DataError: when there is no sample at all, an iterator is asked for a second pass, or an item does
                not fit the model.
        """
        empty = True
        for task in islice(self._all_tasks(), self.max_samples):
            empty = False
            yield task
        if empty:
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
                for task in sample_tasks(item, self.inputs, self.feeding):
                    yield task()

    def settled(self, feeding: Feeding) -> Source:
        """The same data fed in another way."""
        return replace(self, feeding=feeding)

    def _all_tasks(self) -> Iterator[Callable[[], Sample]]:
        for item in self.items():
            yield from sample_tasks(item, self.inputs, self.feeding)


def open_source(
    data: Any,
    inputs: Sequence[InputSpec],
    preprocess: Preprocess = Preprocess(),
    max_samples: int | None = None,
    item_axis: Sequence[str] = (),
) -> Source:
    """Opens calibration data; the samples are checked against the model as they stream.

    Args:
        data: a directory or file, of a format in `onnx_trtcal.data.formats`; or an array, an iterable of arrays or of
            {input name: array}, or a function that returns such an iterable.
        inputs: the model's inputs.
        preprocess: how images become inputs; arrays are fed as they are.
        max_samples: use the first so many samples only.
        item_axis: along which axes items are stacked, see `onnx_trtcal.data.layout.feeding_of`; otherwise shapes
            say so as far as they can, and `onnx_trtcal.collect.trial` settles the rest.

    `onnx_trtcal.data.layout` defines how arrays split into samples.

    Raises:
        DataError: when there is no such path, nothing usable in it, or the data is of an unknown kind.
        OptionError: when preprocessing flags or item axes contradict each other or the model.
    """
    if max_samples is not None and max_samples < 1:
        raise OptionError(f"max_samples is {max_samples}, wanted a positive number")
    feeding = feeding_of(inputs, item_axis)

    @cache
    def recipes(spec: InputSpec) -> Recipe:
        return make_recipe(preprocess, spec, feeding)

    if isinstance(data, (str, os.PathLike)):
        files = open_path(Path(data), inputs, recipes)
        found, countable = files.description, True
        applied = [_recipe_line(recipes(spec), spec, inputs) for spec in files.image_inputs]

        def items() -> Iterator[Item]:
            return iter(files.items)
    else:
        items, countable = items_of(data, inputs, recipes)
        found = (f"Python data: {type(data).__name__}",)
        listed = data if isinstance(data, (list, tuple)) else ()
        has_images = any(
            isinstance(each, (str, Path)) and content_of(Path(each)) == "image" for each in listed
        )
        applied = [_recipe_line(recipes(spec), spec, inputs) for spec in inputs if has_images]
    if not applied and preprocess != Preprocess() and isinstance(data, (str, os.PathLike)):
        applied = ["image preprocessing flags do nothing here: arrays are fed as they are"]
    return Source(
        (*found, *applied, *feeding_lines(inputs, feeding)),
        tuple(inputs),
        feeding,
        Lookahead(items),
        max_samples,
        countable,
    )


def _recipe_line(recipe: Recipe, spec: InputSpec, inputs: Sequence[InputSpec]) -> str:
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
