"""The figures of the first screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.counting.convergence import SETTLED
from onnx_trtcal.report.page.facts import Number
from onnx_trtcal.report.page.verdict import level_of_block
from onnx_trtcal.report.page.words import decibels, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_trtcal.report.page.facts import Level, TensorFacts
    from onnx_trtcal.report.page.material import Material
    from onnx_trtcal.report.page.network import Network
    from onnx_trtcal.report.page.verdict import Evidence

__all__ = ["numbers_of"]


def numbers_of(
    material: Material, evidence: Evidence, tensors: Sequence[TensorFacts], network: Network
) -> tuple[Number, ...]:
    """The figures, what matters most first."""
    return (
        *_outputs(evidence),
        *_layers(network),
        *_ranges(material, tensors),
        *_cache(material),
    )


def _outputs(evidence: Evidence) -> list[Number]:
    found = []
    worst = evidence.worst
    if worst is not None:
        found.append(Number("worst output part", decibels(worst.sqnr), worst.name, level_of_block(worst)))
    for each in evidence.figures[:2]:
        if each.share:
            found.append(Number(each.name, percent(each.int8), f"{percent(each.fp32)} in FP32"))
        else:
            found.append(Number(each.name, f"{each.int8:.5g}", f"{each.fp32:.5g} in FP32"))
    if evidence.agreement is not None:
        found.append(Number("same answers", percent(evidence.agreement), "INT8 against FP32"))
    return found


def _layers(network: Network) -> list[Number]:
    quantized, left = len(network.placement.quantized), len(network.placement.left)
    if not quantized + left:
        return []
    return [
        Number(
            "layers in INT8",
            f"{quantized} of {quantized + left}",
            f"{left} in float" if left else "all of them",
        )
    ]


def _ranges(material: Material, tensors: Sequence[TensorFacts]) -> list[Number]:
    found = [
        Number("tensors with a scale", f"{len(material.source.scales):,}", f"{len(tensors):,} of their own")
    ]
    calibration = material.source.calibration
    if calibration is None:
        return found
    samples = len(calibration.collection.samples)
    movement = calibration.movement
    remark = ""
    if movement is not None:
        settled = movement.most <= (calibration.options.until_stable or SETTLED)
        remark = "scales have settled" if settled else f"scales still move {movement.most:.0%}"
    found.append(Number("samples", f"{samples:,}", remark))
    clipped = [each for each in tensors if each.kept is not None and each.kept < 1 and not each.product]
    if clipped:
        hardest = min(clipped, key=lambda each: each.kept or 0.0)
        found.append(Number("hardest clip", percent(hardest.kept), "of the range is kept"))
    return found


def _cache(material: Material) -> list[Number]:
    coverage = material.coverage
    if coverage is None:
        return []
    costly = sum(gap.costs != "no" for gap in coverage.gaps)
    level: Level = "bad" if costly else "good"
    return [
        Number("missing in the cache", f"{costly:,}", f"{len(coverage.covered):,} tensors covered", level)
    ]
