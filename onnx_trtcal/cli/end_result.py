"""The look at the end result, at the very end of what a verb prints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_trtcal.cli.listener import ConsoleListener
from onnx_trtcal.data.remote import shown_path
from onnx_trtcal.errors import CalibrationError
from onnx_trtcal.support.printable import shell_command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.cli.console import Console
    from onnx_trtcal.evaluation.end_result import EndResult
    from onnx_trtcal.quantization import Quantization

__all__ = ["Shown", "show_end_result"]


@dataclass(frozen=True)
class Shown:
    """What was said of the end result.

    Attributes:
        fields: the same for `--json`; empty when no look was asked for.
        found: the look; None where there was none.
    """

    fields: Mapping[str, object] = field(default_factory=dict)
    found: EndResult | None = None


def show_end_result(
    result: Calibration | Quantization,
    model: str,
    data: Sequence[str],
    console: Console,
    scales: Sequence[str],
) -> Shown:
    """Looks at the end result, after everything is written, and prints what was found; nothing if it was not asked for.

    Args:
        result: what came out.
        model: the model's path as the user gave it.
        data: the data's paths as the user gave them.
        console: where to print.
        scales: the flags with which `evaluate` takes what was written.

    Returns:
        What was found.
    """
    from onnx_trtcal.calibration import Calibration

    calibration = result if isinstance(result, Calibration) else result.source.calibration
    if calibration is not None and calibration.feeding is not None and not calibration.options.check_samples:
        return Shown()
    if calibration is None or calibration.feeding is None:
        return _unchecked("the scales came without data to run", model, console, scales)

    from onnx_trtcal.evaluation.end_result import check_end_result
    from onnx_trtcal.report.command_text import data_flags
    from onnx_trtcal.report.end_result import alarm_lines, end_result_line

    try:
        found = check_end_result(result, listener=ConsoleListener(console))
    except CalibrationError as error:
        return _unchecked(error.what, model, console, scales)
    except Exception as error:  # noqa: BLE001 (finished work is not lost to a look at it)
        return _unchecked(f"{type(error).__name__}: {error}", model, console, scales)
    console.line()
    cache = scales if "--cache" in scales else ()
    words = [
        "onnx-trtcal",
        "sensitivity",
        model,
        *map(shown_path, data),
        *cache,
        *data_flags(calibration.options),
    ]
    of = f"{scales[-1]}: " if scales else ""
    if lines := alarm_lines(found, calibration, shell_command(words)):
        console.alarm([f"{of}{lines[0]}", *lines[1:]])
    else:
        console.line(f"{of}{end_result_line(found)}")
    blocks = [{"name": each.block.name, "sqnr": each.sqnr, "verdict": each.verdict} for each in found.blocks]
    lost = [each.block.name for each in found.lost]
    return Shown({"samples": found.samples, "blocks": blocks, "lost": lost}, found)


def _unchecked(why: str, model: str, console: Console, scales: Sequence[str]) -> Shown:
    """Says in one line that nobody knows what INT8 does to the outputs; returns the same for `--json`."""
    why = " ".join(why.split())
    command = shell_command(["onnx-trtcal", "evaluate", model, "DATA", *scales])
    console.line()
    console.line(f"INT8 was not compared with FP32: {why}; to compare: {command}")
    return Shown({"not_checked": why})
