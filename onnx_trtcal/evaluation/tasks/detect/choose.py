"""Which head a model's outputs are: the one that was named, or the first that fits what one sample shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.errors import OptionError
from onnx_trtcal.evaluation.tasks.detect.final import find_set, find_table
from onnx_trtcal.evaluation.tasks.detect.head import as_matrix, range_text, shape_words
from onnx_trtcal.evaluation.tasks.detect.pairs import find_pair
from onnx_trtcal.evaluation.tasks.detect.rows import find_rows
from onnx_trtcal.evaluation.tasks.detect.strides import find_strides
from onnx_trtcal.evaluation.tasks.names import HEADS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from onnx_trtcal.evaluation.tasks.detect.head import Head, Scene

    Finder = Callable[[Mapping[str, np.ndarray], Scene, str], Head | None]

__all__ = ["choose_head", "looks_like_detector"]

# The most telling first: one level of several strides looks like final detections, and these like a pair.
_FINDERS: tuple[tuple[Finder, tuple[str, ...]], ...] = (
    (find_strides, ("scrfd", "yunet")),
    (find_set, ("nms",)),
    (find_table, ("nms",)),
    (find_pair, ("ssd", "ssd-no-background", "detr")),
    (find_rows, ("yolov5", "yolov5-raw", "yolox", "yolov8")),
)


def choose_head(sample: Mapping[str, np.ndarray], scene: Scene, asked: str = "") -> Head | None:
    """The head that decodes a model's outputs.

    Args:
        sample: the outputs of one sample.
        scene: what is known beside them.
        asked: the head that the user names, one of `names.HEADS`; empty to find it.

    Returns:
        The head; None while outputs hold no row to tell from.

    Raises:
        OptionError: no head fits; the message says which shapes and values were seen, and which heads there are.
    """
    head = _first_that_fits(sample, scene, asked)
    if head is not None or _nothing_yet(sample):
        return head
    seen = "; ".join(
        f"{name!r} {shape_words(array.shape)}"
        + (f" ({range_text(array)})" if array.dtype.kind in "fViu" else f" ({array.dtype})")
        for name, array in sample.items()
    )
    what = (
        f"the outputs do not fit the head {asked!r}"
        if asked
        else "cannot tell how the outputs hold detections"
    )
    fix = "name another --head" if asked else "name the --head that they are"
    raise OptionError(
        f"{what}: of one sample they are {seen}",
        fix=f"{fix}, one of {', '.join(HEADS)}; or give a --metric FILE.py:NAME that reads them",
    )


def looks_like_detector(sample: Mapping[str, np.ndarray], scene: Scene) -> Head | None:
    """The head of outputs that hardly anything but a detector has; None for all others."""
    head = _first_that_fits(sample, scene, "")
    return head if head is not None and head.sure else None


def _first_that_fits(sample: Mapping[str, np.ndarray], scene: Scene, asked: str) -> Head | None:
    for find, names in _FINDERS:
        if asked in ("", *names):
            head = find(sample, scene, asked)
            if head is not None:
                return head
    return None


def _nothing_yet(sample: Mapping[str, np.ndarray]) -> bool:
    """Whether an output that could hold final detections has none for this sample."""
    for array in sample.values():
        if array.size == 0:
            return True
        matrix = as_matrix(array) if array.dtype.kind in "fV" else None
        if matrix is not None and matrix.shape[1] in (4, 5, 6, 7) and not matrix.any():
            return True
    return False
