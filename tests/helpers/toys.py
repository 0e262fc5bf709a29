"""Toy ONNX models in a few lines, for every test of the suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str | None]


def node(
    op: str, inputs: str | Sequence[str], outputs: str | Sequence[str], **attributes: object
) -> onnx.NodeProto:
    """A node; inputs and outputs may be given as one space-separated string."""
    as_list = [value.split() if isinstance(value, str) else list(value) for value in (inputs, outputs)]
    domain = str(attributes.pop("domain", ""))
    return helper.make_node(op, *as_list, domain=domain, **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape | None] | Sequence[str],
    constants: Mapping[str, np.ndarray] | None = None,
    *,
    opset: int = 17,
    ir_version: int = 8,
    dtypes: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """A model; tensors are float32 unless `dtypes` says otherwise, output shapes may be unknown (None)."""
    kinds = dict(dtypes or {})
    shapes = outputs if isinstance(outputs, Mapping) else dict.fromkeys(outputs)
    graph = helper.make_graph(
        list(nodes),
        "toy",
        [helper.make_tensor_value_info(k, kinds.get(k, TensorProto.FLOAT), v) for k, v in inputs.items()],
        [helper.make_tensor_value_info(k, kinds.get(k, TensorProto.FLOAT), v) for k, v in shapes.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def run(
    proto: onnx.ModelProto, feeds: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None
) -> list[np.ndarray]:
    """The outputs that plain ONNX Runtime computes on the CPU with all graph optimisations off."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(list(outputs) if outputs else None, dict(feeds))
