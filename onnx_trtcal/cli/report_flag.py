"""The flag --report, which several verbs have: what they found as a page, too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from onnx_trtcal.cli.console import Console
    from onnx_trtcal.evaluation.request import SimulationOptions
    from onnx_trtcal.report.page.material import Material
    from onnx_trtcal.scale_source import ScaleSource

__all__ = ["add_report", "report_files", "simulated_material", "sizes", "write_page_of"]


def add_report(parser: Any) -> None:
    """Adds the flag to a parser or a group of one."""
    parser.add_argument(
        "--report", metavar="PATH", help="also write what was found as a page: one HTML file with pictures"
    )


def report_files(args: argparse.Namespace) -> list[str]:
    """The file that the flag asks for, for `destinations`."""
    return [args.report] if args.report else []


def sizes(paths: Sequence[str | Path]) -> tuple[tuple[str, int], ...]:
    """Files with their sizes in bytes."""
    return tuple((str(path), Path(path).stat().st_size) for path in paths)


def simulated_material(
    args: argparse.Namespace, request: SimulationOptions, source: ScaleSource | None
) -> Material:
    """What a page is made from in a verb that simulates INT8, but for what the verb measured.

    Args:
        args: of the verb.
        request: what it was asked for.
        source: the scales that were simulated; None where `--qdq` names a quantized model.
    """
    from onnx_trtcal.audit.coverage import check
    from onnx_trtcal.report.page.material import Material, Paths
    from onnx_trtcal.report.page.quantized import source_of_quantized

    quantized = getattr(args, "qdq", None) or ""
    precisions = None
    if source is None:
        source, precisions = source_of_quantized(args.model, quantized, request.options)
    coverage = check(source.model, args.cache) if args.cache else None
    paths = Paths(args.model, args.stats or "", "", args.cache or "", quantized, tuple(args.data))
    return Material(source, paths, request.options, request.qdq, coverage=coverage, precisions=precisions)


def write_page_of(material: Material, path: str | Path, console: Console) -> None:
    """Writes the page and says so.

    Raises:
        CalibrationError: when the file cannot be written.
    """
    from onnx_trtcal.report.page.write import write_page

    written = write_page(material, path)
    console.line(f"wrote {written} ({written.stat().st_size:,} bytes)")
