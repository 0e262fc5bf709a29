"""Runs a few nodes on values that are known: how a constant is computed.

ONNX Runtime runs them on the CPU without optimizations, as it would run them in the model; onnx's reference
evaluator stands in for the element types that ONNX Runtime has no CPU kernels for.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from onnx_trtcal.graph.model.exporter import export_node
from onnx_trtcal.graph.model.external import reference
from onnx_trtcal.graph.model.inference import infer_types
from onnx_trtcal.graph.model.weights import to_proto
from onnx_trtcal.graph.ops import is_standard_domain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import onnx_graphsurgeon as gs

__all__ = ["MAX_RESULT_BYTES", "MAX_WORK_BYTES", "compute"]

logger = logging.getLogger(__name__)

MAX_RESULT_BYTES = 2 << 30
"""A constant larger than this is not computed: no weight is that large."""
MAX_WORK_BYTES = 8 << 30
"""Nor is one whose nodes together make more than this, as far as shape inference tells."""

# Larger arrays are handed to the session beside the model.
_INLINE_BYTES = 1 << 16
_IR_VERSION = 10


def compute(
    nodes: Sequence[gs.Node],
    sources: Mapping[str, np.ndarray],
    wanted: Sequence[str],
    opsets: Mapping[str, int],
    functions: Iterable[onnx.FunctionProto] = (),
) -> list[np.ndarray] | None:
    """The values of some tensors that nodes make.

    Args:
        nodes: each after those it reads from.
        sources: what they start from, by name.
        wanted: names of tensors.
        opsets: domain -> version, "" for ONNX's own.
        functions: the model's own functions, which nodes may call.

    Returns:
        The values in the order of `wanted`; None when neither runtime runs the nodes, or when the results
        are beyond `MAX_RESULT_BYTES`, or everything on the way to them beyond `MAX_WORK_BYTES`.
    """
    model, arrays = _model(nodes, sources, wanted, opsets)
    model.functions.extend(functions)
    if _makes_too_much(model, wanted):
        return None
    for run in (_run, _run_reference):
        try:
            found = run(model, arrays)
        except Exception as error:  # noqa: BLE001 (both raise many kinds; a model that runs raises none)
            logger.debug("constants not computed by %s: %s", run.__name__, error)
            continue
        if all(isinstance(each, np.ndarray) and each.nbytes <= MAX_RESULT_BYTES for each in found):
            return found
    return None


def _model(
    nodes: Iterable[gs.Node],
    sources: Mapping[str, np.ndarray],
    wanted: Iterable[str],
    opsets: Mapping[str, int],
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The nodes as a model, and the arrays that it only declares."""
    model = onnx.ModelProto(ir_version=_IR_VERSION)
    model.graph.name = "constants"
    model.graph.node.extend(export_node(node) for node in nodes)
    domains = {domain: version for domain, version in opsets.items() if not is_standard_domain(domain)}
    others = {node.domain for node in model.graph.node if not is_standard_domain(node.domain)}
    domains = {"": opsets[""], **dict.fromkeys(sorted(others), 1), **domains}
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in domains.items())
    arrays: dict[str, np.ndarray] = {}
    for name, value in sources.items():
        if value.nbytes > _INLINE_BYTES and value.dtype.isbuiltin == 1 and value.dtype != object:
            elem_type = helper.np_dtype_to_tensor_dtype(value.dtype)
            model.graph.initializer.append(reference(name, elem_type, value.shape))
            arrays[name] = value
        else:
            model.graph.initializer.append(to_proto(name, value))
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    return model, arrays


def _makes_too_much(model: onnx.ModelProto, wanted: Iterable[str]) -> bool:
    """Whether results or all tensors on the way are beyond the limits, as far as their shapes are inferred."""
    types = infer_types(model)

    def nbytes(name: str) -> int:
        shape, elem_type = types.shapes.get(name), types.elem_types.get(name)
        if shape is None or not elem_type or elem_type == onnx.TensorProto.STRING:
            return 0
        sizes = [size if isinstance(size, int) else 1 for size in shape]
        return math.prod(sizes) * helper.tensor_dtype_to_np_dtype(elem_type).itemsize

    made = [name for node in model.graph.node for name in node.output if name]
    return any(nbytes(name) > MAX_RESULT_BYTES for name in wanted) or sum(map(nbytes, made)) > MAX_WORK_BYTES


def _run(model: onnx.ModelProto, arrays: dict[str, np.ndarray]) -> list[Any]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if arrays:
        values = [ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(each)) for each in arrays.values()]
        options.add_external_initializers(list(arrays), values)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, {}))


def _run_reference(model: onnx.ModelProto, arrays: dict[str, np.ndarray]) -> list[Any]:
    from onnx.reference import ReferenceEvaluator

    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    kept = [tensor for tensor in whole.graph.initializer if tensor.name not in arrays]
    del whole.graph.initializer[:]
    whole.graph.initializer.extend(kept)
    for name, value in arrays.items():
        elem_type = helper.np_dtype_to_tensor_dtype(value.dtype)
        whole.graph.input.append(helper.make_tensor_value_info(name, elem_type, value.shape))
    with np.errstate(all="ignore"):
        return [np.asarray(each) for each in ReferenceEvaluator(whole).run(None, arrays)]
