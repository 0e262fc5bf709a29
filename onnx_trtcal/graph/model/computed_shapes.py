"""Shapes behind a Reshape whose target is computed from other shapes, which onnx's own inference leaves open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import TensorProto, helper, numpy_helper

from onnx_trtcal.graph.model.inference import infer_types, skeleton
from onnx_trtcal.graph.ops import is_standard_domain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import onnx

    from onnx_trtcal.graph.model.inference import Shape
    from onnx_trtcal.graph.model.load import Model

__all__ = ["computed_shapes"]

_Values = list[int | str | None]
# Every round reaches behind one more layer of computed targets.
_ROUNDS = 6
_SAME = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_ARITHMETIC: Mapping[str, Callable[[int, int], int]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a // b if b else 0,
}


def computed_shapes(model: Model) -> Mapping[str, Shape | None]:
    """The shape of every tensor of a model, targets of Reshapes worked out where they follow from other shapes.

    Nothing is run. As `Model.shapes` where every Reshape has a target that onnx can read.
    """
    shapes: Mapping[str, Shape | None] = model.shapes
    if not any(_is_open(node, shapes) for node in model.proto.graph.node):
        return shapes
    light = skeleton(model.proto)
    for _ in range(_ROUNDS):
        if not _state_targets(light, shapes):
            break
        inferred = infer_types(light).shapes
        shapes = {**shapes, **{name: shape for name, shape in inferred.items() if shape is not None}}
    return shapes


def _is_open(node: onnx.NodeProto, shapes: Mapping[str, Shape | None]) -> bool:
    if node.op_type != "Reshape" or not is_standard_domain(node.domain) or len(node.input) < 2:
        return False
    shape = shapes.get(node.output[0])
    return shape is None or any(dim is None or isinstance(dim, str) for dim in shape)


def _state_targets(light: onnx.ModelProto, shapes: Mapping[str, Shape | None]) -> int:
    """Gives Reshapes whose target follows from shapes that target as a constant; says how many."""
    values = _ShapeValues(light.graph, shapes)
    stated = 0
    for node in light.graph.node:
        if not _is_open(node, shapes) or node.input[1] in values.stored:
            continue
        target = _target(values.of(node.input[1]), shapes.get(node.input[0]))
        if target is not None:
            name = f"{node.output[0]}@target"
            light.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(target)], target))
            node.input[1] = name
            stated += 1
    return stated


def _target(values: _Values | None, before: Shape | None) -> list[int] | None:
    """A Reshape's target in numbers: 0 keeps a size that has a name, -1 stands for the one that is not known."""
    if values is None:
        return None
    found = []
    for at, value in enumerate(values):
        if isinstance(value, int):
            found.append(value)
        elif isinstance(value, str) and before is not None and before[at : at + 1] == (value,):
            found.append(0)
        else:
            found.append(-1)
    return found if found.count(-1) <= 1 else None


class _ShapeValues:
    """What small integer tensors hold, element by element, as far as shapes tell.

    Attributes:
        stored: those that are constants.
    """

    def __init__(self, graph: onnx.GraphProto, shapes: Mapping[str, Shape | None]) -> None:
        self._shapes = shapes
        self._makers = {name: node for node in graph.node for name in node.output if name}
        self.stored: dict[str, _Values] = {}
        for tensor in graph.initializer:
            self._store(tensor.name, tensor)
        for node in graph.node:
            value = next((a.t for a in node.attribute if a.name == "value" and a.HasField("t")), None)
            if node.op_type == "Constant" and value is not None:
                self._store(node.output[0], value)

    def _store(self, name: str, tensor: onnx.TensorProto) -> None:
        if tensor.data_type in (TensorProto.INT64, TensorProto.INT32) and len(tensor.dims) <= 1:
            self.stored[name] = [int(each) for each in numpy_helper.to_array(tensor).reshape(-1)]

    def of(self, name: str, depth: int = 0) -> _Values | None:
        """The elements of a scalar or vector; None where not even their number is known."""
        if name in self.stored:
            return self.stored[name]
        node = self._makers.get(name)
        if node is None or depth > 50 or not is_standard_domain(node.domain):
            return None
        attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        if node.op_type == "Shape":
            shape = self._shapes.get(node.input[0])
            return None if shape is None else list(shape)[attributes.get("start", 0) : attributes.get("end")]
        read = [self.of(each, depth + 1) if each else None for each in node.input]
        if node.op_type in _SAME:
            return read[0]
        if any(each is None for each in read):
            return None
        return _combined(node.op_type, [each for each in read if each is not None], attributes)


def _combined(op: str, read: Sequence[_Values], attributes: Mapping[str, object]) -> _Values | None:
    if op == "Concat":
        return [value for each in read for value in each]
    if op == "Gather":
        values, indices = read
        inside = [at for at in indices if isinstance(at, int) and -len(values) <= at < len(values)]
        return [values[at] for at in inside] if len(inside) == len(indices) else None
    if op == "Slice":
        bounds = [attributes.get("starts"), attributes.get("ends"), None, None]
        start, end, _, step = (list(read[1:]) + bounds[len(read) - 1 :])[:4]
        return _sliced(read[0], start, end, step)
    function = _ARITHMETIC.get(op)
    if function is None or len({len(each) for each in read} - {1}) > 1:
        return None
    size = max(len(each) for each in read)
    one, other = (each * size if len(each) == 1 else each for each in read)
    return [
        function(a, b) if isinstance(a, int) and isinstance(b, int) else None
        for a, b in zip(one, other, strict=True)
    ]


def _sliced(values: _Values, start: object, end: object, step: object) -> _Values | None:
    by = step if isinstance(step, list) else [1]
    if not isinstance(start, list) or not isinstance(end, list) or by != [1]:
        return None
    first, last = start[0], end[0]
    return values[first:last] if isinstance(first, int) and isinstance(last, int) else None
