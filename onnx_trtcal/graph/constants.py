"""Tensors that depend on no input: their largest magnitudes, found by running their nodes once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import onnx

from onnx_trtcal.graph.model.order import reads, sorted_nodes
from onnx_trtcal.graph.outputs import set_outputs

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from onnx_trtcal.graph.model.load import Model

__all__ = ["constant_amax", "largest_magnitude"]

logger = logging.getLogger(__name__)


def largest_magnitude(values: np.ndarray) -> float:
    """The largest finite magnitude; 0.0 where there is none (masks hold -inf, which is no range to cover)."""
    if values.size == 0:
        return 0.0
    largest = max(abs(float(values.max())), abs(float(values.min())))
    if np.isfinite(largest):
        return largest
    finite = values[np.isfinite(values)]
    return largest_magnitude(finite)


def constant_amax(model: Model, wanted: Sequence[str]) -> dict[str, float]:
    """The largest magnitude of each of the tensors, which must depend on no graph input.

    Only the nodes they need are run, on the CPU. A tensor that cannot be computed so (by a custom op, say) is
    left out of the answer.
    """
    if not wanted:
        return {}
    nodes, initializers = _needed(model.proto.graph, wanted)
    part = onnx.ModelProto(ir_version=max(model.proto.ir_version, 4))
    part.opset_import.extend(model.proto.opset_import)
    part.functions.extend(model.proto.functions)
    part.graph.name = "constants"
    part.graph.node.extend(nodes)
    part.graph.initializer.extend(initializers)
    set_outputs(part.graph, wanted, model.elem_types)
    try:
        values = _run(part, model)
    except Exception as error:  # ONNX Runtime raises many kinds; the tensors are then measured like others
        logger.debug("constants not computed apart: %s", error)
        return {}
    return {name: largest_magnitude(value) for name, value in zip(wanted, values, strict=True)}


def _needed(
    graph: onnx.GraphProto, wanted: Collection[str]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    needed = set(wanted)
    nodes = []
    for node in reversed(sorted_nodes(graph.node)):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(reads(node))
    return nodes[::-1], [tensor for tensor in graph.initializer if tensor.name in needed]


def _run(part: onnx.ModelProto, model: Model) -> list[np.ndarray]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if model.directory is not None:
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(model.directory)
        )
    session = ort.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, {}))
