"""Pictures for the pages: the bundled network, drawn by the package's own functions when the pages are built."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from onnx import numpy_helper

import onnx_trtcal
from onnx_trtcal import EvaluationOptions, Options, SensitivityOptions
from onnx_trtcal.figures import (
    Figure,
    Network,
    NetworkPoint,
    bar_figure,
    distribution_figure,
    network_figure,
    noise_bars,
    weight_ranges,
    weight_ranges_figure,
)
from onnx_trtcal.methods.picture import distribution, solved_thresholds

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx_trtcal import Calibration

__all__ = ["FIGURES", "draw"]

_MODELS = Path(__file__).resolve().parents[2] / "models"
_MODEL, _DATA, _TEST = (_MODELS / name for name in ("digits_resnet.onnx", "digits_calib", "digits_test"))
# A ReLU with a long tail, on which the methods differ.
_TENSOR = "/stem/relu/Relu_output_0"
_WEIGHT = "/layer2/depthwise/conv/Conv"
# In CSS pixels, that of the text.
_WIDTH = 720


# What is said of each run is no part of the build's log.
logging.getLogger("onnx_trtcal").setLevel(logging.ERROR)


def draw(name: str, argument: str = "") -> Figure:
    """The figure of a name; some take an argument, such as a method."""
    return FIGURES[name](argument) if argument else FIGURES[name]()


def all_methods() -> Figure:
    """One tensor's magnitudes with the threshold of every method that needs no more than a histogram."""
    histogram = _calibration("entropy").histograms[_TENSOR]
    thresholds = solved_thresholds(histogram)
    return distribution_figure(distribution(_TENSOR, histogram, thresholds, "entropy"))


def one_method(method: str) -> Figure:
    """The same tensor with one method's threshold."""
    calibration = _calibration(method)
    threshold = calibration.thresholds[_TENSOR]
    made = distribution(_TENSOR, calibration.histograms[_TENSOR], {method: threshold}, method)
    return distribution_figure(made)


def network() -> Figure:
    """Where error appears in the network, and where it grows."""
    evaluation = onnx_trtcal.evaluate(_MODEL, _TEST, EvaluationOptions(_calibration("entropy")))
    points = [NetworkPoint(each.name, each.sqnr, "int8", each.lost) for each in evaluation.tensors]
    return network_figure(Network(tuple(points)), _WIDTH)


def sensitivity() -> Figure:
    """The groups of the network by the damage that INT8 does there."""
    options = Options(max_samples=32, provider="cpu")
    request = SensitivityOptions(_calibration("entropy"), options)
    ranked = onnx_trtcal.sensitivity(_MODEL, _TEST, request).ranked
    rows = [(group.name, group.damage.sqnr) for group in ranked]
    return bar_figure(noise_bars("One group in INT8, all others in FP32", rows))


def weights() -> Figure:
    """The range of each channel of a depthwise layer's weights."""
    graph = onnx_trtcal.calibrate(_MODEL, _DATA, Options(max_samples=1)).prepared.model.proto.graph
    name = next(node for node in graph.node if node.name == _WEIGHT).input[1]
    array = next(numpy_helper.to_array(each) for each in graph.initializer if each.name == name)
    return weight_ranges_figure(weight_ranges(name, array, axis=0))


FIGURES: dict[str, Callable[..., Figure]] = {
    "all-methods": all_methods,
    "method": one_method,
    "network": network,
    "sensitivity": sensitivity,
    "weights": weights,
}


@cache
def _calibration(method: str) -> Calibration:
    return onnx_trtcal.calibrate(_MODEL, _DATA, Options(method=method, provider="cpu"))
