"""Operators that mean something else in a later opset, rewritten to compute what they did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

__all__ = ["rewrite_resize", "rewrite_softmax"]


def rewrite_resize(node: gs.Node) -> None:
    """Upsample, or a Resize of opset 10, as a later Resize: both sample at floor(position / scale)."""
    import onnx_graphsurgeon as gs

    factors = node.attrs.pop("scales", None)
    if factors is not None:
        scales: gs.Tensor = gs.Constant(f"{node.outputs[0].name}_scales", np.array(factors, np.float32))
    else:
        scales = node.inputs[1]
    data = node.inputs[0]
    node.inputs.clear()
    node.inputs.extend([data, gs.Variable.empty(), scales])
    node.op = "Resize"
    mode = node.attrs.get("mode", "nearest")
    node.attrs["mode"] = "linear" if mode == "bilinear" else mode
    node.attrs["coordinate_transformation_mode"] = "asymmetric"
    node.attrs["nearest_mode"] = "floor"


def rewrite_softmax(graph: gs.Graph, node: gs.Node) -> None:
    """Softmax, LogSoftmax or Hardmax from before opset 13, when it ran over all axes from `axis` on together.

    It runs over a single axis now, so the input is flattened first where the others are not of length 1.
    """
    import onnx_graphsurgeon as gs

    axis = int(node.attrs.get("axis", 1))
    data, shape = node.inputs[0], node.inputs[0].shape
    if shape is not None:
        axis += len(shape) if axis < 0 else 0
        if all(size == 1 for size in shape[axis + 1 :]):
            node.attrs["axis"] = axis
            return
    name, output = node.outputs[0].name, node.outputs[0]
    flat = gs.Variable(f"{name}_flat", dtype=data.dtype)
    done = gs.Variable(f"{name}_flat_done", dtype=data.dtype)
    extent = gs.Variable(f"{name}_shape", dtype=np.int64)
    node.inputs[0], node.outputs[0] = flat, done
    node.attrs["axis"] = -1
    at = next(i for i, each in enumerate(graph.nodes) if each is node)
    before = [
        gs.Node("Shape", name=f"{name}_Shape", inputs=[data], outputs=[extent]),
        gs.Node("Flatten", name=f"{name}_Flatten", attrs={"axis": axis}, inputs=[data], outputs=[flat]),
    ]
    behind = gs.Node("Reshape", name=f"{name}_Reshape", inputs=[done, extent], outputs=[output])
    graph.nodes[at : at + 1] = [*before, node, behind]
