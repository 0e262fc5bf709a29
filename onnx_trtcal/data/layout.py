"""Where a model keeps its batch axis, and so how the arrays of a data set become samples.

A model is fed **by rows** when axis 0 of every input is the batch axis, as far as the shapes tell:

- the model declares the rank of every input, and it is 1 or more;
- axis 0 is dynamic in all of them, or the same number in all of them;
- no symbol of axis 0, and none named after a batch, names another axis of any input;
- no symbol of axis 0 is named after a sequence, a time, points, nodes…;
- it is not a single image (3xHxW, HxWx3 with a fixed height) without a batch axis.

Then, for an input of rank r, an array of rank r-1 is one sample, of rank r a stack of samples along axis 0
(one sample when axis 0 has length 1), of rank r+1 a stack of such stacks. All inputs of one file or item
must hold equally many samples.

Every other model is fed **verbatim**, one file or item at a time, exactly as given: an array of rank r is one
feed, of rank r-1 too when axis 0 is dynamic or 1 (the axis is added), of rank r+1 a stack of feeds. A scalar
given with a stack is shared by all of its feeds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.errors import DataError, OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_trtcal.support.input_spec import InputSpec

__all__ = [
    "Feeding",
    "Shape",
    "batched_inputs",
    "effective_batch_size",
    "feeding_of",
    "is_fixed",
    "shape_text",
]

Shape = tuple[int | str | None, ...]

_DEFAULT_BATCH_SIZE = 8

# What exporters write where an axis has no name of its own: sharing it means nothing.
_NAMELESS = {"", "?", "none", "unk", "-1"}
_NO_BATCH = re.compile(
    r"(num_?|n_|max_?)?(seq|time|frame|length|len|byte|char|token|point|voxel|node|edge|box|roi)",
    re.IGNORECASE,
)
# torch names an axis after the input it belongs to: tokens_dim_0 is a batch axis all the same.
_AUTOMATIC = re.compile(r"dim_?\d+$", re.IGNORECASE)


@dataclass(frozen=True)
class Feeding:
    """How a model is fed.

    Attributes:
        verbatim: empty when by rows, else the reason why each item is one feed.
        batch: the fixed batch size of a model fed by rows, None when its batch axis is dynamic.
    """

    verbatim: str
    batch: int | None

    def sample_shape(self, spec: InputSpec) -> Shape:
        """The shape of one sample's array for this input: without the batch axis where there is one."""
        return spec.shape if self.verbatim else spec.shape[1:]


def is_fixed(dim: int | str | None) -> bool:
    """Whether the model fixes this axis (some exporters write 0 or a negative number for dynamic)."""
    return isinstance(dim, int) and dim > 0


def shape_text(shape: Sequence[int | str | None]) -> str:
    """A shape as messages show it: `(batch, 3, ?, 224)`; a scalar is `()`."""
    return f"({', '.join(str(dim) if is_fixed(dim) or _symbol(dim) or dim == 0 else '?' for dim in shape)})"


def feeding_of(inputs: Sequence[InputSpec]) -> Feeding:
    """Tells from the inputs' shapes how the model is fed; the rule is the module's docstring.

    Raises:
        DataError: when the model has no input, so that no data can make a difference.
    """
    if not inputs:
        raise DataError("the model has no inputs, so there is nothing to calibrate with data")
    reason = (
        _unranked(inputs) or _scalars(inputs) or _leading(inputs) or _symbols(inputs) or _single_image(inputs)
    )
    first = inputs[0].shape[0] if inputs[0].shape else None
    return Feeding(reason, first if isinstance(first, int) and is_fixed(first) and not reason else None)


def batched_inputs(inputs: Sequence[InputSpec]) -> frozenset[str]:
    """The inputs whose axis 0 is a dynamic batch axis, along which samples are stacked."""
    if not inputs or feeding_of(inputs).verbatim:
        return frozenset()
    return frozenset(spec.name for spec in inputs if not is_fixed(spec.shape[0]))


def effective_batch_size(inputs: Sequence[InputSpec], asked: int | None) -> int:
    """Samples per run: a fixed batch axis wins over what was asked, and a model fed verbatim takes 1.

    Args:
        inputs: the model's inputs.
        asked: None for 8 where the batch axis is dynamic.

    Raises:
        OptionError: when `asked` is not a positive number.
        DataError: when the model has no inputs.
    """
    if asked is None:
        asked = _DEFAULT_BATCH_SIZE
    if asked < 1:
        raise OptionError(f"batch_size is {asked}, wanted a positive number")
    feeding = feeding_of(inputs)
    return 1 if feeding.verbatim else feeding.batch or asked


def _symbol(dim: int | str | None) -> str:
    return dim if isinstance(dim, str) and dim.lower() not in _NAMELESS else ""


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


def _symbols(inputs: Sequence[InputSpec]) -> str:
    leading = {symbol for spec in inputs if (symbol := _symbol(spec.shape[0]))}
    for spec in inputs:
        symbol = _symbol(spec.shape[0])
        if _NO_BATCH.match(symbol) and "batch" not in symbol.lower() and not _AUTOMATIC.search(symbol):
            return f"axis 0 of input {spec.name!r} is called {symbol!r}"
        for axis, dim in enumerate(spec.shape[1:], start=1):
            symbol = _symbol(dim)
            if symbol and (symbol in leading or symbol.lower().startswith("batch")):
                return f"axis {axis} of input {spec.name!r} is called {symbol!r}"
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
