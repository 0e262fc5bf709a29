"""The values of tensors that depend on no graph input.

A tensor is constant when it is stored, or when a deterministic node makes it of constants alone. Whoever needs
such a value asks `Constants`: folding, fusing, planning, and Q/DQ. Values are computed by ONNX Runtime on the
CPU, as the model itself would compute them, from the few nodes that a tensor needs; onnx's reference evaluator
stands in for the element types that ONNX Runtime has no CPU kernels for.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import helper

from onnx_trtcal.graph.model.exporter import export_node
from onnx_trtcal.graph.model.external import reference
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.inference import infer_types
from onnx_trtcal.graph.model.order import reads
from onnx_trtcal.graph.model.weights import to_proto
from onnx_trtcal.graph.ops import is_standard_domain
from onnx_trtcal.graph.view import is_random, kind, outer_tensors, stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onnx_trtcal.graph.model.load import Model

__all__ = ["MAX_RESULT_BYTES", "MAX_WORK_BYTES", "Constants", "constant_amax", "largest_magnitude"]

logger = logging.getLogger(__name__)

MAX_RESULT_BYTES = 2 << 30
"""A computed constant larger than this is not known: no weight is that large."""
MAX_WORK_BYTES = 8 << 30
"""Nor is one whose nodes together make more than this, as far as shape inference tells."""

# Computed values are kept up to here altogether, the latest ones: a model may compute all its weights.
_KEPT_BYTES = 256 << 20
# Larger arrays are handed to the session beside the model.
_INLINE_BYTES = 1 << 16
_IR_VERSION = 10


class Constants:
    """The constants of a graph, computed when asked for.

    The graph may be rewritten meanwhile, as long as no constant gets another value.

    Args:
        graph: the graph, or the main graph that a tensor asked for belongs to.
        functions: the model's own functions, which nodes may call.
        opaque: kinds of nodes that are not looked through: what they make counts as computed.
    """

    def __init__(
        self,
        graph: gs.Graph,
        functions: Iterable[onnx.FunctionProto] = (),
        opaque: frozenset[str] = frozenset(),
    ) -> None:
        self._graph = graph
        self._functions = tuple(functions)
        self._opaque = opaque
        # By identity, because names may occur again in subgraphs; the tensor is kept so that its id stays its.
        self._known: dict[int, tuple[gs.Tensor, bool]] = {}
        self._values: dict[int, tuple[gs.Tensor, np.ndarray]] = {}
        self._shapes: dict[int, tuple[gs.Tensor, tuple[int, ...] | None]] = {}

    def is_constant(self, tensor: gs.Tensor) -> bool:
        """Whether a tensor depends on constants alone; nothing is read or computed to find out."""
        pending = [tensor]
        asked: set[int] = set()
        while pending:
            current = pending[-1]
            if id(current) in self._known:
                pending.pop()
                continue
            asked.add(id(current))
            needs = self._made_of(current)
            unknown = [each for each in needs or () if id(each) not in self._known and id(each) not in asked]
            if unknown:
                pending += unknown
                continue
            # What is asked for and still not known here lies on a cycle, and is no constant.
            answer = needs is not None and all(self._known.get(id(each), (each, False))[1] for each in needs)
            self._known[id(current)] = (current, answer)
            pending.pop()
        return self._known[id(tensor)][1]

    def value(self, tensor: gs.Tensor) -> np.ndarray | None:
        """A constant's value, which must not be written to; None for any other tensor.

        None as well where no value can be had: the nodes cannot be run (operators of a custom library), or
        the value is beyond `MAX_RESULT_BYTES` or `MAX_WORK_BYTES`.
        """
        return self.values([tensor])[0]

    def values(self, tensors: Sequence[gs.Tensor]) -> list[np.ndarray | None]:
        """As `value`, for several tensors at once, whose common nodes then run once."""
        unknown = {
            id(each): each for each in tensors if self._at_hand(each) is None and self._is_computable(each)
        }
        computed = self._compute(list(unknown.values())) if unknown else []
        if computed is None and len(unknown) > 1:
            return [self.value(each) for each in tensors]
        made: dict[int, np.ndarray | None] = dict.fromkeys(unknown)
        made.update(zip(unknown, computed or (), strict=False))
        for key, tensor in unknown.items():
            self._keep(tensor, made[key])
        return [made[id(each)] if id(each) in made else self._at_hand(each) for each in tensors]

    def shape(self, tensor: gs.Tensor) -> tuple[int, ...] | None:
        """The shape of `value`, None where that is None; no stored value is read for it."""
        held = stored(tensor)
        if isinstance(held, gs.Constant):
            return tuple(held.shape)
        if held is not None:
            return held.shape
        if id(tensor) not in self._shapes:
            self.value(tensor)
        return self._shapes.get(id(tensor), (tensor, None))[1]

    def scalar(self, tensor: gs.Tensor) -> float | None:
        """The value of a constant of one element; None for other tensors. No larger one is read."""
        shape = self.shape(tensor)
        if shape is None or math.prod(shape) != 1:
            return None
        value = self.value(tensor)
        return None if value is None else float(value.reshape(-1)[0])

    def _made_of(self, tensor: gs.Tensor) -> list[gs.Tensor] | None:
        """What decides whether a tensor is constant; None for one that is not, whatever its node reads."""
        if isinstance(tensor, gs.Constant):
            return []
        node = tensor.inputs[0] if len(tensor.inputs) == 1 else None
        if node is None or kind(node) in self._opaque or is_random(node):
            return None
        return _needs(node)

    def _at_hand(self, tensor: gs.Tensor) -> np.ndarray | None:
        """A value that is stored, or was computed and kept."""
        held = stored(tensor)
        if isinstance(held, gs.Constant):
            return np.asarray(held.values)
        if held is not None:
            return held
        return self._values[id(tensor)][1] if id(tensor) in self._values else None

    def _is_computable(self, tensor: gs.Tensor) -> bool:
        """Whether a tensor is constant, and was not computed in vain before."""
        known = self._shapes.get(id(tensor))
        return self.is_constant(tensor) and (known is None or known[1] is not None)

    def _keep(self, tensor: gs.Tensor, values: np.ndarray | None) -> None:
        self._shapes[id(tensor)] = (tensor, None if values is None else values.shape)
        if values is None:
            return
        values.flags.writeable = False
        self._values[id(tensor)] = (tensor, values)
        total = sum(kept.nbytes for _, kept in self._values.values())
        while total > _KEPT_BYTES:
            total -= self._values.pop(next(iter(self._values)))[1].nbytes

    def _compute(self, wanted: Sequence[gs.Tensor]) -> list[np.ndarray] | None:
        """Runs the nodes that some constants need; None when they cannot be run, or would make too much."""
        nodes, sources = self._needed(wanted)
        model, arrays = self._model(nodes, sources, wanted)
        if _makes_too_much(model, [tensor.name for tensor in wanted]):
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

    def _needed(self, wanted: Sequence[gs.Tensor]) -> tuple[list[gs.Node], dict[str, np.ndarray]]:
        """The nodes to run, each after those it reads from, and the values that they start from, by name."""
        order: list[gs.Node] = []
        sources: dict[str, np.ndarray] = {}
        done: set[int] = set()
        pending = [(tensor.inputs[0], False) for tensor in reversed(wanted)]
        while pending:
            node, ready = pending.pop()
            if ready:
                order.append(node)
                continue
            if id(node) in done:
                continue
            done.add(id(node))
            pending.append((node, True))
            for tensor in _needs(node):
                value = sources.get(tensor.name)
                value = self._at_hand(tensor) if value is None else value
                if value is None:
                    pending.append((tensor.inputs[0], False))
                else:
                    sources[tensor.name] = value
        return order, sources

    def _model(
        self, nodes: Iterable[gs.Node], sources: dict[str, np.ndarray], wanted: Iterable[gs.Tensor]
    ) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
        """The nodes as a model, and the arrays that it only declares."""
        model = onnx.ModelProto(ir_version=_IR_VERSION)
        domains = {entry.domain: entry.version for entry in self._graph.import_domains or ()}
        domains = {name: number for name, number in domains.items() if not is_standard_domain(name)}
        model.opset_import.append(helper.make_opsetid("", self._graph.opset))
        model.functions.extend(self._functions)
        model.graph.name = "constants"
        for node in nodes:
            model.graph.node.append(export_node(node))
            if not is_standard_domain(node.domain):
                domains.setdefault(str(node.domain), 1)
        model.opset_import.extend(helper.make_opsetid(name, number) for name, number in domains.items())
        arrays: dict[str, np.ndarray] = {}
        for name, value in sources.items():
            if value.nbytes > _INLINE_BYTES and value.dtype.isbuiltin == 1 and value.dtype != object:
                elem_type = helper.np_dtype_to_tensor_dtype(value.dtype)
                model.graph.initializer.append(reference(name, elem_type, value.shape))
                arrays[name] = value
            else:
                model.graph.initializer.append(to_proto(name, value))
        model.graph.output.extend(onnx.ValueInfoProto(name=tensor.name) for tensor in wanted)
        return model, arrays


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
    """The largest magnitude of each of the tensors of a model's main graph.

    A tensor that is not constant, or whose value cannot be had (see `Constants.value`), is left out.
    """
    if not wanted:
        return {}
    graph = import_graph(model)
    tensors = graph.tensors()
    known = [name for name in wanted if name in tensors]
    values = Constants(graph, model.proto.functions).values([tensors[name] for name in known])
    return {
        name: largest_magnitude(value) for name, value in zip(known, values, strict=True) if value is not None
    }


def _needs(node: gs.Node) -> list[gs.Tensor]:
    """The tensors that a node reads, and those that its subgraphs take from outside."""
    outer = list(outer_tensors(node))
    if outer:
        # The node's own form tells the initializers of its subgraphs from those around them.
        names = set(reads(export_node(node)))
        outer = [tensor for tensor in outer if tensor.name in names]
    return [*(tensor for tensor in node.inputs if tensor.name), *outer]


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
