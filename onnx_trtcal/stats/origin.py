"""Where statistics come from: what must be equal for the counts of two collections to add up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_trtcal.errors import StatisticsError, listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.options import Range

__all__ = ["Origin", "quoted"]


@dataclass(frozen=True)
class Origin:
    """What a collection counts.

    Attributes:
        model: SHA-256 of the model, in hexadecimal.
        rule: the histograms' range rule.
        options: how the model was observed and its data prepared, of types that JSON has.
        tensors: names of the observed tensors, in graph order.
    """

    model: str
    rule: Range
    options: Mapping[str, Any]
    tensors: tuple[str, ...]

    def check_model(self, sha256: str, where: str) -> None:
        """Checks that the statistics are those of a model.

        Args:
            sha256: the model's, in hexadecimal.
            where: the statistics file, for the message.

        Raises:
            StatisticsError: when they were collected from another one.
        """
        if self.model != sha256:
            raise StatisticsError(
                f"the statistics were collected from another model: its hash is {self.model[:12]}…, "
                f"this model's {sha256[:12]}…",
                where=where,
                fix="give the model file that was calibrated, byte for byte, or calibrate this one",
            )

    def check_same(self, other: Origin) -> None:
        """Checks that statistics of the other origin add up with those of this one.

        Raises:
            StatisticsError: with the first difference: model, rule, each option that differs, tensors.
        """
        if self.model != other.model:
            raise StatisticsError(
                f"the statistics are of another model: SHA-256 {self.model[:16]}… against {other.model[:16]}…",
                fix="use statistics of the same model file; any change of it changes the hash",
            )
        if self.rule != other.rule:
            raise StatisticsError(
                f"the statistics follow another range rule: {self.rule} against {other.rule}",
                fix="collect both with --range stable",
            )
        if self.options != other.options:
            raise StatisticsError(
                "the statistics were collected with other options: "
                + _differences(self.options, other.options),
                fix="collect both with the same options",
            )
        if self.tensors != other.tensors:
            odd = sorted(set(self.tensors) ^ set(other.tensors))
            which = f"only one of the two has {quoted(odd)}" if odd else "the same names in another order"
            raise StatisticsError(
                f"the statistics observe other tensors: {which}",
                fix="collect both with the same version of onnx_trtcal",
            )


def quoted(names: Sequence[str]) -> str:
    """The first few names in quotes, and how many more there are."""
    return listed([repr(name) for name in names])


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    keys = [key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)]
    return "; ".join(f"{key} is {ours.get(key)!r} against {theirs.get(key)!r}" for key in keys)
