"""What is said of a look at the end result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.errors import listed
from onnx_trtcal.evaluation.end_result import LEAST
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.evaluation.end_result import EndResult
    from onnx_trtcal.fidelity.blocks import BlockError

__all__ = ["alarm_lines", "end_result_line"]

_MOST_NAMED = 5


def end_result_line(found: EndResult) -> str:
    """One line: the worst block of the outputs."""
    on = f"INT8 against FP32 on {many(found.samples, 'sample')}"
    if not found.blocks:
        return f"{on}: no output can be compared"
    if not found.blocks[0].verdict:
        return f"{on}: the outputs are too close to zero to be compared"
    return f"{on}: {'worst of the outputs, ' if len(found.blocks) > 1 else ''}{_of(found.blocks[0])}"


def alarm_lines(found: EndResult, calibration: Calibration, sensitivity: str) -> list[str]:
    """What a result with lost blocks comes to, and what to run next; empty when no block is lost.

    Args:
        found: the look.
        calibration: where the scales came from.
        sensitivity: the command that ranks the layers.
    """
    if not found.lost:
        return []
    names = listed([_of(block) for block in found.lost], _MOST_NAMED)
    searched = any(method.needs == "model" for method in calibration.prepared.methods.values())
    auto = "" if searched else "the same command with --method auto, then "
    samples = many(found.samples, "sample")
    return [
        f"INT8 ruins what this model answers: under {LEAST:g} dB against FP32, on {samples}: {names}",
        f"  to run next: {auto}{sensitivity}",
    ]


def _of(each: BlockError) -> str:
    return f"{each.block.name!r} {'exact' if each.sqnr == float('inf') else f'{each.sqnr:.1f} dB'}"
