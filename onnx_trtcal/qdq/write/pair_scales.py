"""The scales of Q/DQ pairs as they are written: ties applied, in a float type that does not clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.errors import OptionError
from onnx_trtcal.scales import SCALE_OF_ZEROS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.qdq.place.placement import Placement

__all__ = ["beyond_float16", "pair_scales", "round_up"]

# Half of float16's largest value: room for what calibration did not see.
_LIMIT = 32752.0
# Below it float16 has ever fewer digits: an INT8 step, or what is that small altogether, would change its size.
_SMALLEST = float(np.finfo(np.float16).smallest_normal)


def pair_scales(placement: Placement, scales: Mapping[str, float]) -> dict[str, float]:
    """The scale of every tensor that carries a pair: its own, or that of its tie.

    A scale of 0, which TensorRT writes for a tensor of zeros, becomes a harmless positive one.

    Args:
        placement: which tensors carry a pair.
        scales: tensor -> scale; other tensors are ignored.

    Raises:
        OptionError: a scale is missing, negative or not finite.
    """
    found: dict[str, float] = {}
    for activation in placement.activations:
        scale = scales.get(activation.tensor)
        if scale is None:
            raise OptionError(f"no scale for tensor {activation.tensor!r}, which is to be quantized")
        if not (np.isfinite(scale) and scale >= 0):
            raise OptionError(
                f"the scale of tensor {activation.tensor!r} is {scale}, wanted a positive number"
            )
        found[activation.tensor] = float(np.float32(scale)) or SCALE_OF_ZEROS
    for tie in placement.ties:
        common = max(found[tensor] for tensor in tie.leaders)
        found.update(dict.fromkeys(tie.tensors, common))
    return found


def beyond_float16(scales: Mapping[str, float]) -> frozenset[str]:
    """The tensors that float16 cannot hold: too large for it, or too small to keep 8 bits.

    Args:
        scales: tensor -> scale; 0 stands for a tensor of zeros, which any type holds.
    """
    return frozenset(name for name, scale in scales.items() if 127 * scale > _LIMIT or 0 < scale < _SMALLEST)


def round_up(scale: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Scales in a narrower type: never rounded down, so that nothing is clipped, and neither 0 nor infinite."""
    largest = np.finfo(dtype).max
    wanted = np.clip(scale, float(np.finfo(dtype).smallest_subnormal), float(largest))
    value = np.asarray(wanted).astype(dtype)
    short = value.astype(np.float64) < wanted
    return np.asarray(np.where(short, np.nextafter(value, largest), value), dtype)
