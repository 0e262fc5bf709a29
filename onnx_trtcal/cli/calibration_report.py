"""The report of a calibration, printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.counting.convergence import settled_line
from onnx_trtcal.support.printable import shell_command
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.cli.console import Console
    from onnx_trtcal.trt.tables import TableFormat

__all__ = ["print_report"]


def print_report(
    calibration: Calibration,
    model: str,
    tables: Mapping[TableFormat, Path],
    written: Sequence[Path],
    console: Console,
    *,
    deepstream: bool = False,
) -> None:
    """What was measured, the hardest clips, warnings, the files written, and what to run next.

    Args:
        calibration: what came out.
        model: the model's path as the user gave it.
        tables: the files with scales, by format.
        written: all files written.
        console: where to print.
        deepstream: print the keys of DeepStream's nvinfer, too.
    """
    from onnx_trtcal.report import summary
    from onnx_trtcal.report.mixed import mixed_in_cache

    samples = many(len(calibration.collection.samples), "sample")
    console.line()
    console.line(f"{samples}. {summary.covered_line(calibration)}")
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
    if console.verbose:
        _print_scales(calibration, console)
    if calibration.movement:
        console.line(settled_line(calibration.movement, calibration.options.until_stable))
    advised = _print_overclipped(calibration, console)
    for text in (*summary.warnings(calibration, advised), *mixed_in_cache(calibration)):
        console.warn(text)
    if "trt" in tables and (text := summary.colon_warning(calibration)):
        console.warn(text)
    for path in written:
        console.line(f"wrote {path} ({path.stat().st_size:,} bytes)")
    console.line()
    if cache := tables.get("trt"):
        _print_next(calibration, model, str(cache), console)
    if deepstream:
        _print_deepstream(calibration, model, str(cache or ""), console)
    if table := tables.get("ort-flatbuffers"):
        console.line("ONNX Runtime's TensorRT provider takes these options:")
        console.line(f"  trt_int8_enable=True, trt_int8_calibration_table_name={table.name!r},")
        console.line(f"  trt_engine_cache_path={str(table.parent)!r}")


def _print_scales(calibration: Calibration, console: Console) -> None:
    rows = [
        (
            item.tensor,
            f"{item.scale:.6g}",
            f"{item.threshold:.6g}",
            f"{item.amax:.6g}",
            item.method,
            item.reason if item.source == item.tensor else f"{item.reason}: {item.source}",
        )
        for item in calibration.scales.values()
    ]
    console.table(("tensor", "scale", "threshold", "amax", "method", "from"), rows, title="scales:")
    for tensor, reason in calibration.prepared.plan.skipped.items():
        console.line(f"  {tensor}: no scale: {reason}")


def _print_overclipped(calibration: Calibration, console: Console) -> set[str]:
    """Prints what to do about the tensors that are clipped too hard, and returns those tensors."""
    from onnx_trtcal.report.advice import clip_warnings, overclipped

    found = overclipped(calibration)
    if found and console.verbose:
        columns = ("tensor", "method", "threshold", "mse's", "times the error")
        rows = [
            (each.tensor, each.method, f"{each.threshold:.6g}", f"{each.better:.6g}", f"{each.times:.1f}")
            for each in found
        ]
        console.table(columns, rows, title="clipped too hard:")
    for text in clip_warnings(found, calibration):
        console.warn(text)
    return {each.tensor for each in found}


def _print_deepstream(calibration: Calibration, model: str, cache: str, console: Console) -> None:
    from onnx_trtcal.report.deepstream import deepstream_lines

    if not cache:
        console.warn("--deepstream has no effect: nvinfer reads TensorRT's cache, which --format trt writes")
        return
    console.line("for DeepStream's nvinfer:")
    for line in deepstream_lines(calibration, model, cache):
        console.line(f"  {line}")


def _print_next(calibration: Calibration, model: str, cache: str, console: Console) -> None:
    from onnx_trtcal.report import summary

    console.line("build an engine:")
    console.line(f"  {summary.next_command(calibration, model, cache)}")
    if unseen := summary.unseen_shapes(calibration):
        console.line(
            f"  with --minShapes, --optShapes and --maxShapes for {', '.join(unseen)}: no data was run, and the "
            "statistics do not tell them"
        )
    console.line("TensorRT 11 has no calibrators and reads no cache: put the scales into the model instead:")
    words = ["onnx-trtcal", "quantize", model, cache, "-o", f"{Path(model).stem}.int8.onnx"]
    console.line(f"  {shell_command(words)}")
