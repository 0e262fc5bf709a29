"""An equalized model: the float model rewritten, and the record of that in its metadata."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

import onnx

from onnx_trtcal.graph.model.exporter import export_model
from onnx_trtcal.graph.model.inference import infer_types
from onnx_trtcal.graph.model.read import ModelSource
from onnx_trtcal.graph.model.save import save_model
from onnx_trtcal.provenance import EQUALIZED_KEY
from onnx_trtcal.qdq.export_target import with_metadata

if TYPE_CHECKING:
    from pathlib import Path

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.improve.equalize.choose import SiteGain

__all__ = ["Changes", "Equalized", "equalized"]


@dataclasses.dataclass(frozen=True)
class Changes:
    """What was changed in a model.

    Attributes:
        level: `free` or `full`.
        gains: per set of channels that could have been changed, what became of it.
        inserted: how many Muls were put in.
        scaled: the tensors that hold other values than in the original.
    """

    level: str
    gains: tuple[SiteGain, ...]
    inserted: int
    scaled: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """As the metadata has it: per set of channels how far it was evened out and what that gained."""
        tensors = {
            each.tensor: {"alpha": each.alpha, "gain_db": round(each.gain, 2)}
            for each in self.gains
            if each.alpha is not None
        }
        return {"level": self.level, "muls": self.inserted, "tensors": tensors, "scaled": list(self.scaled)}


@dataclasses.dataclass(frozen=True, eq=False)
class Equalized:
    """A float model whose channels were evened out; it computes what the original does.

    Attributes:
        graph: the rewritten graph, BatchNorm folded.
        target: what `graph` is exported against: the original with the record.
        model: the rewritten model, as if it had been loaded; its path is that of the original.
        changes: what was changed.
    """

    graph: gs.Graph
    target: Model
    model: Model
    changes: Changes

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Writes the float model; returns the files written.

        Raises:
            CalibrationError: when a file cannot be written.
        """
        return save_model(self.graph, self.target, path)


def equalized(graph: gs.Graph, model: Model, changes: Changes) -> Equalized:
    """The model that a rewritten graph is.

    Args:
        graph: the rewritten graph.
        model: the original.
        changes: what was changed.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model.proto)
    target = dataclasses.replace(model, proto=copy, original=model.original or model.proto)
    text = json.dumps(changes.record(), separators=(",", ":"), ensure_ascii=False)
    with_metadata(target, EQUALIZED_KEY, text)
    return Equalized(graph, target, _typed(graph, target), changes)


def _typed(graph: gs.Graph, target: Model) -> Model:
    """The rewritten model with the types of its tensors, as `load` would find them."""
    proto = export_model(graph, target)
    known = infer_types(proto)
    elem_types, shapes = dict(known.elem_types), dict(known.shapes)
    for name in known.unknown:
        elem_types[name] = target.elem_types.get(name, 0)
    for name, shape in shapes.items():
        if shape is None:
            shapes[name] = target.shapes.get(name)
    digest = hashlib.sha256(proto.SerializeToString(deterministic=True))
    source = ModelSource(None, target.directory, str(target.path or "the model in memory"), proto, digest)
    return dataclasses.replace(
        target,
        proto=proto,
        sha256=source.sha256(),
        elem_types=elem_types,
        shapes=shapes,
        original=None,
    )
