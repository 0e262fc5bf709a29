"""A float model and its quantized twin, run on the same batches, one batch of activations of each at a time."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx import TensorProto

from onnx_trtcal.data.batching import Batch, batches
from onnx_trtcal.data.layout import Shape, is_fixed, shape_text
from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.ops import FLOATS
from onnx_trtcal.graph.probe import probe
from onnx_trtcal.graph.view import kind, link
from onnx_trtcal.run.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    import onnx_graphsurgeon as gs

    from onnx_trtcal.data.sources import Source
    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.options import Options
    from onnx_trtcal.run.provider import Provider

__all__ = ["Step", "Twins", "samples_of"]


@dataclass(frozen=True)
class Step:
    """A batch and what both models make of it.

    Attributes:
        batch: what was fed.
        first: position in the data of its first sample.
        fp32: tensor -> values.
        int8: tensor -> values, also under the names of `Twins.read_as`.
    """

    batch: Batch
    first: int
    fp32: Mapping[str, np.ndarray]
    int8: Mapping[str, np.ndarray]


class Twins:
    """Both models, ready to run.

    Args:
        model: the float model, run as it is.
        graph: the Q/DQ graph.
        quantized: what `graph` is exported against.
        wanted: tensors to compare, besides the outputs; those that only one model has are left out.
        provider: runs both.
        options: threads and custom ops.

    Attributes:
        tensors: the tensors compared, in the order of `wanted`.
        outputs: the float model's outputs.
        read_as: tensor with a Q/DQ pair -> the name of what its quantized readers read.
        above: tensor -> the nearest tensors among `tensors` that the quantized model computes it from.

    Raises:
        ModelError: when the two do not belong together.
    """

    def __init__(
        self,
        model: Model,
        graph: gs.Graph,
        quantized: Model,
        wanted: tuple[str, ...],
        provider: Provider,
        options: Options,
    ) -> None:
        _check_interfaces(model, quantized)
        float_graph = import_graph(model)
        links = link(graph)
        both = link(float_graph).tensors.keys() & links.tensors.keys()
        self.model = model
        self.outputs = model.outputs
        self.tensors = tuple(name for name in wanted if name in both)
        self.read_as = _read_as(graph, frozenset(self.tensors))
        self.above = _above(graph, frozenset(self.tensors))
        shared = tuple(dict.fromkeys((*self.tensors, *self.outputs)))
        fp32 = probe(float_graph, model, shared)
        int8 = probe(graph, quantized, (*shared, *self.read_as.values()))
        threads, libraries = options.threads, options.ort_custom_ops
        self._fp32 = Session(fp32, provider, threads, libraries)
        self._int8 = Session(int8, provider, threads, libraries, float_qdq=True)

    def run(self, source: Source, batch_size: int) -> Iterator[Step]:
        """Runs both models on batch after batch; a step's arrays are valid until the next is asked for."""
        first = 0
        with closing(batches(source, self.model.inputs, batch_size)) as stream:
            for batch in stream:
                yield Step(batch, first, _named(self._fp32, batch), _named(self._int8, batch))
                first += batch.count


def samples_of(array: np.ndarray, batch: Batch) -> list[np.ndarray]:
    """An output cut into one array per real sample; whole where axis 0 does not count the batch's rows.

    An output whose first axis is not the batch's belongs to all samples of the batch alike.
    """
    if array.ndim and array.shape[0] == batch.rows:
        return list(array[: batch.count])
    return [array] * batch.count


def _named(session: Session, batch: Batch) -> dict[str, np.ndarray]:
    return dict(zip(session.outputs, session.run(batch.feeds, batch.names[0]), strict=True))


def _check_interfaces(model: Model, quantized: Model) -> None:
    ours, theirs = _interface(model), _interface(quantized)
    for (what, name), (elem_type, shape) in ours.items():
        if (what, name) not in theirs:
            problem = f"the quantized model has no {what} {name!r}"
        elif not _alike(what, (elem_type, shape), theirs[what, name]):
            one, other = _words(*theirs[what, name]), _words(elem_type, shape)
            problem = f"{what} {name!r} is {one} in the quantized model, {other} in the float model"
        else:
            continue
        raise ModelError(
            problem,
            where=str(quantized.path or model.path or ""),
            fix="give the float model that the quantized one was made from",
        )


def _interface(model: Model) -> dict[tuple[str, str], tuple[int, Shape | None]]:
    """("input" or "output", name) -> its element type, 0 if unknown, and its shape, None if unknown."""
    names = [("input", spec.name) for spec in model.inputs] + [("output", name) for name in model.outputs]
    return {key: (model.elem_types.get(key[1], 0), model.shapes.get(key[1])) for key in names}


def _alike(what: str, ours: tuple[int, Shape | None], theirs: tuple[int, Shape | None]) -> bool:
    """Whether both can be fed the same, or their values be compared, as far as the models tell."""
    types = {ours[0], theirs[0]}
    # Outputs of different precision compare; an input is fed as the float model wants it.
    if len(types) > 1 and 0 not in types and not (what == "output" and types <= FLOATS):
        return False
    if ours[1] is None or theirs[1] is None:
        return True
    if len(ours[1]) != len(theirs[1]):
        return False
    pairs = zip(ours[1], theirs[1], strict=True)
    return all(one == other or not (is_fixed(one) and is_fixed(other)) for one, other in pairs)


def _words(elem_type: int, shape: Shape | None) -> str:
    known = TensorProto.DataType.Name(elem_type).lower() if elem_type else "of some type"
    return known if shape is None else f"{known} {shape_text(shape)}"


def _read_as(graph: gs.Graph, tensors: frozenset[str]) -> dict[str, str]:
    """Tensor -> output of the first DequantizeLinear behind its first QuantizeLinear."""
    found: dict[str, str] = {}
    quantized: dict[str, str] = {}
    for node in link(graph).nodes:
        op = kind(node).removeprefix("com.microsoft:")
        if op == "QuantizeLinear" and node.inputs[0].name in tensors:
            quantized[node.outputs[0].name] = node.inputs[0].name
        elif op == "DequantizeLinear" and node.inputs[0].name in quantized:
            found.setdefault(quantized[node.inputs[0].name], node.outputs[0].name)
    return found


def _above(graph: gs.Graph, tensors: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """Per tensor, the nearest compared tensors upstream."""
    nearest: dict[str, dict[str, None]] = {}
    found: dict[str, tuple[str, ...]] = dict.fromkeys(tensors, ())
    for node in link(graph).nodes:
        merged: dict[str, None] = {}
        for tensor in node.inputs:
            merged |= {tensor.name: None} if tensor.name in tensors else nearest.get(tensor.name, {})
        for out in node.outputs:
            nearest[out.name] = merged
            if out.name in tensors:
                found[out.name] = tuple(merged)
    return found
