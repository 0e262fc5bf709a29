"""Along which axis of each input items are stacked: what shapes and `--item-axis` say of it.

An *item* is what the model is meant to see at a time. A model is fed **by rows** when axis 0 of every input may
be a batch axis, as far as its shapes tell (the names of dimensions never matter):

- the model declares the rank of every input, and it is 1 or more;
- axis 0 is dynamic in all of them, or the same number in all of them;
- it is not a single image (3xHxW, HxWx3 with a fixed height) without a batch axis.

Then, for an input of rank r, an array of rank r-1 is one item, of rank r a stack of items along axis 0 (one item
when axis 0 has length 1), of rank r+1 a stack of such stacks. All inputs of one file or element must hold equally
many items. Where axis 0 is dynamic, whether it is a batch axis is settled by a trial (see `counting.trial`).

Every other model is fed **verbatim**, one file or element at a time, exactly as given: an array of rank r is one
item, of rank r-1 too when axis 0 is dynamic or 1 (the axis is added), of rank r+1 a stack of items. A scalar given
with a stack is shared by all of its items.

`--item-axis` names the axis per input instead; an input without one is shared by the items of a file, and items
are run together only while they agree on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnx_trtcal.errors import DataError, OptionError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["DEFAULT_BATCH_SIZE", "Feeding", "Shape", "feeding_of", "is_fixed", "shape_text"]

Shape = tuple[int | str | None, ...]

DEFAULT_BATCH_SIZE = 8

# What exporters write where an axis has no name of its own.
_NAMELESS = {"", "?", "none", "unk", "-1"}


@dataclass(frozen=True)
class Feeding:
    """How items become feeds; decided once for a model and its data.

    Attributes:
        axes: per input, the axis along which items are stacked; None where an item's array is fed as it is.
        batch: how many items a run takes where that is fixed, None when any number will do.
        verbatim: why each item is fed by itself, exactly as given; empty where items are stacked.
        asked: what `--item-axis` said; empty when it said nothing.
        full_only: whether the rows of a fixed batch influence each other, so that none is cut short on purpose.
    """

    axes: Mapping[str, int | None]
    batch: int | None = None
    verbatim: str = ""
    asked: str = ""
    full_only: bool = False

    @property
    def open(self) -> bool:
        """Whether shapes alone leave open which rows may be run together."""
        return not self.verbatim and not self.asked and self.batch != 1

    def sample_shape(self, spec: InputSpec) -> Shape:
        """The shape of one item's array for this input: without the item axis where there is one."""
        axis = self.axes[spec.name]
        return spec.shape if axis is None else (*spec.shape[:axis], *spec.shape[axis + 1 :])

    def free_axis(self, name: str) -> int | None:
        """The axis of an input along which any number of items may be stacked; None where there is none."""
        return None if self.verbatim or self.batch is not None else self.axes[name]

    def batch_size(self, asked: int | None) -> int:
        """Items per run: what is fixed wins over what was asked, and a model fed verbatim takes 1.

        Args:
            asked: None for 8 where any number will do.

        Raises:
            OptionError: when `asked` is not a positive number.
        """
        if asked is None:
            asked = DEFAULT_BATCH_SIZE
        if asked < 1:
            raise OptionError(f"batch_size is {asked}, wanted a positive number")
        return 1 if self.verbatim else self.batch or asked

    def as_given(self, reason: str) -> Feeding:
        """The same model fed verbatim."""
        return replace(self, axes=dict.fromkeys(self.axes), batch=None, verbatim=reason)


def is_fixed(dim: int | str | None) -> bool:
    """Whether the model fixes this axis (some exporters write 0 or a negative number for dynamic)."""
    return isinstance(dim, int) and dim > 0


def shape_text(shape: Sequence[int | str | None]) -> str:
    """A shape as messages show it: `(batch, 3, ?, 224)`; a scalar is `()`."""
    return f"({', '.join(str(dim) if is_fixed(dim) or _named(dim) or dim == 0 else '?' for dim in shape)})"


def feeding_of(inputs: Sequence[InputSpec], item_axis: Sequence[str] = ()) -> Feeding:
    """How the model is fed as far as its shapes tell, or as `item_axis` asks; the rules are the module's docstring.

    Args:
        inputs: the model's inputs.
        item_axis: `NAME=N`, `NAME=none`, or `N` or `none` for all inputs that are not named.

    Raises:
        DataError: when the model has no input, so that no data can make a difference.
        OptionError: when `item_axis` names no input, an axis that an input does not have, or two for one input.
    """
    if not inputs:
        raise DataError("the model has no inputs, so there is nothing to calibrate with data")
    if item_axis:
        return _asked(inputs, item_axis)
    reason = _unranked(inputs) or _scalars(inputs) or _leading(inputs) or _single_image(inputs)
    if reason:
        return Feeding(dict.fromkeys(spec.name for spec in inputs), verbatim=reason)
    first = inputs[0].shape[0]
    return Feeding({spec.name: 0 for spec in inputs}, first if isinstance(first, int) and first > 0 else None)


def _asked(inputs: Sequence[InputSpec], item_axis: Sequence[str]) -> Feeding:
    # What is not named has its items along axis 0; a scalar is shared.
    axes: dict[str, int | None] = {spec.name: 0 if spec.shape else None for spec in inputs}
    said: dict[str, str] = {}
    # What is for all inputs comes first, and gives way to what is for one.
    for text in sorted(item_axis, key=lambda text: "=" in text):
        name, _, value = text.rpartition("=")
        if said.setdefault(name, value) != value:
            whose = f"input {name!r}" if name else "all inputs"
            raise OptionError(
                f"--item-axis gives {whose} two axes, {said[name]} and {value}", fix="keep one of them"
            )
        specs = [spec for spec in inputs if not name or spec.name == name]
        if not specs:
            raise OptionError(
                f"--item-axis {text} names no input of the model",
                fix=did_you_mean(name, axes) or f"its inputs are {', '.join(map(repr, axes))}",
            )
        for spec in specs:
            axes[spec.name] = _axis(text, value, spec, named=bool(name))
    asked = f"--item-axis {' '.join(item_axis)}"
    sizes = {spec.name: spec.shape[axis] for spec in inputs if (axis := axes[spec.name]) is not None}
    if not sizes:
        return Feeding(axes, verbatim=asked, asked=asked)
    fixed = {dim if isinstance(dim, int) and dim > 0 else None for dim in sizes.values()}
    if len(fixed) > 1:
        listed = ", ".join(f"{name!r} {shape_text((dim,))[1:-1]}" for name, dim in sizes.items())
        raise OptionError(
            f"{asked}: the item axes differ in length: {listed}",
            fix="name the axis of each input with --item-axis NAME=N, or NAME=none for one without items",
        )
    return Feeding(axes, fixed.pop(), asked=asked)


def _axis(text: str, value: str, spec: InputSpec, *, named: bool) -> int | None:
    if value == "none" or (not named and not spec.shape):
        return None
    axis = int(value) if value.isdecimal() else None
    if axis is None:
        raise OptionError(f"--item-axis {text}: {value!r} is neither the number of an axis nor none")
    if axis >= len(spec.shape):
        shape = f"has shape {shape_text(spec.shape)}" if spec.ranked else "is of unknown rank"
        raise OptionError(f"--item-axis {text}: input {spec.name!r} {shape}, and no axis {axis}")
    return axis


def _named(dim: int | str | None) -> bool:
    return isinstance(dim, str) and dim.lower() not in _NAMELESS


def _unranked(inputs: Sequence[InputSpec]) -> str:
    unranked = (spec.name for spec in inputs if not spec.ranked)
    return next((f"the model does not declare the shape of input {name!r}" for name in unranked), "")


def _scalars(inputs: Sequence[InputSpec]) -> str:
    return next((f"input {spec.name!r} is a scalar" for spec in inputs if not spec.shape), "")


def _leading(inputs: Sequence[InputSpec]) -> str:
    first = inputs[0]
    for spec in inputs[1:]:
        one, other = (s.shape[0] if is_fixed(s.shape[0]) else None for s in (first, spec))
        if one != other:
            sizes = one or "dynamic", other or "dynamic"
            return f"axis 0 is {sizes[0]} in input {first.name!r} and {sizes[1]} in {spec.name!r}"
    return ""


def _single_image(inputs: Sequence[InputSpec]) -> str:
    shape = inputs[0].shape
    if len(inputs) > 1 or len(shape) != 3 or not isinstance(shape[0], int):
        return ""
    sides = shape[1:] if shape[0] == 3 else shape[:2] if shape[2] == 3 else ()
    pixels = [side for side in sides if isinstance(side, int) and side >= 8]
    if len(pixels) == 2 and max(pixels) <= 4 * min(pixels):
        return f"input {inputs[0].name!r} is one image without a batch axis"
    return ""
