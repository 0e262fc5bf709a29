"""A DQ undoes the Q in front of it only where both have one scale: the check before either is removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.errors import ModelError
from onnx_trtcal.qdq.read.quantizer import Quantizer, is_quantizer, read_quantizer

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.constants import Constants
    from onnx_trtcal.graph.flow import Flow

__all__ = ["constant_quantizer", "source_type"]


def constant_quantizer(node: gs.Node, constants: Constants) -> Quantizer:
    """Reads a Q or DQ node whose scale and zero-point must be constant.

    Raises:
        ModelError: one of them is not.
    """
    quantizer = read_quantizer(node, constants)
    if quantizer is None:
        raise ModelError(
            f"a {node.op} has a scale or zero-point that is not constant",
            where=node.name or node.outputs[0].name,
        )
    return quantizer


def source_type(flow: Flow, dequantizer: gs.Node) -> np.dtype | None:
    """The float type in front of a DQ's Q, where it differs from the type that the DQ makes; else None.

    A DQ must read a constant or, through ops that only move values, Q nodes of its own scale and zero-point.

    Raises:
        ModelError: it reads anything else, so that the model has no float model with the same values.
    """
    own = constant_quantizer(dequantizer, flow.constants)
    label = dequantizer.name or dequantizer.outputs[0].name
    differing: np.dtype | None = None
    pending = [] if flow.constants.value(dequantizer.inputs[0]) is not None else [dequantizer.inputs[0]]
    while pending:
        tensor = pending.pop()
        producer = flow.producer(tensor.name)
        if producer is None or not (is_quantizer(producer) or flow.data_inputs(producer)):
            raise ModelError(
                f"integers are computed with before DequantizeLinear reads {tensor.name!r}",
                where=label,
                fix="only a model with Q/DQ pairs around float ops has a float model: export it in that format",
            )
        if not is_quantizer(producer):
            pending.extend(flow.data_inputs(producer))
            continue
        other = constant_quantizer(producer, flow.constants)
        if own.scale.tobytes() != other.scale.tobytes() or not np.array_equal(own.zero, other.zero):
            raise ModelError(
                f"QuantizeLinear {producer.name or producer.outputs[0].name!r} and its DequantizeLinear have "
                "different scales or zero-points: together they rescale the tensor",
                where=label,
                fix="give both the same scale and zero-point",
            )
        if other.dtype != own.dtype:
            differing = other.dtype
    return differing
