"""Flags for the tables that scales are written to, the same in every verb that writes them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.tables import FORMATS, table_paths
from onnx_trtcal.trtversion import ALGORITHMS

if TYPE_CHECKING:
    from onnx_trtcal.calibration import Calibration

__all__ = ["add_tables", "check_tables", "output_path", "table_files", "write_tables"]


def add_tables(parser: argparse.ArgumentParser) -> None:
    """Adds the flags; the parser's verb has an argument MODEL."""
    parser.add_argument(
        "-o", "--output", metavar="PATH", help="cache to write (default: ./MODEL.calibration.cache)"
    )
    parser.add_argument(
        "--format",
        action="append",
        choices=tuple(FORMATS),
        dest="formats",
        help="what to write: TensorRT's cache (default), ONNX Runtime's tables, dynamic ranges in JSON; repeatable, "
        "files get their formats' suffixes beside --output",
    )
    parser.add_argument(
        "--algorithm",
        choices=ALGORITHMS,
        default=ALGORITHMS[0],
        help=f"calibrator named in the cache's header (default {ALGORITHMS[0]}, the one trtexec reads)",
    )


def output_path(args: argparse.Namespace) -> Path:
    """The file that -o names, or its default beside nothing but the working directory."""
    first = _formats(args)[0]
    return Path(
        args.output or f"{Path(args.model).stem}{FORMATS['trt' if 'trt' in _formats(args) else first]}"
    )


def check_tables(args: argparse.Namespace) -> None:
    """Refuses flags under which two tables would be one file, before any work is done.

    Raises:
        OptionError: saying which.
    """
    table_paths(output_path(args), _formats(args))


def table_files(args: argparse.Namespace) -> list[Path]:
    """Every file that `write_tables` is going to write."""
    tables = list(table_paths(output_path(args), _formats(args)).values())
    return [*tables, Path(f"{tables[0]}.json")]


def write_tables(calibration: Calibration, args: argparse.Namespace) -> tuple[dict[str, Path], list[Path]]:
    """Writes what the flags ask for.

    Returns:
        The tables by format, and all files written.

    Raises:
        CalibrationError: when a table cannot hold a name or a scale, or a file cannot be written.
    """
    written = calibration.write_tables(output_path(args), _formats(args), args.algorithm)
    return table_paths(output_path(args), _formats(args)), written


def _formats(args: argparse.Namespace) -> list[str]:
    return list(dict.fromkeys(args.formats or ["trt"]))
