"""Tensors that are measured apart but must share one scale share one histogram."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.stats.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_trtcal.stats.collection import Collection

__all__ = ["tied_histograms"]


def tied_histograms(ties: Sequence[Sequence[str]], collection: Collection) -> dict[str, Histogram]:
    """The histograms to solve: those of tied tensors added up, each tensor of the tie getting the sum.

    Args:
        ties: observed tensors that share one scale.
        collection: what was counted; left as it is.

    Raises:
        StatisticsError: when there are ties and the range rule is `tensorrt`, whose bins do not line up.
    """
    histograms = dict(collection.histograms)
    for names in ties:
        total = Histogram(collection.rule)
        for name in names:
            total.merge(collection.histograms[name])
        histograms.update(dict.fromkeys(names, total))
    return histograms
