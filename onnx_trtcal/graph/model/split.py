"""A model and its weights apart: which of them travel inside it, and which beside it as arrays or files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.exporters.onnx_exporter import dtype_to_onnx
from onnx_graphsurgeon.ir.tensor import LazyValues

from onnx_trtcal.graph.model.external import is_external, reference, tensor_nbytes
from onnx_trtcal.graph.model.order import reads
from onnx_trtcal.graph.model.weights import SpilledValues, to_proto

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from onnx_trtcal.graph.model.load import Model

__all__ = ["INLINE_BYTES", "SMALL_BYTES", "Split", "export_initializers", "weights_folder"]

# Up to here a session gets its weights inside the model; beyond, by reference, so that they are not copied.
INLINE_BYTES = 32 << 20
# A weight smaller than this is not worth a reference.
SMALL_BYTES = 1 << 16


@dataclass(frozen=True)
class Split:
    """A model and the weights that are not in it.

    Attributes:
        proto: the model; unchanged external weights stay where they are.
        arrays: initializers that `proto` only declares, to be given to a session by name
            (`SessionOptions.add_external_initializers`).
        directory: the folder that external weights are found in: the original model's, or the temporary one
            of weights that `spill` moved, which has the original's files too.
    """

    proto: onnx.ModelProto
    arrays: Mapping[str, np.ndarray]
    directory: Path | None


def weights_folder(graph: gs.Graph, model: Model) -> Path | None:
    """The folder that external weights are found in: the model's, or the one that `spill` moved some to."""
    for constant in _constants(graph).values():
        if isinstance(constant._values, SpilledValues):
            return constant._values.directory
    return model.directory


def export_initializers(
    graph: gs.Graph, source: onnx.GraphProto, target: onnx.GraphProto, inline_bytes: int
) -> dict[str, np.ndarray]:
    """Fills the target's initializers, in the original's order and then in that of first use."""
    constants = _constants(graph)
    used = {name for node in target.node for name in reads(node)} | {tensor.name for tensor in graph.outputs}
    consumed = {name for node in source.node for name in reads(node)}
    consumed.update(value.name for value in source.output)
    stored: list[onnx.TensorProto] = []
    arrays: dict[str, np.ndarray] = {}
    for tensor in source.initializer:
        if (tensor.name in used or tensor.name not in consumed) and not _assigned(constants.get(tensor.name)):
            constants.pop(tensor.name, None)
            stored.append(tensor)
    for sparse in source.sparse_initializer:
        name = sparse.values.name
        if (name in used or name not in consumed) and not _assigned(constants.get(name)):
            constants.pop(name, None)
            target.sparse_initializer.append(sparse)
    own = sum(tensor_nbytes(tensor) for tensor in stored if not is_external(tensor))
    beside = own + sum(constant.values.nbytes for constant in constants.values()) > inline_bytes
    for tensor in stored:
        if beside and not is_external(tensor) and tensor_nbytes(tensor) >= SMALL_BYTES:
            arrays[tensor.name] = onnx.numpy_helper.to_array(tensor)
            target.initializer.append(reference(tensor.name, tensor.data_type, tensor.dims))
        else:
            target.initializer.append(tensor)
    for name, constant in constants.items():
        values = constant.values
        if beside and isinstance(constant._values, SpilledValues):
            target.initializer.append(constant._values.place)
        elif beside and values.nbytes >= SMALL_BYTES:
            arrays[name] = values
            target.initializer.append(reference(name, dtype_to_onnx(values.dtype), values.shape))
        else:
            target.initializer.append(to_proto(name, values))
    return arrays


def _assigned(constant: gs.Constant | None) -> bool:
    values = None if constant is None else constant._values
    return values is not None and (isinstance(values, SpilledValues) or not isinstance(values, LazyValues))


def _constants(graph: gs.Graph) -> dict[str, gs.Constant]:
    """The constants of the main graph that its nodes use, by name, in the order of their first use."""
    found: dict[str, gs.Constant] = {}
    for tensor in (*(tensor for node in graph.nodes for tensor in node.inputs), *graph.outputs):
        if isinstance(tensor, gs.Constant):
            found.setdefault(tensor.name, tensor)
    return found
