"""What is said of a Concat whose branches one INT8 scale cannot serve."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.compiler import Pattern, values
from helpers.small import CPU

from onnx_trtcal import calibrate, quantize
from onnx_trtcal.report.mixed import mixed_in_cache, mixed_in_model

if TYPE_CHECKING:
    import onnx

DATA = list(values(4, 24, 6, 6, spread=1.0))
MINMAX = replace(CPU, method="minmax")


def head(factor: float = 4000.0, tail: str = "output") -> onnx.ModelProto:
    """Boxes of some thousand beside scores below 1, joined and reshaped for the output, or read by a layer."""
    pattern = Pattern()
    pattern.conv("x", "b", 24, 8, kernel=1)
    pattern.op("Mul", ["b", pattern.store("stride", np.float32(factor))], "boxes")
    pattern.conv("x", "s", 24, 8, kernel=1)
    pattern.op("Sigmoid", "s", "scores")
    pattern.op("Concat", "boxes scores", "joined", axis=1)
    if tail == "output":
        pattern.store("shape", np.array([1, 16, -1]))
        return pattern.model(pattern.op("Reshape", "joined shape", "y"), (1, 24, 6, 6))
    if tail == "layer":
        pattern.op("MaxPool", "joined", "p", kernel_shape=[2, 2])
        return pattern.model(pattern.conv("p", "y", 16, 8), (1, 24, 6, 6))
    return pattern.model(pattern.op("Tanh", "joined", "y"), (1, 24, 6, 6))


def test_names_the_output_the_branches_and_what_tensorrt_makes_of_them() -> None:
    (said,) = mixed_in_cache(calibrate(head(), DATA, MINMAX))
    for part in (
        "Concat 'n_joined' (output 'y')",
        "'boxes' to ",
        "'scores' to 0.9",
        "one scale in the cache: in INT8 'scores' has nothing left but zeros",
        "onnx-trtcal quantize",
    ):
        assert part in said
    flags = shlex.split(said.split("floating point with ")[1].split(", or")[0])
    assert flags == ["--fp16", "--precisionConstraints=obey", "--layerPrecisions=n_joined:fp16"]


def test_says_how_many_levels_are_left() -> None:
    calibration = calibrate(head(16.0), DATA, MINMAX)
    (said,) = mixed_in_cache(calibration)
    levels = round(calibration.scales["scores"].threshold / calibration.scales["joined"].scale)
    assert 0 < levels < 4 and f"'scores' has {levels} of 127 levels" in said


def test_its_readers_are_named_where_layers_read_it() -> None:
    (said,) = mixed_in_cache(calibrate(head(tail="layer"), DATA, MINMAX))
    assert "--layerPrecisions=n_joined:fp16,n_y:fp16" in said and "its readers" in said
    assert "onnx-trtcal quantize" not in said


@pytest.mark.parametrize("tail", ["output", "layer", "other"])
def test_branches_close_together_are_no_matter(tail: str) -> None:
    calibration = calibrate(head(1.0, tail), DATA, MINMAX)
    assert mixed_in_cache(calibration) == []
    made = quantize(head(1.0, tail), calibration)
    assert mixed_in_model(made.quantized.placement, made.source.scales) == []


def test_tied_branches_are_as_far_apart_as_their_values() -> None:
    calibration = calibrate(head(), DATA, replace(MINMAX, tie_concat=True))
    assert calibration.scales["boxes"].scale == calibration.scales["scores"].scale
    (said,) = mixed_in_cache(calibration)
    (apart,) = mixed_in_cache(calibrate(head(), DATA, MINMAX))
    assert said == apart


def test_of_many_the_worst_are_explained_and_the_others_named() -> None:
    pattern = Pattern()
    for index in range(5):
        pattern.store(f"k{index}", np.float32(10.0 ** (index + 2)))
        pattern.op("Mul", f"x k{index}", f"big{index}")
        pattern.op("Concat", f"big{index} x", f"c{index}", axis=1)
        pattern.op("Tanh", f"c{index}", f"t{index}")
    pattern.op("Sum", [f"t{index}" for index in range(5)], "y")
    said = mixed_in_cache(calibrate(pattern.model("y", (1, 24, 6, 6)), DATA, MINMAX))
    assert [text.split("'")[1] for text in said] == ["n_c4", "n_c3", "n_c2", "c1"]
    assert said[-1].startswith("2 more Concats") and "'c1', 'c0'" in said[-1]


def test_a_qdq_model_keeps_it_in_floating_point_or_names_the_layer_that_reads_it() -> None:
    for tail, said in (
        (
            "output",
            "1 Concat of branches that lie too far apart for one scale stays in floating point: 'joined'",
        ),
        (
            "other",
            "1 Concat of branches that lie too far apart for one scale stays in floating point: 'joined'",
        ),
        ("layer", "in INT8 with one scale; to keep it in floating point: --exclude y"),
    ):
        made = quantize(head(tail=tail), DATA, MINMAX)
        (text,) = mixed_in_model(made.quantized.placement, made.source.scales)
        assert said in text


def test_an_unnamed_concat_is_called_by_its_output() -> None:
    model = head()
    for node in model.graph.node:
        node.name = ""
    (said,) = mixed_in_cache(calibrate(model, DATA, MINMAX))
    assert said.startswith("Concat 'joined' (output 'y')") and "keep it in floating point" in said
    assert "layerPrecisions" not in said
