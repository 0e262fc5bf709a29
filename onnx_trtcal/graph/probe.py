"""The model that runs: the graph cut down to what the observed tensors need, with those as its outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.exporter import split_model
from onnx_trtcal.graph.model.reach import label
from onnx_trtcal.graph.names import Names
from onnx_trtcal.graph.strides import total_stride
from onnx_trtcal.graph.view import Links, link, reads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.model.load import Model

__all__ = ["Probe", "probe"]

# A session keeps the bytes it was made from: weights beyond this are handed to it beside the model instead.
INLINE_BYTES = 1 << 20
MANY_CONVS = 2048


@dataclass(frozen=True)
class Probe:
    """What a session is made of.

    Attributes:
        model_bytes: a serialized ModelProto without big weights.
        external: initializer name -> its values, for `SessionOptions.add_external_initializers`. The session
            reads the arrays where they are, so they must live as long as it does.
        directory: the folder that the remaining external weights are found in, for the session option
            `session.model_external_initializers_file_folder_path`; None when the model has no folder.
        outputs: the observed tensors, in the order of the model's outputs (whose names differ for bfloat16: run
            the session for all outputs, not for these names); graph inputs may be among them.
        stride: by how much the model reduces height and width of its input at most.
        many_convs: whether the graph that it is a part of has so many convolutions that ONNX Runtime should not bring
            them into its blocked layout: finding where to do that takes it time in the square of their number
            (version 1.31: 0.6 s of processor time for 1,250, 27 s for 5,000).
    """

    model_bytes: bytes
    external: Mapping[str, np.ndarray]
    directory: Path | None
    outputs: tuple[str, ...]
    stride: int = 1
    many_convs: bool = False


def probe(
    graph: gs.Graph,
    model: Model,
    observed: Sequence[str],
    *,
    shapes_only: bool = False,
    inline_bytes: int = INLINE_BYTES,
) -> Probe:
    """Makes the observed tensors of a graph the outputs of a model; graph and model are not changed.

    All inputs stay, so that feeds fit; outputs that are not observed go, with the nodes that only they need.
    Weights that nobody changed and that lie in external files stay there, and so do those that `spill` moved;
    of the others, the large ones become arrays when they exceed `inline_bytes` together (see `split_model`), so
    that protobuf's limit of 2 GiB is never met.

    Args:
        graph: the graph to run.
        model: where it came from.
        observed: the tensors to give out.
        shapes_only: give out the shape of each, an int64 vector, instead of its values.
        inline_bytes: weights up to here travel inside the model's bytes.

    Raises:
        ModelError: when an observed tensor is not in the graph.
    """
    links = link(graph)
    unknown = [name for name in observed if name not in links.tensors]
    if unknown:
        raise ModelError(
            f"the model has no tensor {unknown[0]!r} to observe", fix="plan and run the same graph"
        )
    split = split_model(_cut(graph, links, observed), model, inline_bytes)
    proto = split.proto
    # Up to IR 3 weights are inputs too, which a caller might feed, and ONNX Runtime would optimise nothing.
    proto.ir_version = max(proto.ir_version, 4)
    stored = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in stored]
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    _name_nodes(proto.graph)
    _set_outputs(proto.graph, observed, model.elem_types)
    if shapes_only:
        _show_shapes(proto.graph)
    return Probe(
        model_bytes=proto.SerializeToString(),
        external=split.arrays,
        directory=split.directory,
        outputs=tuple(observed),
        stride=total_stride(proto.graph),
        # Of the whole graph, so that a tensor has the same values whatever is observed beside it.
        many_convs=sum(node.op == "Conv" for node in links.nodes) > MANY_CONVS,
    )


def _cut(graph: gs.Graph, links: Links, observed: Sequence[str]) -> gs.Graph:
    """A graph of the same nodes and tensors, without the nodes that no observed tensor depends on."""
    import onnx_graphsurgeon as gs

    needed = set(observed)
    nodes = []
    for node in reversed(links.nodes):
        if any(t.name in needed for t in node.outputs if t.name):
            nodes.append(node)
            needed.update(reads(node))
    return gs.Graph(
        nodes=nodes[::-1],
        inputs=list(graph.inputs),
        outputs=[links.tensors[name] for name in observed],
        name=graph.name,
        opset=graph.opset,
        import_domains=graph.import_domains,
    )


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Gives every node without a name that of an output, so that ONNX Runtime's messages say which it is."""
    fresh = Names(node.name for node in graph.node)
    for node in graph.node:
        if not node.name:
            node.name = fresh.fresh(label(node))


def _set_outputs(graph: onnx.GraphProto, names: Sequence[str], elem_types: Mapping[str, int]) -> None:
    """Makes the named tensors the outputs of a graph, in that order.

    Outputs have no type: ONNX Runtime infers it, so a shape that the model states wrongly does no harm. A bfloat16
    tensor, which ONNX Runtime cannot give to NumPy, is shown through a Cast to float32, which is exact; that
    output has another name, so fetch by position.
    """
    del graph.output[:]
    fresh = Names({*(name for node in graph.node for name in node.output), *names})
    for name in names:
        shown = name
        if elem_types.get(name) == TensorProto.BFLOAT16:
            shown = fresh.fresh(f"{name}_as_float32")
            graph.node.append(helper.make_node("Cast", [name], [shown], to=TensorProto.FLOAT))
        graph.output.append(onnx.ValueInfoProto(name=shown))


def _show_shapes(graph: onnx.GraphProto) -> None:
    """Makes the shape of each output, an int64 vector, the output in its place; the values are kept nowhere."""
    fresh = Names(name for node in graph.node for name in node.output)
    for output in graph.output:
        shown = fresh.fresh(f"{output.name}_shape")
        graph.node.append(helper.make_node("Shape", [output.name], [shown]))
        output.CopyFrom(onnx.ValueInfoProto(name=shown))
