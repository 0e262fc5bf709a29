"""What every folding test does: fold, run both models, compare every tensor that remains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx

from helpers import toys
from onnx_trtcal.graph.fold.fold import FoldReport, fold
from onnx_trtcal.graph.model.exporter import export_model
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load

if TYPE_CHECKING:
    from collections.abc import Mapping

FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.BFLOAT16,
)


def parameters(channels: int, seed: int = 0, prefix: str = "") -> dict[str, np.ndarray]:
    """Parameters of a BatchNormalization as training leaves them."""
    rng = np.random.default_rng(seed)
    return {
        f"{prefix}gamma": rng.normal(1, 0.5, channels).astype(np.float32),
        f"{prefix}beta": rng.normal(0, 1, channels).astype(np.float32),
        f"{prefix}mean": rng.normal(0, 2, channels).astype(np.float32),
        f"{prefix}var": rng.uniform(0.1, 3, channels).astype(np.float32),
    }


def batchnorm(data: str, output: str, prefix: str = "", **attributes: object) -> onnx.NodeProto:
    names = " ".join(f"{prefix}{name}" for name in ("gamma", "beta", "mean", "var"))
    return toys.node("BatchNormalization", f"{data} {names}", output, **attributes)


def folded(proto: onnx.ModelProto) -> tuple[FoldReport, onnx.ModelProto]:
    model = load(proto)
    graph = import_graph(model)
    report = fold(graph)
    return report, export_model(graph, model)


def check(
    proto: onnx.ModelProto, feeds: Mapping[str, np.ndarray], tolerance: float = 2e-5
) -> tuple[FoldReport, onnx.ModelProto]:
    """Folds a model and asserts that it computes what the original does, on every tensor it still has."""
    before = proto.SerializeToString()
    report, result = folded(proto)
    assert proto.SerializeToString() == before, "folding changed the model it was given"
    original = {name for node in proto.graph.node for name in node.output if name}
    remaining = {name for node in result.graph.node for name in node.output if name}
    assert set(report.vanished) == original - remaining
    assert set(report.vanished.values()) <= remaining
    types = load(proto).elem_types
    names = sorted(name for name in original & remaining if types[name] in FLOATS)
    for name, want, got in zip(names, run(proto, feeds, names), run(result, feeds, names), strict=True):
        assert got.shape == want.shape and got.dtype == want.dtype, name
        limit = tolerance * max(1e-6, float(np.abs(want.astype(np.float64)).max(initial=0)))
        np.testing.assert_allclose(
            got.astype(np.float64), want.astype(np.float64), rtol=0, atol=limit, err_msg=name
        )
    for tensor in result.graph.initializer:
        if tensor.data_type in FLOATS and tensor.name.endswith(".folded"):
            assert np.isfinite(onnx.numpy_helper.to_array(tensor).astype(np.float64)).all(), tensor.name
    return report, result


def run(proto: onnx.ModelProto, feeds: Mapping[str, np.ndarray], names: list[str]) -> list[np.ndarray]:
    """The named tensors, whichever of them are outputs."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(proto)
    known = {value.name for value in proto.graph.output}
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    return toys.run(exposed, feeds, names)


def operators(proto: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


def data(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)
