"""A model with another opset and other metadata: what a rewritten graph is exported against."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import onnx
from onnx import helper

if TYPE_CHECKING:
    from onnx_trtcal.graph.load import Model

__all__ = ["rebased"]

_EIGHT_BITS = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)


def rebased(model: Model, opset: int, metadata: Mapping[str, str | None], *, retype: bool = False) -> Model:
    """The model to export against: of another opset, with metadata set (or taken out, where None)."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    if not any(entry.domain in ("", "ai.onnx") for entry in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid("", opset))
    for entry in proto.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = opset
    proto.ir_version = max(
        proto.ir_version, helper.find_min_ir_version_for(proto.opset_import, ignore_unknown=True)
    )
    for key, text in metadata.items():
        kept = [each for each in proto.metadata_props if each.key != key]
        del proto.metadata_props[:]
        proto.metadata_props.extend(kept)
        if text is not None:
            proto.metadata_props.add(key=key, value=text)
    if retype:
        # What held integers between Q and DQ is float now; the runtime infers these types again.
        stated = [v for v in proto.graph.value_info if v.type.tensor_type.elem_type not in _EIGHT_BITS]
        del proto.graph.value_info[:]
        proto.graph.value_info.extend(stated)
    return dataclasses.replace(model, proto=proto)
