"""What lint finds: the noun that the rules and `lint_model` share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["AdviceRule", "Finding", "Level", "ParserRule"]

Level = Literal["error", "float", "limited", "advice"]

ParserRule = Literal[
    "axis",
    "axis-missing",
    "blocked-scales",
    "channel-axis",
    "data-type",
    "fp8",
    "microsoft-domain",
    "mixed-types",
    "opset",
    "output-dtype",
    "per-channel-activation",
    "scalar-constant",
    "scale-constant",
    "scale-missing",
    "scale-positive",
    "scale-shape",
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
        level: `error` if TensorRT refuses the model; `float` if it builds, but a layer does not run in INT8; `limited`
            if it builds in INT8, though not with every version or for every GPU; `advice` if the engine is slower or
            less accurate than it could be. Which of the first three was tried with the compiler of TensorRT for RTX
            1.7, of the TensorRT 11 family.
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
