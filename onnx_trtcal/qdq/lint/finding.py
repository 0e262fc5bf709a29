"""What lint finds."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ADVICE", "ERROR", "Finding"]

ERROR = "error"
ADVICE = "advice"


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        level: `error`, TensorRT refuses the model; `advice`, it builds a slower or less accurate engine.
        rule: short name of the rule.
        node: name of the node concerned, or of its first output when it has no name.
        what: what is wrong there.
        consequence: what TensorRT makes of it.
    """

    level: str
    rule: str
    node: str
    what: str
    consequence: str
