"""Checks a model before it is written: by the ONNX checker, and by loading it in ONNX Runtime."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import EncodeError

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.inference import skeleton
from onnx_trtcal.graph.model.reach import label, plugins
from onnx_trtcal.graph.model.runtime import load_fault
from onnx_trtcal.graph.ops import is_standard_domain
from onnx_trtcal.support.ort_message import plain_message

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.graph.model.split import Split

__all__ = ["check_written"]

# What ONNX Runtime says of a model that is valid and that it cannot run all the same.
_NOT_RUN = re.compile(
    r"NOT_IMPLEMENTED|stamped with official|under development|is not a registered|No Op registered"
)
# The domain that operators of ONNX's own domain which ONNX does not define are checked under.
_ELSEWHERE = "operators.that.onnx.does.not.define"


def check_written(split: Split, model: Model, path: Path) -> None:
    """Refuses a model that is not valid, so that it is not written.

    Both checks are of the model without its large weights, and look at everything else. What they object to in
    the original is not held against the new model; neither is an operator that ONNX Runtime has no kernel for.

    Args:
        split: the model to write.
        model: what it was made from.
        path: where it would be written, for the message.

    Raises:
        ModelError: saying what is wrong.
    """
    new, old = skeleton(split.proto), skeleton(model.original or model.proto)
    fault = _checker_fault(new, old) or _runtime_fault(new, old, split)
    if fault:
        raise ModelError(
            f"the model that was to be written is not valid, and nothing was written: {fault}",
            where=str(path),
            fix="this is a fault of onnx_trtcal: please report it, with the model if you can; leaving the node "
            "out (--exclude) or another --high-precision may help meanwhile",
        )


def _checker_fault(new: onnx.ModelProto, old: onnx.ModelProto) -> str:
    """What onnx.checker says; without shape inference where the original does not pass that."""
    for full in (True, False):
        fault = _checked(new, full=full)
        if not fault or not _checked(old, full=full):
            return fault
    return ""


def _checked(proto: onnx.ModelProto, *, full: bool) -> str:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.ir_version = min(copy.ir_version, onnx.IR_VERSION)
    foreign = [node for node in copy.graph.node if is_standard_domain(node.domain)]
    foreign = [node for node in foreign if not onnx.defs.has(node.op_type)]
    for node in foreign:
        node.domain = _ELSEWHERE
    if foreign:
        copy.opset_import.add(domain=_ELSEWHERE, version=1)
    try:
        onnx.checker.check_model(_with_shapes(copy))
        if full:
            onnx.shape_inference.infer_shapes(copy, check_type=True, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return plain_message(str(error))
    except (EncodeError, RuntimeError, ValueError):
        return ""  # beyond what the checker takes
    return ""


def _with_shapes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which inputs and outputs state a shape: the checker insists on one, which many models leave out."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for value in (*copy.graph.input, *copy.graph.output):
        held = value.type.tensor_type
        if value.type.HasField("tensor_type") and not held.HasField("shape"):
            held.shape.CopyFrom(onnx.TensorShapeProto())
    return copy


def _runtime_fault(new: onnx.ModelProto, old: onnx.ModelProto, split: Split) -> str:
    """What ONNX Runtime says of the new model, if it loads the original."""
    if plugins(new):
        return ""
    fault = _loaded(new)
    if fault and not split.arrays:
        # Some operators insist on constant weights.
        fault = load_fault(bytes(split.proto.SerializeToString()), (), split.directory, gpu=False)
    if not fault or _NOT_RUN.search(fault) or _loaded(old):
        return ""
    return plain_message(fault)


def _loaded(light: onnx.ModelProto) -> str:
    for node in light.graph.node:
        node.name = label(node)
    return load_fault(bytes(light.SerializeToString()), (), gpu=False)
