"""One way to quantize: what a step of `tune` tries, and all that it may change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.options import Options
    from onnx_trtcal.qdq.options import QdqOptions

__all__ = ["Setting"]


@dataclass(frozen=True)
class Setting:
    """A method, a level of equalization, a way to round, and what stays in floating point.

    Attributes:
        method: as `Options.method` takes it.
        equalize: as `QdqOptions.equalize` takes it.
        round: whether weights are rounded by what they do to outputs.
        exclude: patterns of the nodes that stay in floating point, beside those that the user excludes.
    """

    method: str
    equalize: str = "off"
    round: bool = False
    exclude: tuple[str, ...] = ()

    def options(self, base: Options) -> Options:
        """How to calibrate; a search takes its usual time, so that its result can be repeated."""
        return replace(base, method=self.method, budget=None)

    def qdq(self, base: QdqOptions) -> QdqOptions:
        """How to place and to round."""
        exclude = (*base.exclude, *self.exclude)
        return replace(base, equalize=self.equalize, round=self.round, exclude=exclude)

    @property
    def name(self) -> str:
        """The setting in a few words."""
        parts = [self.method]
        if self.equalize != "off":
            parts.append(f"equalize {self.equalize}")
        if self.round:
            parts.append("round")
        if self.exclude:
            parts.append(f"{len(self.exclude)} in float")
        return ", ".join(parts)

    @staticmethod
    def of(fields: Mapping[str, Any]) -> Setting:
        """A setting from its fields, as they are noted."""
        return Setting(**{**fields, "exclude": tuple(fields["exclude"])})
