"""The two networks as ONNX graphs with initial weights, named the way PyTorch's exporter names things.

The module `layer1/conv` gives the node `/layer1/conv/Conv`, the tensor `/layer1/conv/Conv_output_0` and the
parameter `layer1.conv.weight`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["digits_mlp", "digits_resnet"]

SEED = 20
EPSILON, MOMENTUM = 1e-5, 0.9
OPSET, IR_VERSION = 13, 7  # ONNX 1.8 (2020): whatever reads ONNX today reads these


class Network:
    """Collects nodes and initial weights; every method returns the name of the tensor it added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}
        self._rng = np.random.default_rng(SEED)

    def op(self, module: str, kind: str, inputs: Sequence[str], **attributes: object) -> str:
        path = f"/{module}/{kind}" if module else f"/{kind}"
        output = f"{path}_output_0"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=path, **attributes))
        return output

    def weight(self, name: str, shape: tuple[int, ...], fan_in: int) -> str:
        """A parameter with He's initialisation for ReLU: normal, standard deviation sqrt(2 / fan_in)."""
        self.weights[name] = (self._rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)
        return name

    def bias(self, name: str, size: int, fan_in: int) -> str:
        """Uniform within 1 / sqrt(fan_in). BatchNormalization hides it, so it stays far from zero."""
        bound = 1 / np.sqrt(fan_in)
        self.weights[name] = self._rng.uniform(-bound, bound, size).astype(np.float32)
        return name

    def constant(self, name: str, value: float, size: int) -> str:
        self.weights[name] = np.full(size, value, np.float32)
        return name

    def conv(
        self,
        module: str,
        x: str,
        channels: tuple[int, int],
        *,
        kernel: int = 3,
        groups: int = 1,
        bias: bool = False,
    ) -> str:
        into, out = channels
        name = module.replace("/", ".")
        fan_in = into // groups * kernel * kernel
        inputs = [x, self.weight(f"{name}.weight", (out, into // groups, kernel, kernel), fan_in)]
        if bias:
            inputs.append(self.bias(f"{name}.bias", out, fan_in))
        sizes = {"kernel_shape": [kernel, kernel], "pads": [kernel // 2] * 4, "strides": [1, 1]}
        return self.op(module, "Conv", inputs, dilations=[1, 1], group=groups, **sizes)

    def norm(self, module: str, x: str, channels: int) -> str:
        name = module.replace("/", ".")
        starts = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}
        inputs = [x, *(self.constant(f"{name}.{part}", value, channels) for part, value in starts.items())]
        return self.op(module, "BatchNormalization", inputs, epsilon=EPSILON, momentum=MOMENTUM)

    def gemm(self, module: str, x: str, channels: tuple[int, int]) -> str:
        into, out = channels
        weight, bias = (
            self.weight(f"{module}.weight", (out, into), into),
            self.bias(f"{module}.bias", out, into),
        )
        return self.op(module, "Gemm", [x, weight, bias], alpha=1.0, beta=1.0, transB=1)

    def matmul(self, module: str, x: str, channels: tuple[int, int]) -> str:
        into, out = channels
        product = self.op(module, "MatMul", [x, self.weight(f"{module}.weight", (into, out), into)])
        return self.op(module, "Add", [self.bias(f"{module}.bias", out, into), product])

    def conv_norm_relu(
        self,
        module: str,
        x: str,
        channels: tuple[int, int],
        *,
        kernel: int = 3,
        groups: int = 1,
        bias: bool = False,
    ) -> str:
        x = self.conv(f"{module}/conv", x, channels, kernel=kernel, groups=groups, bias=bias)
        return self.op(f"{module}/relu", "Relu", [self.norm(f"{module}/bn", x, channels[1])])

    def model(self, name: str, shape: Sequence[int | str]) -> onnx.ModelProto:
        """The model from `input`, of the given shape, to the last node's output, from now on `logits`."""
        self.nodes[-1].output[:] = ["logits"]
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [shape[0], 10])],
            [numpy_helper.from_array(value, key) for key, value in self.weights.items()],
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(
            graph, producer_name="make_models", ir_version=IR_VERSION, opset_imports=opsets
        )


def digits_resnet() -> onnx.ModelProto:
    """Residual block, pooling, depthwise-separable pair, two concatenated branches, projected residual."""
    net = Network()
    stem = net.conv_norm_relu("stem", "input", (1, 16), bias=True)

    x = net.conv_norm_relu("layer1", stem, (16, 16))
    x = net.norm("layer1/bn2", net.conv("layer1/conv2", x, (16, 16)), 16)
    x = net.op("layer1/out", "Relu", [net.op("layer1", "Add", [x, stem])])
    x = net.op("pool", "MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0], ceil_mode=0)

    x = net.conv_norm_relu("layer2/depthwise", x, (16, 16), groups=16)
    x = net.conv_norm_relu("layer2/pointwise", x, (16, 32), kernel=1)

    narrow = net.conv_norm_relu("mixed/branch1", x, (32, 16), kernel=1)
    wide = net.conv_norm_relu("mixed/branch2", x, (32, 16))
    mixed = net.op("mixed", "Concat", [narrow, wide], axis=1)

    x = net.norm("layer3/bn", net.conv("layer3/conv", mixed, (32, 48)), 48)
    skip = net.norm("layer3/downsample/bn", net.conv("layer3/downsample/conv", mixed, (32, 48), kernel=1), 48)
    x = net.op("layer3/out", "Relu", [net.op("layer3", "Add", [x, skip])])

    x = net.op("", "Flatten", [net.op("avgpool", "GlobalAveragePool", [x])], axis=1)
    net.gemm("fc", x, (48, 10))
    return net.model("digits_resnet", ["batch", 1, 8, 8])


def digits_mlp() -> onnx.ModelProto:
    """Two hidden layers: a Gemm, then a MatMul and Add, each with BatchNormalization and ReLU."""
    net = Network()
    x = net.norm("fc1/bn", net.gemm("fc1", "input", (64, 128)), 128)
    x = net.op("fc1/relu", "Relu", [x])
    x = net.norm("fc2/bn", net.matmul("fc2", x, (128, 96)), 96)
    x = net.op("fc2/relu", "Relu", [x])
    net.gemm("fc3", x, (96, 10))
    return net.model("digits_mlp", ["batch", 64])
