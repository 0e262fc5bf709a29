"""What `evaluate` and `sensitivity` found, from their results or from what `--json` printed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.errors import DataError
from onnx_trtcal.evaluation.comparison import CLEAN
from onnx_trtcal.support.parsed_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from onnx_trtcal.fidelity.blocks import BlockError

__all__ = [
    "Measured",
    "MeasuredBlock",
    "MeasuredFigure",
    "MeasuredTensor",
    "Ranked",
    "RankedHarm",
    "blocks_of",
    "measured_of",
    "ranked_of",
    "read_measurements",
]

_FIX = "give a file that `onnx-trtcal evaluate … --json` or `sensitivity … --json` printed"


@dataclass(frozen=True)
class MeasuredTensor:
    """How far a tensor of the quantized model is from the float model's.

    Attributes:
        name: the tensor.
        sqnr: in dB; inf where nothing differs.
        lost: dB lost since the tensors that it is computed from.
    """

    name: str
    sqnr: float
    lost: float


@dataclass(frozen=True)
class MeasuredBlock:
    """How far a block of the outputs is from the float model's.

    Attributes:
        name: the output, with the channels where the block is a part of it.
        sqnr: in dB, relative to the block's own power.
        verdict: whether it has power enough to be judged by.
    """

    name: str
    sqnr: float
    verdict: bool


@dataclass(frozen=True)
class MeasuredFigure:
    """Accuracy or another figure of both models.

    Attributes:
        name: `top-1`, `mAP 0.5`, the name of the user's metric …
        fp32: of the float model.
        int8: of the quantized model.
        share: whether it is a share from 0 to 1, of which more is better.
    """

    name: str
    fp32: float
    int8: float
    share: bool


@dataclass(frozen=True)
class Measured:
    """FP32 against simulated INT8.

    Attributes:
        samples: how many were run.
        tensors: every compared tensor, in graph order.
        blocks: of the float outputs, in their order.
        agreement: share of the samples, detections or pixels with the same answer from both; None without any.
        figures: accuracy with labels, then the user's metric.
    """

    samples: int
    tensors: tuple[MeasuredTensor, ...]
    blocks: tuple[MeasuredBlock, ...]
    agreement: float | None
    figures: tuple[MeasuredFigure, ...]


@dataclass(frozen=True)
class RankedHarm:
    """One group by the damage of INT8.

    Attributes:
        name: of its first node, or that node's first output.
        op: op type of that node.
        pattern: for `--exclude`.
        sqnr: of the worst block, in dB, with this group alone in INT8, or with all but this group.
    """

    name: str
    op: str
    pattern: str
    sqnr: float


@dataclass(frozen=True)
class Ranked:
    """The groups by the damage that INT8 does there.

    Attributes:
        samples: how many were run.
        left_out: whether all groups but one were quantized at a time, rather than one alone.
        groups: the most damaging first.
        everything: SQNR in dB of the worst block with all groups in INT8.
        blocks: of the float outputs with all groups in INT8.
        kept: per number of the worst groups in floating point, the SQNR of the worst block then.
        exclude: patterns for `--exclude` that leave the worst groups out.
    """

    samples: int
    left_out: bool
    groups: tuple[RankedHarm, ...]
    everything: float
    blocks: tuple[MeasuredBlock, ...]
    kept: tuple[tuple[int, float], ...]
    exclude: tuple[str, ...]


def read_measurements(paths: Iterable[str | Path]) -> tuple[Measured | None, Ranked | None]:
    """What files of `--json` hold; the last of each kind counts.

    Raises:
        DataError: when a file cannot be read, or is neither of the two.
    """
    measured = ranked = None
    for path in paths:
        fields = _fields_of(path)
        try:
            if "ranked" in fields:
                ranked = ranked_of(fields)
            else:
                measured = measured_of(fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                "the file is not what evaluate or sensitivity print with --json", where=str(path), fix=_FIX
            ) from error
    return measured, ranked


def _fields_of(path: str | Path) -> Mapping[str, Any]:
    try:
        fields = parse_json(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"cannot read the measurements: {error.strerror or error}", where=str(path), fix=_FIX
        ) from error
    except ValueError as error:
        raise DataError("the file is not JSON", where=str(path), fix=_FIX) from error
    if not isinstance(fields, dict):
        raise DataError("the file holds no measurements", where=str(path), fix=_FIX)
    return fields


def measured_of(fields: Mapping[str, Any]) -> Measured:
    """An evaluation from its fields, where null stands for a number that JSON does not know."""
    scores = [_figure(name, each, share=True) for name, each in (fields["scores"] or {}).items()]
    metric = [_figure(name, each, share=False) for name, each in (fields["metric"] or {}).items()]
    agreement = fields["agreement"]
    return Measured(
        int(fields["samples"]),
        tuple(_tensor(each) for each in fields["tensors"]),
        _blocks(fields["blocks"]),
        None if agreement is None else float(agreement),
        (*scores, *metric),
    )


def ranked_of(fields: Mapping[str, Any]) -> Ranked:
    """A ranking from its fields."""
    everything = fields["everything"]
    return Ranked(
        int(fields["samples"]),
        bool(fields["left_out"]),
        tuple(
            RankedHarm(str(each["name"]), str(each["op"]), str(each["pattern"]), _harm(each["damage"]))
            for each in fields["ranked"]
        ),
        _harm(everything),
        _blocks(everything["blocks"]),
        tuple((int(each["groups"]), _harm(each["damage"])) for each in fields["kept"]),
        tuple(map(str, fields["exclude"])),
    )


def blocks_of(found: Iterable[BlockError]) -> tuple[MeasuredBlock, ...]:
    """The blocks of a look at the end result."""
    return tuple(MeasuredBlock(each.block.name, each.sqnr, each.verdict) for each in found)


def _tensor(fields: Mapping[str, Any]) -> MeasuredTensor:
    sqnr = _decibels(fields["sqnr"], exact=not fields["max_error"])
    above = _decibels(fields["above"], exact=True)
    lost = max(above - sqnr, 0.0) if above < CLEAN and sqnr > -math.inf else 0.0
    return MeasuredTensor(str(fields["name"]), sqnr, lost)


def _blocks(fields: Iterable[Mapping[str, Any]]) -> tuple[MeasuredBlock, ...]:
    return tuple(
        MeasuredBlock(
            str(each["name"]), _decibels(each["sqnr"], exact=each["relative"] == 0), bool(each["verdict"])
        )
        for each in fields
    )


def _harm(damage: Mapping[str, Any]) -> float:
    return _decibels(damage["sqnr"], exact=damage["noise_to_signal"] == 0)


def _figure(name: str, fields: Mapping[str, Any], *, share: bool) -> MeasuredFigure:
    return MeasuredFigure(str(name), float(fields["fp32"]), float(fields["int8"]), share)


def _decibels(value: float | None, *, exact: bool) -> float:
    """A ratio in dB; JSON has null for the infinities, of noise 0 and of nothing but noise."""
    if value is None:
        return math.inf if exact else -math.inf
    return float(value)
