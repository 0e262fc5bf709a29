"""Pictures of a histogram and of what each method makes of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onnx_trtcal.figures.columns import columns
from onnx_trtcal.figures.distribution import Distribution, Mark
from onnx_trtcal.figures.sparkline import sparkline
from onnx_trtcal.methods.compare import comparable_methods
from onnx_trtcal.methods.score import score
from onnx_trtcal.scales import HALF_STEP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.figures.figure import Figure
    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["distribution", "solved_thresholds", "spark"]

_SPARK_COLUMNS = 48


def solved_thresholds(histogram: Histogram) -> dict[str, float]:
    """Method -> its threshold, for every method that needs nothing but the histogram; in the tensor's units."""
    return {str(method): method.solve(histogram) for method in comparable_methods()}


def distribution(
    name: str,
    histogram: Histogram,
    thresholds: Mapping[str, float],
    chosen: str = "",
    *,
    heading: bool = True,
) -> Distribution:
    """What a figure shows of a tensor.

    Args:
        name: the tensor, as the figure calls it.
        histogram: its magnitudes, or those of all tensors that are tied to it.
        thresholds: method -> threshold, in the tensor's units.
        chosen: the method whose threshold is in use; empty for none.
        heading: whether the figure draws its name and what the chosen threshold does.
    """
    marks = tuple(Mark(method, value, method == chosen) for method, value in thresholds.items())
    return Distribution(
        name=name,
        counts=histogram.counts,
        bin_width=histogram.width,
        amax=histogram.amax,
        marks=marks if histogram.amax > 0 else (),
        zeros=histogram.zeros,
        nan=histogram.nan,
        inf=histogram.inf,
        note=_note(histogram, chosen, thresholds.get(chosen)),
        heading=heading,
    )


def spark(histogram: Histogram, threshold: float) -> Figure:
    """The same as small as a word: the distribution up to amax, and where the threshold is.

    Args:
        histogram: the tensor's.
        threshold: in the tensor's units.
    """
    amax = histogram.amax
    if not amax > 0:
        return sparkline((), title="no value other than 0")
    heights = columns(histogram.counts, histogram.width, amax, _SPARK_COLUMNS).heights
    return sparkline(heights, min(threshold / amax, 1.0), f"{threshold:.4g} of {amax:.4g}")


def _note(histogram: Histogram, chosen: str, threshold: float | None) -> str:
    parts = []
    if threshold is not None and histogram.amax > 0:
        found = score(histogram, threshold)
        lost = "exact" if found.sqnr == math.inf else f"SQNR {found.sqnr:.1f} dB"
        what = f"{chosen} at {threshold:.4g} keeps everything"
        if threshold * (1 + HALF_STEP) < histogram.amax:
            what = f"{chosen} keeps |x| up to {threshold:.4g} of {histogram.amax:.4g}, clips {_share(found.clipped)}"
        parts.append(f"{what}: {lost}")
    if histogram.zeros and histogram.amax > 0:
        parts.append(f"{_share(histogram.zeros / histogram.total)} zeros")
    parts += [
        f"{count:,} {name}" for name, count in (("NaN", histogram.nan), ("Inf", histogram.inf)) if count
    ]
    return "; ".join(parts)


def _share(share: float) -> str:
    return f"{100 * share:.3g} %"
