"""Models for the tests of NVIDIA's compiler, quantized by this package, and the mark of tests that run it."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from helpers import toys
from onnx_trtcal import Options, QdqOptions, quantize

if TYPE_CHECKING:
    from collections.abc import Sequence

needs_compiler = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx-cu12 is not installed"
)


def values(*shape: int, seed: int = 0, spread: float = 0.2) -> np.ndarray:
    """Random float32 numbers."""
    return np.random.default_rng(seed).normal(0, spread, shape).astype(np.float32)


def quantized(model: onnx.ModelProto, **options: object) -> onnx.ModelProto:
    """The Q/DQ model that `quantize` makes, calibrated on three random samples."""
    inputs = {
        value.name: [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        for value in model.graph.input
    }
    data = [
        {name: values(*shape, seed=seed, spread=1.0) for name, shape in inputs.items()} for seed in range(3)
    ]
    settings = Options(provider="cpu", method="minmax")
    return quantize(model, data, settings, QdqOptions(**options)).proto()


class Pattern:
    """A model under construction: each call adds a node named after its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def op(self, kind: str, inputs: str | Sequence[str], out: str, **attributes: object) -> str:
        """Any operator."""
        self.nodes.append(toys.node(kind, inputs, out, name=f"n_{out}", **attributes))
        return out

    def store(self, name: str, array: np.ndarray) -> str:
        """An initializer."""
        self.constants[name] = array
        return name

    def conv(self, data: str, out: str, into: int, outof: int, kernel: int = 3, **attributes: object) -> str:
        """A convolution with a bias that keeps height and width."""
        group = int(str(attributes.get("group", 1)))
        seed = len(self.constants)
        weight = self.store(f"w_{out}", values(outof, into // group, kernel, kernel, seed=seed))
        bias = self.store(f"b_{out}", values(outof, seed=seed + 1))
        pads = [kernel // 2] * 4
        return self.op("Conv", [data, weight, bias], out, pads=pads, kernel_shape=[kernel] * 2, **attributes)

    def linear(self, data: str, out: str, into: int, outof: int) -> str:
        """MatMul and a bias, as exporters write a linear layer; the product is named after `out`."""
        seed = len(self.constants)
        weight = self.store(f"w_{out}", values(into, outof, seed=seed))
        bias = self.store(f"b_{out}", values(outof, seed=seed + 1))
        product = self.op("MatMul", [data, weight], out)
        return self.op("Add", [product, bias], f"{out}_sum")

    def model(
        self, out: str, shape: Sequence[int | str] = (1, 24, 10, 14), opset: int = 17
    ) -> onnx.ModelProto:
        """The model from `x` to a tensor."""
        return toys.model(self.nodes, {"x": shape}, [out], self.constants, opset=opset)


def two_convs() -> onnx.ModelProto:
    """Conv, Relu, Conv."""
    pattern = Pattern()
    pattern.conv("x", "a", 24, 16)
    pattern.op("Relu", "a", "r")
    pattern.conv("r", "c", 16, 16, kernel=1)
    return pattern.model("c", (1, 24, 5, 6))


def attention(*, packed: bool = False, heads: int = 2, width: int = 32, steps: int = 20) -> onnx.ModelProto:
    """An attention: products q, k, v (or qkv and a Split), qk, pv and out."""
    pattern = Pattern()
    size = width // heads
    pattern.store("by_head", np.array([1, steps, heads, size], np.int64))
    pattern.store("joined", np.array([1, steps, width], np.int64))
    if packed:
        pattern.store("thirds", np.array([width] * 3, np.int64))
        whole = pattern.linear("x", "qkv", width, 3 * width)
        sides = ["q", "k", "v"]
        pattern.nodes.append(toys.node("Split", [whole, "thirds"], sides, name="n_split", axis=2))
    else:
        sides = [pattern.linear("x", name, width, width) for name in ("q", "k", "v")]
    for name, side, order in zip("qkv", sides, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True):
        pattern.op("Reshape", [side, "by_head"], f"{name}_heads")
        pattern.op("Transpose", f"{name}_heads", f"{name}_turned", perm=order)
    pattern.op("MatMul", "q_turned k_turned", "qk")
    pattern.op("Softmax", "qk", "p", axis=-1)
    pattern.op("MatMul", "p v_turned", "pv")
    pattern.op("Transpose", "pv", "back", perm=[0, 2, 1, 3])
    pattern.op("Reshape", "back joined", "all_heads")
    return pattern.model(pattern.linear("all_heads", "out", width, width), (1, steps, width))


def pooled_classifier(rows: int = 1) -> onnx.ModelProto:
    """Conv, global pooling and a Gemm, which is a matrix-vector product at batch 1."""
    pattern = Pattern()
    pattern.conv("x", "a", 24, 32)
    pattern.op("GlobalAveragePool", "a", "g")
    pattern.op("Flatten", "g", "f")
    pattern.store("w", values(40, 32, seed=9))
    pattern.store("b", values(40, seed=8))
    pattern.op("Gemm", "f w b", "y", transB=1)
    return pattern.model("y", (rows, 24, 9, 7))


def branches() -> onnx.ModelProto:
    """An If with a Conv in each of its bodies."""

    def body(name: str) -> onnx.GraphProto:
        out = onnx.helper.make_tensor_value_info(f"{name}_y", onnx.TensorProto.FLOAT, [1, 8, 6, 5])
        conv = toys.node("Conv", f"x w_{name}", f"{name}_y", name=f"n_{name}", pads=[1] * 4)
        return onnx.helper.make_graph([conv], name, [], [out])

    node = toys.node("If", "c", "y", name="n_if", then_branch=body("yes"), else_branch=body("no"))
    constants = {name: values(8, 16, 3, 3, seed=seed) for seed, name in enumerate(("w_yes", "w_no"))}
    shapes = {"x": [1, 16, 6, 5], "c": []}
    return toys.model([node], shapes, {"y": [1, 8, 6, 5]}, constants, dtypes={"c": onnx.TensorProto.BOOL})
