"""The facts of the page as pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onnx_trtcal.evaluation.end_result import FINE
from onnx_trtcal.figures import (
    Network,
    NetworkPoint,
    bar_figure,
    columns,
    distribution_figure,
    network_figure,
    noise_bars,
    sparkline,
    weight_ranges_figure,
)
from onnx_trtcal.methods import picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_trtcal.figures import BarChart, Figure
    from onnx_trtcal.report.page.facts import Moved, Page, TensorFacts
    from onnx_trtcal.report.page.measured import MeasuredBlock

__all__ = ["before", "blocks", "damage", "distribution", "glance", "network", "weights"]

_GLANCE = 32  # columns of a picture in the table
_MOST_BARS = 12
_WIDTH = 500  # user units


def network(page: Page) -> Figure | None:
    """Error over depth, what runs in INT8, and damage; None where there is nothing to draw it from."""
    shown = [each for each in page.tensors if not each.product]
    if not shown:
        return None
    measured = any(each.sqnr is not None for each in shown)
    points = tuple(
        NetworkPoint(
            each.name,
            each.sqnr if measured or each.chosen is None else each.chosen.sqnr,
            each.precision or "other",
            each.lost,
            None if page.left_out else each.harm,
            each.key,
        )
        for each in shown
    )
    measure = "SQNR in dB" if measured else "SQNR in dB of each tensor by itself"
    return network_figure(Network(points, "Network", heading=False, measure=measure), 1040)


def blocks(found: Sequence[MeasuredBlock]) -> Figure | None:
    """The outputs, part by part; None where they are one part."""
    if len(found) < 2:
        return None
    shown = sorted(found, key=lambda each: (not each.verdict, each.sqnr))[:_MOST_BARS]
    muted = [at for at, each in enumerate(shown) if not each.verdict]
    chart = noise_bars("Parts of the outputs", [(each.name, each.sqnr) for each in shown], muted=muted)
    return _bars(chart, [each.sqnr for each in shown])


def damage(page: Page) -> Figure | None:
    """The most damaging groups; None where no ranking is at hand."""
    ranked = sorted((each for each in page.tensors if each.rank is not None), key=lambda each: each.rank or 0)
    shown = [each for each in ranked[:_MOST_BARS] if each.harm is not None]
    if not shown:
        return None
    rows = [(each.node or each.name, each.harm or 0.0) for each in shown]
    chart = noise_bars("Groups that cost most", rows, keys=[each.key for each in shown])
    return _bars(chart, [sqnr for _, sqnr in rows])


def _bars(chart: BarChart, sqnrs: Sequence[float]) -> Figure:
    """The worst bar stands out only where it is a loss."""
    bars = [
        replace(bar, emphasis=bar.emphasis and sqnr < FINE)
        for bar, sqnr in zip(chart.bars, sqnrs, strict=True)
    ]
    return bar_figure(replace(chart, bars=tuple(bars), heading=False), _WIDTH)


def distribution(tensor: TensorFacts) -> Figure | None:
    """The tensor's magnitudes with the thresholds of all methods; None without statistics."""
    histogram = tensor.histogram
    if histogram is None:
        return None
    thresholds = {each.label: each.value for each in tensor.thresholds}
    drawn = picture.distribution(tensor.name, histogram, thresholds, tensor.method, heading=False)
    return distribution_figure(drawn, _WIDTH)


def before(tensor: TensorFacts, moved: Moved) -> Figure | None:
    """The tensor's magnitudes in the run before, with the threshold then and now."""
    histogram = moved.histogram
    if histogram is None:
        return None
    thresholds = {"before": moved.threshold, "now": tensor.threshold or 0.0}
    title = f"{tensor.name}, the run before"
    return distribution_figure(
        picture.distribution(title, histogram, thresholds, "before", heading=False), _WIDTH
    )


def weights(tensor: TensorFacts) -> Figure | None:
    """The ranges of the layer's weights, channel by channel; None where they are not known."""
    return weight_ranges_figure(tensor.weights, _WIDTH) if tensor.weights else None


def glance(tensor: TensorFacts) -> Figure | None:
    """The distribution as small as a word, for the table."""
    histogram = tensor.histogram
    if histogram is None or not histogram.amax:
        return None
    found = columns(histogram.counts, histogram.width, histogram.amax, _GLANCE)
    return sparkline(found.heights, tensor.kept, "magnitudes, and the threshold as a line", 84, 20)
