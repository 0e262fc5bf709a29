"""Functions that a model defines itself, brought into its graph where they are called.

A tensor inside a function has no name that a scale could stand for until the call is inlined.
"""

from __future__ import annotations

import logging

import onnx
from onnx import inliner

__all__ = ["count_function_calls", "inline_functions"]

logger = logging.getLogger(__name__)


def count_function_calls(proto: onnx.ModelProto) -> int:
    """How many nodes of the main graph call a function that the model itself defines."""
    functions = {(function.domain, function.name) for function in proto.functions}
    return sum((node.domain, node.op_type) in functions for node in proto.graph.node)


def inline_functions(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every call of a function that it defines inlined; itself when it defines none.

    Tensors and nodes of the main graph keep their names. Those of a function get a number at the end that
    differs from call to call, as `onnx.inliner` gives it. A function for another opset than the model's is
    converted; where that cannot be done, its calls stay.
    """
    if not proto.functions:
        return proto
    # The weights take no part in it, and are not copied back and forth.
    light = onnx.ModelProto()
    light.CopyFrom(proto)
    for tensor in light.graph.initializer:
        tensor.CopyFrom(onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims))
    inlined = inliner.inline_local_functions(light)
    if count_function_calls(inlined):
        try:
            inlined = inliner.inline_local_functions(light, convert_version=True)
        except Exception as error:  # noqa: BLE001 (the converter raises many kinds; the calls then stay)
            logger.debug("functions of another opset are not inlined: %s", error)
    del inlined.graph.initializer[:]
    inlined.graph.initializer.extend(proto.graph.initializer)
    return inlined
