"""A hint where arrays look as if a step of preprocessing was forgotten."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.data.items import Item, LazyImage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from onnx_trtcal.data.items import InputData
    from onnx_trtcal.data.notes import Notes
    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["hinted"]


def hinted(items: Iterable[Item], inputs: Sequence[InputSpec], notes: Notes) -> Iterator[Item]:
    """The items as they are; the first with uint8 arrays for a float input is pointed out."""
    floats = [spec for spec in inputs if spec.dtype.kind == "f"]

    def opened(item: Item) -> Mapping[str, InputData]:
        data = item.open()
        for spec in floats:
            if _dtype(data.get(spec.name)) == np.uint8:
                notes.once(
                    f"uint8 {spec.name}",
                    f"uint8 arrays feed the float input {spec.name!r} as they are, 0 to 255: right only if the model "
                    "scales them itself; image files are scaled by 1/255 unless --scale says otherwise",
                )
        return data

    for item in items:
        # What is known to be one sample is an image.
        yield item if item.single else replace(item, open=partial(opened, item))


def _dtype(data: InputData | None) -> np.dtype | None:
    if data is None or isinstance(data, LazyImage):
        return None
    array = getattr(data, "array", data)
    dtype: np.dtype | None = getattr(array, "dtype", None)
    return dtype
