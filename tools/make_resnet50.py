"""Writes a model of ResNet-50's shape with random weights and unfolded BatchNorm, to measure speed on.

    python tools/make_resnet50.py resnet50.onnx

Layer sizes follow He et al., Deep Residual Learning for Image Recognition (2015), table 1, with the stride in
the 3x3 convolution. Weights are drawn so that activations keep their size from layer to layer.
"""

from __future__ import annotations

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))


class Writer:
    """Collects nodes and weights; each method adds a layer and returns its output tensor."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, values: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def node(self, op: str, inputs: list[str], name: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [f"{name}_output_0"], name=name, **attributes))
        return f"{name}_output_0"

    def conv_bn(
        self, x: str, name: str, channels: tuple[int, int], kernel: int, stride: int, gain: float
    ) -> str:
        into, out = channels
        fan_in = into * kernel * kernel
        values = self.random.normal(0, np.sqrt(2 / fan_in), (out, into, kernel, kernel))
        conv = self.node(
            "Conv",
            [x, self.weight(f"{name}.conv.weight", values)],
            f"/{name}/conv/Conv",
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
        )
        parameters = {
            "weight": gain * self.random.uniform(0.8, 1.2, out),
            "bias": self.random.normal(0, 0.1, out),
            "running_mean": self.random.normal(0, 0.1, out),
            "running_var": self.random.uniform(0.8, 1.2, out),
        }
        names = [self.weight(f"{name}.bn.{key}", values) for key, values in parameters.items()]
        return self.node("BatchNormalization", [conv, *names], f"/{name}/bn/BatchNormalization")

    def bottleneck(self, x: str, name: str, into: int, width: int, stride: int) -> str:
        out = 4 * width
        y = self.conv_bn(x, f"{name}/1", (into, width), 1, 1, 1.0)
        y = self.node("Relu", [y], f"/{name}/relu1")
        y = self.conv_bn(y, f"{name}/2", (width, width), 3, stride, 1.0)
        y = self.node("Relu", [y], f"/{name}/relu2")
        # The branch adds a little to the shortcut, so that sixteen blocks do not blow the values up.
        y = self.conv_bn(y, f"{name}/3", (width, out), 1, 1, 0.3)
        if into != out or stride != 1:
            x = self.conv_bn(x, f"{name}/down", (into, out), 1, stride, 1.0)
        return self.node("Relu", [self.node("Add", [y, x], f"/{name}/Add")], f"/{name}/relu3")


def make_resnet50(seed: int = 0) -> onnx.ModelProto:
    """The model: input `input` (N, 3, 224, 224), output `logits` (N, 1000), float32, opset 17."""
    writer = Writer(seed)
    x = writer.conv_bn("input", "stem", (3, 64), 7, 2, 1.0)
    x = writer.node("Relu", [x], "/stem/relu")
    x = writer.node("MaxPool", [x], "/stem/pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    into = 64
    for stage, (blocks, width, stride) in enumerate(STAGES, 1):
        for block in range(blocks):
            x = writer.bottleneck(x, f"layer{stage}.{block}", into, width, stride if block == 0 else 1)
            into = 4 * width
    x = writer.node("GlobalAveragePool", [x], "/pool")
    x = writer.node("Flatten", [x], "/flatten")
    fc = writer.weight("fc.weight", writer.random.normal(0, 0.02, (1000, into)))
    bias = writer.weight("fc.bias", np.zeros(1000))
    writer.nodes.append(helper.make_node("Gemm", [x, fc, bias], ["logits"], name="/fc/Gemm", transB=1))
    graph = helper.make_graph(
        writer.nodes,
        "resnet50",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 224, 224])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 1000])],
        writer.weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    onnx.save(make_resnet50(), sys.argv[1])
