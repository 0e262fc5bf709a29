"""Lint's levels against NVIDIA's compiler: what it refuses, builds without INT8, and builds in INT8."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.compiler import needs_compiler, values

from onnx_trtcal.qdq.lint.lint import lint_model
from onnx_trtcal.trt.compiler.compile_model import compile_model

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = [needs_compiler, pytest.mark.slow]

OUT, INTO = 40, 24


def pair(scale: np.ndarray, zero: np.ndarray | None, **others: np.ndarray) -> onnx.ModelProto:
    """A Conv on 24 channels whose input has this scale and zero-point, and whose weights have others."""
    weight = others.get("weight", np.clip(np.rint(values(OUT, INTO, 3, 3) * 200), -127, 127).astype(np.int8))
    constants = {"s": scale, "wq": weight, "ws": others.get("weight_scale", np.full(OUT, 0.01, np.float32))}
    stated = ""
    if zero is not None:
        constants["z"], stated = zero, " z"
    if "weight_zero" in others:
        constants["wz"] = others["weight_zero"]
    nodes = [
        toys.node("QuantizeLinear", f"x s{stated}", "q", name="q"),
        toys.node("DequantizeLinear", f"q s{stated}", "d", name="d"),
        toys.node("DequantizeLinear", f"wq ws{' wz' if 'wz' in constants else ''}", "w", name="wd", axis=0),
        toys.node("Conv", "d w", "y", name="conv", pads=[1] * 4),
    ]
    dtype = onnx.TensorProto.FLOAT16 if scale.dtype == np.float16 else onnx.TensorProto.FLOAT
    return toys.model(
        nodes, {"x": [1, INTO, 7, 9]}, ["y"], constants, opset=19, dtypes={"x": dtype, "y": dtype}
    )


def with_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    model.opset_import[0].version = opset
    return model


def with_attribute(model: onnx.ModelProto, name: str, axis: int) -> onnx.ModelProto:
    node = next(each for each in model.graph.node if each.name == name)
    del node.attribute[:]
    node.attribute.append(onnx.helper.make_attribute("axis", axis))
    return model


def offset(shape: tuple[int, ...]) -> onnx.ModelProto:
    """A stored INT8 value of this shape that is added to what a Conv makes."""
    model = pair(SCALE, ZERO)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.full(shape, 9, np.int8), "cq"))
    model.graph.node.append(toys.node("DequantizeLinear", "cq s z", "c", name="cd"))
    model.graph.node.append(toys.node("Add", "y c", "t", name="add"))
    model.graph.output[0].name = "t"
    return model


SCALE, ZERO = np.array(0.03, np.float32), np.array(0, np.int8)
HALF = np.full(OUT, 0.01, np.float16)
CASES: Mapping[str, tuple[str, onnx.ModelProto]] = {
    "sound": ("", pair(SCALE, ZERO)),
    "shifted": ("error", pair(SCALE, np.array(7, np.int8))),
    "shifted unsigned": ("error", pair(SCALE, np.array(128, np.uint8))),
    "unsigned": ("limited", pair(SCALE, np.array(0, np.uint8))),
    "unstated": ("limited", pair(SCALE, None)),
    "16 bits": ("error", with_opset(pair(SCALE, np.array(0, np.int16)), 21)),
    "unsigned weights": ("error", pair(SCALE, ZERO, weight=np.ones((OUT, INTO, 3, 3), np.uint8))),
    "negative": ("error", pair(np.array(-0.03, np.float32), ZERO)),
    "infinite": ("limited", pair(np.array(np.inf, np.float32), ZERO)),
    "list of one": ("float", pair(np.full(1, 0.03, np.float32), np.zeros(1, np.int8))),
    "square": ("error", pair(np.full((1, 1), 0.03, np.float32), np.zeros((1, 1), np.int8))),
    "weight scale in a list of one": ("", pair(SCALE, ZERO, weight_scale=np.full(1, 0.01, np.float32))),
    "per input channel": (
        "float",
        with_attribute(pair(SCALE, ZERO, weight_scale=np.full(INTO, 0.01, np.float32)), "wd", 1),
    ),
    "wrong count": ("error", pair(SCALE, ZERO, weight_scale=np.full(9, 0.01, np.float32))),
    "zero-points of another size": ("error", pair(SCALE, ZERO, weight_zero=np.zeros(3, np.int8))),
    "half weights": ("error", pair(SCALE, ZERO, weight_scale=HALF)),
    "all half": ("", pair(np.array(0.03, np.float16), ZERO, weight_scale=HALF)),
    "all half, early": ("limited", with_opset(pair(np.array(0.03, np.float16), ZERO, weight_scale=HALF), 13)),
    "channels, early": ("limited", with_opset(pair(SCALE, ZERO), 12)),
    "stored value": ("error", offset(())),
    "stored list of one": ("", offset((1,))),
}


@pytest.mark.parametrize("case", CASES)
def test_the_level_is_what_the_compiler_does(case: str) -> None:
    level, model = CASES[case]
    levels = [finding.level for finding in lint_model(model) if finding.level != "advice"]
    made = compile_model(model)
    if level == "error":
        assert levels[:1] == ["error"] and not made.built
        return
    assert made.built, made.problems
    assert {layer.int8 for layer in made.layers} == {level != "float"}
    assert set(levels) == ({level} if level else set())
