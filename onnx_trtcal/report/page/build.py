"""build_page(): from what is at hand to what the page says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.report.advice import flags_for, overclipped
from onnx_trtcal.report.page.commands import Commands
from onnx_trtcal.report.page.engine import engine_of
from onnx_trtcal.report.page.facts import Page
from onnx_trtcal.report.page.flags import flagged
from onnx_trtcal.report.page.network import network_of
from onnx_trtcal.report.page.numbers import numbers_of
from onnx_trtcal.report.page.origin import origin_of, subtitle_of
from onnx_trtcal.report.page.risks import risks_of
from onnx_trtcal.report.page.tensors import tensors_of
from onnx_trtcal.report.page.verdict import evidence_of, verdict_of
from onnx_trtcal.report.page.words import size

if TYPE_CHECKING:
    from onnx_trtcal.qdq.place.placement import Placement
    from onnx_trtcal.report.page.material import Material
    from onnx_trtcal.report.page.network import Network
    from onnx_trtcal.tuning.tuning import Tuning

__all__ = ["build_page"]

_MOST_FLAGS = 5  # with more tensors than these, another method is the better advice


def build_page(material: Material) -> Page:
    """What the page says; a pure function of the material."""
    network = network_of(material)
    calibration = material.source.calibration
    hard = overclipped(calibration) if calibration else []
    tensors = flagged(tensors_of(material, network), material, {each.tensor: each for each in hard})
    evidence = evidence_of(material)
    commands = Commands(material)
    risks = risks_of(material, evidence, tensors, hard)
    flags = flags_for(hard, calibration) if calibration and 0 < len(hard) <= _MOST_FLAGS else ""
    if len(hard) > _MOST_FLAGS:
        flags = "--method mse"
    return Page(
        model=material.paths.model,
        subtitle=subtitle_of(material),
        verdict=verdict_of(material, evidence, risks, commands, flags),
        numbers=numbers_of(material, evidence, tensors, network),
        files=tuple((path, size(count)) for path, count in material.paths.written),
        commands=commands.build(),
        blocks=evidence.blocks,
        figures=evidence.figures,
        tensors=tensors,
        float_layers=_float_layers(network.placement, network),
        earlier=material.paths.earlier,
        cache=material.paths.cache if material.cache else "",
        engine=engine_of(material.compilation) if material.compilation else None,
        origin=origin_of(material),
        left_out=bool(material.ranked and material.ranked.left_out),
        steps=_steps(material.tuning) if material.tuning else (),
    )


def _float_layers(placement: Placement, network: Network) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Why layers stay in floating point, the commonest reason first."""
    found: dict[str, list[str]] = {}
    for layer, reason in placement.left.items():
        node = network.flow.node.get(layer)
        found.setdefault(reason, []).append(node.name if node is not None and node.name else layer)
    ranked = sorted(found.items(), key=lambda each: (-len(each[1]), each[0]))
    return tuple((reason, tuple(names)) for reason, names in ranked)


def _steps(tuned: Tuning) -> tuple[tuple[str, str, str, bool], ...]:
    from onnx_trtcal.tuning.step import figure_and_drop

    return tuple(
        (
            step.setting.name,
            figure_and_drop(step.score),
            f"{step.cost.float_layers} of {step.cost.layers} layers in floating point",
            step is tuned.best,
        )
        for step in tuned.steps
    )
