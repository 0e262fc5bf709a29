"""Pictures as SVG, from small frozen descriptions: the same description gives the same bytes.

A page holds `STYLE` once and any number of `figure.markup`; a file holds `figure.standalone`.
"""

from __future__ import annotations

from onnx_trtcal.figures.bars import Bar, BarChart, bar_figure, noise_bars
from onnx_trtcal.figures.columns import Columns, columns
from onnx_trtcal.figures.distribution import Distribution, Mark, distribution_figure
from onnx_trtcal.figures.figure import Figure
from onnx_trtcal.figures.network import Network, NetworkPoint, network_figure
from onnx_trtcal.figures.sparkline import sparkline
from onnx_trtcal.figures.style import STYLE
from onnx_trtcal.figures.weights import WeightRanges, weight_ranges, weight_ranges_figure

__all__ = [
    "STYLE",
    "Bar",
    "BarChart",
    "Columns",
    "Distribution",
    "Figure",
    "Mark",
    "Network",
    "NetworkPoint",
    "WeightRanges",
    "bar_figure",
    "columns",
    "distribution_figure",
    "network_figure",
    "noise_bars",
    "sparkline",
    "weight_ranges",
    "weight_ranges_figure",
]
