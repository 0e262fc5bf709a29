"""The facts of the page as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.figures import (
    Distribution,
    Mark,
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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_trtcal.figures import Figure
    from onnx_trtcal.report.page.facts import Moved, Page, TensorFacts
    from onnx_trtcal.report.page.measured import MeasuredBlock

__all__ = ["before", "blocks", "damage", "distribution", "glance", "network", "weights"]

_GLANCE = 32  # columns of a picture in the table
_MOST_BARS = 12
_NAMED = 640  # user units: as wide as a detail


def network(page: Page) -> Figure | None:
    """Error over depth, what runs in INT8, and damage; None where there is nothing to draw it from."""
    shown = [each for each in page.tensors if not each.product]
    if not shown:
        return None
    points = tuple(
        NetworkPoint(
            each.name,
            each.sqnr,
            each.precision or "other",
            each.lost,
            None if page.left_out else each.harm,
            each.key,
        )
        for each in shown
    )
    return network_figure(Network(points, "Network", heading=False), 1040)


def blocks(found: Sequence[MeasuredBlock]) -> Figure | None:
    """The outputs, part by part; None without any."""
    if not found:
        return None
    shown = sorted(found, key=lambda each: (not each.verdict, each.sqnr))[:_MOST_BARS]
    muted = [at for at, each in enumerate(shown) if not each.verdict]
    return bar_figure(noise_bars("Outputs", [(each.name, each.sqnr) for each in shown], muted=muted), 520)


def damage(page: Page) -> Figure | None:
    """The most damaging groups; None where no ranking is at hand."""
    ranked = sorted((each for each in page.tensors if each.rank is not None), key=lambda each: each.rank or 0)
    shown = [each for each in ranked[:_MOST_BARS] if each.harm is not None]
    if not shown:
        return None
    title = "All in INT8 but this group" if page.left_out else "This group alone in INT8"
    rows = [(each.node or each.name, each.harm or 0.0) for each in shown]
    return bar_figure(noise_bars(title, rows, keys=[each.key for each in shown]), 520)


def distribution(tensor: TensorFacts) -> Figure | None:
    """The tensor's magnitudes with the thresholds of all methods; None without statistics."""
    histogram = tensor.histogram
    if histogram is None:
        return None
    marks = tuple(Mark(each.label, each.value, each.chosen) for each in tensor.thresholds)
    return distribution_figure(
        Distribution(
            tensor.name,
            histogram.counts,
            histogram.width,
            histogram.amax,
            marks,
            histogram.zeros,
            histogram.nan,
            histogram.inf,
            heading=False,
        ),
        _NAMED,
    )


def before(tensor: TensorFacts, moved: Moved) -> Figure | None:
    """The tensor's magnitudes in the run before, with the threshold then and now."""
    histogram = moved.histogram
    if histogram is None:
        return None
    marks = [Mark("before", moved.threshold, chosen=True)]
    marks += [] if tensor.threshold is None else [Mark("now", tensor.threshold)]
    return distribution_figure(
        Distribution(
            f"{tensor.name}, the run before",
            histogram.counts,
            histogram.width,
            histogram.amax,
            tuple(marks),
            histogram.zeros,
            heading=False,
        ),
        _NAMED,
    )


def weights(tensor: TensorFacts) -> Figure | None:
    """The ranges of the layer's weights, channel by channel; None where they are not known."""
    return weight_ranges_figure(tensor.weights.ranges, _NAMED) if tensor.weights else None


def glance(tensor: TensorFacts) -> Figure | None:
    """The distribution as small as a word, for the table."""
    histogram = tensor.histogram
    if histogram is None or not histogram.amax:
        return None
    found = columns(histogram.counts, histogram.width, histogram.amax, _GLANCE)
    return sparkline(found.heights, tensor.kept, "", 84, 20)
