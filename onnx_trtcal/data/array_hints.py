"""A hint where arrays look as if a step of preprocessing was forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.data.items import LazyImage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.data.items import InputData
    from onnx_trtcal.data.notes import Notes
    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["hint"]


def hint(inputs: Sequence[InputSpec], data: Mapping[str, InputData], notes: Notes) -> None:
    """Points out uint8 arrays for a float input, of each input once."""
    for spec in inputs:
        given = data.get(spec.name)
        if given is None or isinstance(given, LazyImage) or spec.dtype.kind != "f":
            continue
        if given.dtype == np.uint8:
            notes.once(
                f"uint8 {spec.name}",
                f"uint8 arrays feed the float input {spec.name!r} as they are, 0 to 255: right only if the model "
                "scales them itself; image files are scaled by 1/255 unless --scale says otherwise",
            )
