"""Compares a calibration cache with the log of the TensorRT build that read it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.scales import to_scale

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from onnx_trtcal.trt.build_log import TrtLog
    from onnx_trtcal.trt.cache import Cache

__all__ = ["ConstantTensor", "LogAudit", "audit_log", "constants_named"]

_LOG_TOLERANCE = 1e-5  # the log prints six digits


@dataclass(frozen=True)
class ConstantTensor:
    """A tensor that TensorRT made from a constant of the model.

    Attributes:
        tensor: TensorRT's name for it.
        constant: the constant's name in the model.
        amax: the constant's largest magnitude.
        scale: amax / 127, the finest scale that clips nothing. (TensorRT calibrates constants as it does
            activations: a single value v gets 2048.5 / 2048 * |v| / 127.)
        entry: the cache's scale for it; None if it has none.
    """

    tensor: str
    constant: str
    amax: float
    scale: float
    entry: float | None


@dataclass(frozen=True)
class LogAudit:
    """What a build log says about a cache.

    Attributes:
        version: TensorRT's version in the log.
        network: the float tensors of TensorRT's network that are named by the model; empty for a log that is
            not verbose.
        applied: the tensors that TensorRT gave the scale of their cache entry.
        differing: tensors whose applied scale is not the cache's: (tensor, entry or None, applied). The build
            then used another cache.
        ignored: entries that TensorRT gave to no tensor (empty when the log names no scales at all).
        lacking: float tensors that TensorRT's network has and the cache lacks, without those made from known
            constants.
        blamed: tensors without a scale, as TensorRT says -> the layers that lost INT8 because of it, where it
            names them. It names one tensor per layer, so the others in `lacking` may cost as much.
        constants: the tensors that TensorRT made from constants of the model.
        refused: whether TensorRT refused the cache for its header.
    """

    version: str
    network: tuple[str, ...]
    applied: tuple[str, ...]
    differing: tuple[tuple[str, float | None, float], ...]
    ignored: tuple[str, ...]
    lacking: tuple[str, ...]
    blamed: Mapping[str, tuple[str, ...]]
    constants: tuple[ConstantTensor, ...]
    refused: bool


def constants_named(
    tensors: Iterable[str], constants: Collection[str], fused: Mapping[str, str]
) -> dict[str, str]:
    """The tensors that TensorRT makes from constants -> the constant's name in the model.

    Up to TensorRT 8.5 only the log tells, where it fuses a constant with its shuffle. Since 8.6 a tensor is named
    after the constant, with "_output" behind it, and a number in between if the constant has several uses.

    Args:
        tensors: names that TensorRT uses.
        constants: the names of the model's constants.
        fused: tensor -> constant, from a log.
    """
    found = {}
    for tensor in tensors:
        name = fused.get(tensor) or tensor.removesuffix("_output")
        stem, _, number = name.rpartition("_")
        if name != tensor and name in constants:
            found[tensor] = name
        elif name != tensor and number.isdecimal() and stem in constants:
            found[tensor] = stem
    return found


def audit_log(log: TrtLog, cache: Cache, constants: Mapping[str, str], amax: Mapping[str, float]) -> LogAudit:
    """Compares a log with a cache.

    Args:
        log: the build's log.
        cache: the cache, preferably the one the build read.
        constants: TensorRT's constant tensor -> constant of the model; see `constants_named`.
        amax: constant of the model -> largest magnitude, for those whose values are known.
    """
    entries = cache.scales
    applied, differing = [], []
    for tensor, scale in log.scales.items():
        entry = entries.get(tensor)
        if entry is not None and (entry == scale or math.isclose(entry, scale, rel_tol=_LOG_TOLERANCE)):
            applied.append(tensor)
        else:
            differing.append((tensor, entry, scale))
    wanted = dict.fromkeys([*log.floats, *log.lacking])
    return LogAudit(
        version=log.version,
        network=log.floats,
        applied=tuple(applied),
        differing=tuple(differing),
        ignored=tuple(name for name in entries if name not in log.scales) if log.scales else (),
        lacking=tuple(name for name in wanted if name not in entries and name not in constants),
        blamed={name: log.rejected.get(name, ()) for name in log.lacking},
        constants=tuple(
            ConstantTensor(tensor, constant, amax[constant], to_scale(amax[constant]), entries.get(tensor))
            for tensor, constant in constants.items()
            if constant in amax
        ),
        refused=log.cache_refused,
    )
