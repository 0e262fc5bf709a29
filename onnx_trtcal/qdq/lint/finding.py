"""What lint finds: the noun that the rules and `lint_model` share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["AdviceRule", "Finding", "Level", "ParserRule"]

Level = Literal["error", "advice"]

ParserRule = Literal[
    "axis",
    "axis-missing",
    "channel-axis",
    "data-type",
    "opset",
    "output-dtype",
    "per-channel-activation",
    "scale-constant",
    "scale-missing",
    "scale-positive",
    "scale-type",
    "sizes",
    "unsupported-op",
    "zero-point-constant",
    "zero-point-type",
    "zero-point-value",
]

AdviceRule = Literal[
    "batchnorm",
    "bias",
    "commuting-pair",
    "concat-scales",
    "inside-group",
    "no-pair",
    "one-input",
    "output-pair",
    "residual-side",
    "residual-skip",
    "several-scales",
]


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        level: `error` if TensorRT refuses the model; `advice` if it builds a slower or less accurate engine.
        rule: short name of the rule.
        node: name of the node concerned, or of its first output when it has no name.
        what: what is wrong there.
        consequence: what TensorRT does because of it.
    """

    level: Level
    rule: ParserRule | AdviceRule
    node: str
    what: str
    consequence: str
