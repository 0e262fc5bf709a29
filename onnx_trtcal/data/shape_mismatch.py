"""Arrays whose shapes do not fit the model: which ones those are, and what the user most likely meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.data.layout import Feeding, Shape, is_fixed, shape_text
from onnx_trtcal.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["fits", "leading_axis_may_be_added", "shape_mismatch"]


def fits(shape: Sequence[int], wanted: Shape) -> bool:
    """Whether an array's shape agrees with the model's wherever the model fixes an axis."""
    return len(shape) == len(wanted) and all(
        not is_fixed(dim) or dim == size for size, dim in zip(shape, wanted, strict=True)
    )


def leading_axis_may_be_added(spec: InputSpec) -> bool:
    """Whether an axis of length 1 in front of an array may be the input's axis 0."""
    return bool(spec.shape) and (spec.shape[0] == 1 or not is_fixed(spec.shape[0]))


def shape_mismatch(spec: InputSpec, shape: tuple[int, ...], feeding: Feeding, where: str) -> DataError:
    """The error for an array of a shape that the model does not take.

    Args:
        spec: the model's input.
        shape: the array's.
        feeding: how the model is fed.
        where: the file or item.
    """
    wanted = feeding.sample_shape(spec)
    axis = feeding.axes[spec.name]
    if axis is None:
        forms = f"{shape_text(spec.shape)} (fed as given, because {feeding.verbatim or feeding.asked})"
    else:
        forms = f"{shape_text(wanted)} per sample, or a stack of them along axis {axis}"
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
            if channels in (1, 3, 4) and fits((channels, height, width), wanted):
                return f"the array is HWC, the model wants CHW: save array.transpose({_axes(drop, 2, 0, 1)})"
            if sample[0] in (1, 3, 4) and fits((sample[1], sample[2], sample[0]), wanted):
                return f"the array is CHW, the model wants HWC: save array.transpose({_axes(drop, 1, 2, 0)})"
        for axis, dim in enumerate(wanted):
            if dim == 1 and fits((*sample[:axis], 1, *sample[axis:]), wanted):
                return f"an axis of length 1 is missing: save numpy.expand_dims(array, {axis + drop})"
        sizes = [dim for dim in wanted if isinstance(dim, int) and is_fixed(dim)]
        if sample and len(sizes) == rank and int(np.prod(sample)) == int(np.prod(sizes)):
            leading = ", ".join(map(str, (*shape[:drop], *sizes)))
            return f"the number of values is right: save array.reshape({leading}) if their order is"
    return "save arrays of the shape that the model wants"


def _axes(drop: int, *order: int) -> str:
    return ", ".join(map(str, (*range(drop), *(axis + drop for axis in order))))
