"""Functions that a model defines itself, brought into its graph where they are called.

A tensor inside a function has no name that a scale could stand for until the call is inlined.
"""

from __future__ import annotations

import logging

import onnx
from onnx import helper, inliner

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.function_calls import check_calls
from onnx_trtcal.graph.model.inference import infer_types
from onnx_trtcal.graph.model.order import bodies
from onnx_trtcal.support.ort_message import plain_message

__all__ = ["count_function_calls", "inline_functions"]

logger = logging.getLogger(__name__)


def count_function_calls(proto: onnx.ModelProto) -> int:
    """How many nodes of the graph and its subgraphs call a function that the model itself defines."""
    functions = {(function.domain, function.name) for function in proto.functions}
    return sum(
        (each.domain, each.op_type) in functions
        for node in (proto.graph.node if functions else ())
        for each in bodies(node)
    )


def inline_functions(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every call of a function that it defines inlined; itself when there are none.

    Tensors and nodes of the main graph keep their names. Those of a function get a number at the end that
    differs from call to call, as `onnx.inliner` gives it. A function for another opset than the model's is
    converted; where that cannot be done, its calls stay.

    Raises:
        ModelError: a function cannot be inlined, as one that calls itself.
    """
    if not count_function_calls(proto):
        return proto
    check_calls(proto)
    # The weights take no part in it, and are not copied back and forth.
    light = onnx.ModelProto()
    light.CopyFrom(proto)
    for tensor in light.graph.initializer:
        tensor.CopyFrom(onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims))
    try:
        inlined = inliner.inline_local_functions(light)
    except Exception as error:
        raise ModelError(
            f"the functions that the model defines cannot be inlined: {plain_message(str(error))}",
            fix="check the model with onnx.checker, and export it again",
        ) from error
    if count_function_calls(inlined):
        inlined = _converted(proto, light) or inlined
    del inlined.graph.initializer[:]
    inlined.graph.initializer.extend(proto.graph.initializer)
    return inlined


def _converted(proto: onnx.ModelProto, light: onnx.ModelProto) -> onnx.ModelProto | None:
    """The model with functions of other opsets inlined, too; None where the version converter cannot do it."""
    stated = {value.name for value in light.graph.value_info}
    known = {value.name for value in (*light.graph.input, *light.graph.output)} | stated
    types = infer_types(proto)
    # The converter wants to know the type of whatever a function is called with.
    for name, elem_type in types.elem_types.items():
        if elem_type and name not in known:
            shape = types.shapes[name]
            light.graph.value_info.append(helper.make_tensor_value_info(name, elem_type, shape))
    try:
        inlined = inliner.inline_local_functions(light, convert_version=True)
    except Exception as error:  # noqa: BLE001 (the converter raises many kinds)
        logger.debug("functions of another opset are not inlined: %s", error)
        return None
    values = [value for value in inlined.graph.value_info if value.name in stated]
    del inlined.graph.value_info[:]
    inlined.graph.value_info.extend(values)
    return None if count_function_calls(inlined) else inlined
