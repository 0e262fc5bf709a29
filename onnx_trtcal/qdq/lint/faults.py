"""What a rule says of a node, and what TensorRT does because of it, for each level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.qdq.lint.finding import Finding

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from onnx_trtcal.qdq.lint.finding import Level, ParserRule

__all__ = ["Fault", "finding_of", "limited", "not_int8", "refused"]

_CONSEQUENCES: dict[Level, str] = {
    "error": "TensorRT refuses the model",
    "float": "the model builds, but the layer runs in floating point",
    "limited": "TensorRT 11 builds it in INT8; parsers before may refuse it",
}


@dataclass(frozen=True)
class Fault:
    """A broken rule, at a node that is known from elsewhere; an empty consequence means that of its level."""

    level: Level
    rule: ParserRule
    what: str
    consequence: str = ""


def refused(rule: ParserRule, what: str) -> Fault:
    """The parser or the builder refuses the model."""
    return Fault("error", rule, what)


def not_int8(rule: ParserRule, what: str) -> Fault:
    """The model builds, but not in INT8."""
    return Fault("float", rule, what)


def limited(rule: ParserRule, what: str, consequence: str = "") -> Fault:
    """The model builds in INT8, though not everywhere."""
    return Fault("limited", rule, what, consequence)


def finding_of(fault: Fault, node: gs.Node) -> Finding:
    """A fault as it is reported."""
    label = node.name or (node.outputs[0].name if node.outputs else node.op)
    return Finding(
        fault.level, fault.rule, label, fault.what, fault.consequence or _CONSEQUENCES[fault.level]
    )
