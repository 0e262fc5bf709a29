"""Toy layers and a slow, independent fake-quantization for the Q/DQ tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

from helpers import toys
from onnx_trtcal.graph.fold.fold import fold
from onnx_trtcal.graph.groups.group import find_groups
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.place.place import place
from onnx_trtcal.run.half_qdq import half_qdq_in_float32

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx

    from onnx_trtcal.qdq.place.placement import Placement


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    """Random float32 weights."""
    return np.random.default_rng(seed).normal(0, 0.3, shape).astype(np.float32)


def conv(data: str, out: str, weight: str, kernel: int = 3, **attributes: object) -> onnx.NodeProto:
    """A Conv that keeps height and width."""
    pad = kernel // 2
    return toys.node(
        "Conv",
        f"{data} {weight}",
        out,
        name=f"node_{out}",
        pads=[pad] * 4,
        kernel_shape=[kernel] * 2,
        **attributes,
    )


def pool_branch() -> onnx.ModelProto:
    """An Inception block: x -> stem relu, which one Conv reads, and another one behind a MaxPool."""
    nodes = [
        conv("x", "a", "w"),
        toys.node("Relu", "a", "ar"),
        toys.node("MaxPool", "ar", "mp", name="pool", kernel_shape=[3, 3], pads=[1] * 4),
        conv("ar", "b1", "w1"),
        conv("mp", "b2", "w2"),
        toys.node("Concat", "b1 b2", "y", axis=1),
    ]
    constants = {name: weights(16, 16, 3, 3, seed=seed) for seed, name in enumerate(("w", "w1", "w2"))}
    return toys.model(nodes, {"x": ["N", 16, 6, 6]}, ["y"], constants)


def placed(model: onnx.ModelProto, options: QdqOptions = QdqOptions(), **kwargs: object) -> Placement:
    """The placement on a model's folded graph."""
    loaded = load(model)
    graph = import_graph(loaded)
    fold(graph)
    return place(graph, find_groups(graph, loaded.shapes), options, **kwargs)


def pairs(placement: Placement) -> dict[str, list[tuple[str, int]]]:
    """Tensor with a pair -> who reads it."""
    return {a.tensor: [(read.node, read.index) for read in a.reads] for a in placement.activations}


def float_arithmetic(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list:
    """Runs a Q/DQ model with Q and DQ as the float ops they are: no integer kernels, no optimisation."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    # Below 1.30, ONNX Runtime's Q of float16 rounds in float16.
    wide = half_qdq_in_float32(model.SerializeToString())
    session = ort.InferenceSession(wide, options, providers=["CPUExecutionProvider"])
    return session.run(list(outputs), dict(feeds))


def fake_quant(values: np.ndarray, scale: float | np.ndarray) -> np.ndarray:
    """clip(round(x / s)) * s, to int8."""
    return (np.clip(np.rint(values / scale), -128, 127) * scale).astype(np.float32)


def fake_quant_channels(weight: np.ndarray, axis: int) -> np.ndarray:
    """Each slice along `axis` on its own symmetric INT8 grid, slice by slice."""
    result = np.empty_like(weight)
    for index in range(weight.shape[axis]):
        at = tuple(index if each == axis else slice(None) for each in range(weight.ndim))
        result[at] = fake_quant(weight[at], np.float32(np.abs(weight[at]).max()) / np.float32(127))
    return result
