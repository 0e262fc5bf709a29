"""Raises a graph to the opset that Q/DQ needs: 13 for scales per channel, 19 for float16.

Most operators changed between two opsets by taking more element types or by a new attribute whose default is
the old behaviour: such a node is right as it stands. The others are rewritten here, in place, so that every
tensor keeps its name and nothing else in the model is touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import defs, helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.view import is_standard, numpy_type

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

__all__ = ["raise_opset"]

# Broadcasting was an attribute before opset 7: what such a node computes depends on more than its inputs.
_OLDEST = 7

_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
# Attributes that became inputs, and which.
_BECAME_INPUT = {
    ("Clip", "min"): 1,
    ("Clip", "max"): 2,
    ("Pad", "pads"): 1,
    ("Pad", "value"): 2,
    ("Slice", "starts"): 1,
    ("Slice", "ends"): 2,
    ("Slice", "axes"): 3,
    ("Split", "split"): 1,
    ("Squeeze", "axes"): 1,
    ("TopK", "k"): 1,
    ("Unsqueeze", "axes"): 1,
    **{(f"Reduce{name}", "axes"): 1 for name in _REDUCTIONS},
}
# Those of them that hold values of the tensor's own type; the others are positions and sizes.
_VALUES = {("Clip", "min"), ("Clip", "max"), ("Pad", "value")}
# What training sets and inference ignores.
_MEANINGLESS = {("Dropout", "ratio"), ("BatchNormalization", "momentum")}


def raise_opset(graph: gs.Graph, target: int) -> None:
    """Brings a graph, subgraphs included, to an opset; does nothing when it is there already or beyond.

    Raises:
        ModelError: when an operator cannot be brought along without a change of what it computes.
    """
    if graph.opset >= target:
        return
    if graph.opset < _OLDEST:
        raise _stuck(
            f"opset {graph.opset} is older than {_OLDEST}, the first with today's broadcasting", target
        )
    for part in (graph, *graph.subgraphs(recursive=True)):
        for node in list(part.nodes):
            if is_standard(node):
                _Raise(part, node, graph.opset, target).run()
    parts = (graph, *graph.subgraphs(recursive=True))
    for part in parts:
        part.opset = target
        for node in part.nodes:
            # A body changed in place would be exported as it was imported: another object says that it is new.
            bodies = {name: body for name, body in node.attrs.items() if any(body is each for each in parts)}
            node.attrs.update({name: _same(body) for name, body in bodies.items()})


def _same(graph: gs.Graph) -> gs.Graph:
    import onnx_graphsurgeon as gs

    return gs.Graph(
        nodes=graph.nodes,
        inputs=graph.inputs,
        outputs=graph.outputs,
        name=graph.name,
        doc_string=graph.doc_string,
        opset=graph.opset,
    )


def _stuck(what: str, target: int, node: gs.Node | None = None) -> ModelError:
    where = "" if node is None else f"{node.op} {node.name or node.outputs[0].name!r}"
    return ModelError(
        f"the model cannot be raised to opset {target}: {what}",
        where=where,
        fix=f"export the model anew with opset {target} or later, or try onnx.version_converter on it",
    )


class _Raise:
    def __init__(self, graph: gs.Graph, node: gs.Node, source: int, target: int) -> None:
        self.graph, self.node, self.source, self.target = graph, node, source, target

    def run(self) -> None:
        node = self.node
        if not defs.has(node.op):
            raise _stuck("an operator that ONNX does not define", self.target, node)
        try:
            old = defs.get_schema(node.op, self.source)
        except defs.SchemaError as error:
            raise _stuck(f"opset {self.source} has no such operator", self.target, node) from error
        if node.op in ("Upsample", "Resize") and old.since_version <= 10:
            self._resize()
            return
        if node.op == "Scatter":
            node.op = "ScatterElements"
            return
        new = defs.get_schema(node.op, self.target)
        if new.since_version == old.since_version:
            return
        if new.deprecated:
            raise _stuck("the operator was taken out of ONNX", self.target, node)
        if node.op in ("Softmax", "LogSoftmax", "Hardmax") and old.since_version < 13 <= new.since_version:
            self._softmax()
        elif node.op == "Split" and new.since_version >= 18 > old.since_version:
            self._attributes(old, new)
            if len(node.inputs) < 2:
                node.attrs["num_outputs"] = len(node.outputs)
        else:
            self._attributes(old, new)

    def _attributes(self, old: Any, new: Any) -> None:
        """Moves, drops or keeps each attribute, so that the new operator computes what the old one did."""
        node = self.node
        for name in list(node.attrs):
            if name in new.attributes:
                continue
            place = _BECAME_INPUT.get((node.op, name))
            if place is not None:
                self._set_input(place, name, node.attrs[name])
            elif (node.op, name) not in _MEANINGLESS and node.attrs[name] != _default(old, name):
                raise _stuck(f"its attribute {name!r} has no counterpart there", self.target, node)
            del node.attrs[name]
        for name in set(old.attributes) & set(new.attributes):
            before, after = _default(old, name), _default(new, name)
            if before != after and name not in node.attrs:
                if before is None:
                    raise _stuck(f"the default of its attribute {name!r} changed", self.target, node)
                node.attrs[name] = before

    def _set_input(self, place: int, name: str, value: object) -> None:
        import onnx_graphsurgeon as gs

        node = self.node
        if (node.op, name) in _VALUES:
            array = np.array(value, numpy_type(node.inputs[0]) or np.float32)
        else:
            array = np.atleast_1d(np.array(value, np.int64))
        while len(node.inputs) <= place:
            node.inputs.append(gs.Variable.empty())
        node.inputs[place] = gs.Constant(f"{node.outputs[0].name}_{name}", array)

    def _resize(self) -> None:
        """Upsample and the first Resize sample at floor(position / scale)."""
        import onnx_graphsurgeon as gs

        node = self.node
        factors = node.attrs.pop("scales", None)
        if factors is not None:
            scales: gs.Tensor = gs.Constant(f"{node.outputs[0].name}_scales", np.array(factors, np.float32))
        else:
            scales = node.inputs[1]
        data = node.inputs[0]
        node.inputs.clear()
        node.inputs.extend([data, gs.Variable.empty(), scales])
        node.op = "Resize"
        node.attrs["mode"] = {"bilinear": "linear"}.get(
            node.attrs.get("mode", ""), node.attrs.get("mode", "nearest")
        )
        node.attrs["coordinate_transformation_mode"] = "asymmetric"
        node.attrs["nearest_mode"] = "floor"

    def _softmax(self) -> None:
        """Before opset 13 it ran over all axes from `axis` on, taken together; now over the one axis."""
        import onnx_graphsurgeon as gs

        node = self.node
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
        at = next(i for i, each in enumerate(self.graph.nodes) if each is node)
        before = [
            gs.Node("Shape", name=f"{name}_Shape", inputs=[data], outputs=[extent]),
            gs.Node("Flatten", name=f"{name}_Flatten", attrs={"axis": axis}, inputs=[data], outputs=[flat]),
        ]
        behind = gs.Node("Reshape", name=f"{name}_Reshape", inputs=[done, extent], outputs=[output])
        self.graph.nodes[at : at + 1] = [*before, node, behind]


def _default(schema: Any, name: str) -> object:
    attribute = schema.attributes.get(name)
    if attribute is None or not attribute.default_value.name:
        return None
    value = helper.get_attribute_value(attribute.default_value)
    return value.decode() if isinstance(value, bytes) else value
