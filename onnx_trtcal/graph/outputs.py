"""Which tensors a model gives to whoever runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["set_outputs", "show_shapes"]


def set_outputs(graph: onnx.GraphProto, names: Sequence[str], elem_types: Mapping[str, int]) -> None:
    """Makes the named tensors the outputs of a graph, in that order.

    Outputs have no type: ONNX Runtime infers it, and a shape that the model states wrongly cannot be in the way.
    A bfloat16 tensor, which ONNX Runtime cannot give to numpy, is shown through a Cast to float32, which is
    exact; that output has another name, so fetch by position.
    """
    del graph.output[:]
    taken = {name for node in graph.node for name in node.output}
    for name in names:
        shown = name
        if elem_types.get(name) == TensorProto.BFLOAT16:
            while shown in taken or shown == name:
                shown += "_as_float32"
            graph.node.append(helper.make_node("Cast", [name], [shown], to=TensorProto.FLOAT))
        graph.output.append(onnx.ValueInfoProto(name=shown))


def show_shapes(graph: onnx.GraphProto) -> None:
    """Makes the shape of each output, an int64 vector, the output in its place; the values are kept nowhere."""
    taken = {name for node in graph.node for name in node.output}
    for output in graph.output:
        shown = f"{output.name}_shape"
        while shown in taken:
            shown += "_"
        taken.add(shown)
        graph.node.append(helper.make_node("Shape", [output.name], [shown]))
        output.CopyFrom(onnx.ValueInfoProto(name=shown))
