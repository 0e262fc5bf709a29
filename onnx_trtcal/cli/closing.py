"""The closing words of a calibration, printed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.cli.console import Console

if TYPE_CHECKING:
    from onnx_trtcal.calibration import Calibration

__all__ = ["print_closing"]


def print_closing(calibration: Calibration, model: str, written: Sequence[Path], console: Console) -> None:
    """What was measured, the hardest clips, warnings, the files written, and what to run next.

    Args:
        calibration: what came out.
        model: the model's path as the user gave it.
        written: the files written, the cache first.
        console: where to print.
    """
    from onnx_trtcal import summary

    samples = len(calibration.collection.samples)
    console.line()
    console.line(f"{samples} samples. {summary.covered_line(calibration)}")
    clips = summary.hardest_clips(calibration)
    if clips:
        console.table(
            ("tensor", "method", "amax", "threshold", "kept", "values clipped", "SQNR dB"),
            [
                (
                    clip.tensor,
                    clip.method,
                    f"{clip.amax:.6g}",
                    f"{clip.threshold:.6g}",
                    f"{clip.ratio:.1%}",
                    f"{clip.score.clipped:.2g}",
                    f"{clip.score.sqnr:.1f}",
                )
                for clip in clips
            ],
            title="hardest clips:",
        )
    if calibration.movement:
        console.line(summary.settled_line(calibration.movement))
    for text in summary.warnings(calibration):
        console.warn(text)
    for path in written:
        console.line(f"wrote {path} ({path.stat().st_size:,} bytes)")
    console.line()
    console.line("build an engine:")
    console.line(f"  {summary.next_command(calibration, model, str(written[0]))}")
    console.line("TensorRT 11 has no calibrators and reads no cache: put the scales into the model instead:")
    console.line(f"  onnx-trtcal quantize {model} {written[0]} -o {Path(model).stem}.int8.onnx")
