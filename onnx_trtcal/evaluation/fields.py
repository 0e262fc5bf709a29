"""Evaluations and rankings as plain fields: what `--json` prints, and what the report reads again."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_trtcal.evaluation.comparison import Evaluation
    from onnx_trtcal.evaluation.ranking import Sensitivity
    from onnx_trtcal.evaluation.variants import Damage
    from onnx_trtcal.fidelity.blocks import BlockError

__all__ = ["block_fields", "evaluation_fields", "sensitivity_fields", "worst_name"]


def evaluation_fields(found: Evaluation) -> dict[str, Any]:
    """An evaluation; infinities are as they are."""
    return {**asdict(found), "blocks": block_fields(found.blocks), "worst": worst_name(found.worst)}


def sensitivity_fields(found: Sensitivity) -> dict[str, Any]:
    """A ranking; infinities are as they are."""
    return {
        "samples": found.samples,
        "left_out": found.left_out,
        "fp32": found.fp32,
        "by": found.by,
        "everything": _damage_fields(found.everything),
        "ranked": [{**asdict(group), "damage": _damage_fields(group.damage)} for group in found.ranked],
        "kept": [{**asdict(kept), "damage": _damage_fields(kept.damage)} for kept in found.kept],
        "exclude": list(found.exclude),
        "layer_precisions": found.layer_precisions,
    }


def _damage_fields(damage: Damage) -> dict[str, Any]:
    return {
        "sqnr": damage.sqnr,
        **asdict(damage),
        "blocks": block_fields(damage.blocks),
        "worst": worst_name(damage.worst),
    }


def block_fields(blocks: Sequence[BlockError]) -> list[dict[str, Any]]:
    """Blocks of outputs."""
    return [
        {
            "name": each.block.name,
            "output": each.block.output,
            "axis": each.block.axis,
            "channels": None if each.block.axis is None else [each.block.start, each.block.stop],
            "sqnr": each.sqnr,
            "relative": each.relative,
            "verdict": each.verdict,
        }
        for each in blocks
    ]


def worst_name(found: BlockError | None) -> str | None:
    """The name of the worst block, if there is one."""
    return None if found is None else found.block.name
