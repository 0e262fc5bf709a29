"""Flags for the tables that scales are written to, the same in every verb that writes them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.cli.flags import qdq_from
from onnx_trtcal.trt.tables import TABLES, table_paths
from onnx_trtcal.trt.version import ALGORITHMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.cli.console import Console
    from onnx_trtcal.quantization import Quantization
    from onnx_trtcal.trt.tables import TableFormat

__all__ = [
    "add_tables",
    "check_tables",
    "evaluate_flags",
    "output_path",
    "qdq_path",
    "table_files",
    "write_qdq",
    "write_tables",
]

# Not a table of scales but the model itself: it never stands alone, so that there is a cache in any case.
_QDQ = "qdq"


def add_tables(parser: argparse.ArgumentParser) -> None:
    """Adds the flags; the parser's verb has an argument MODEL."""
    parser.add_argument(
        "-o", "--output", metavar="PATH", help="cache to write (default: ./MODEL.calibration.cache)"
    )
    parser.add_argument(
        "--format",
        action="append",
        choices=(*TABLES, _QDQ),
        dest="formats",
        help="what to write: TensorRT's cache, ONNX Runtime's tables, dynamic ranges in JSON (default trt); "
        "repeatable, files get their formats' suffixes beside --output. qdq adds the model with Q/DQ nodes, "
        "MODEL.int8.onnx, with the options in [qdq] of --config",
    )
    parser.add_argument(
        "--deepstream",
        action="store_true",
        help="also print the [property] keys of DeepStream's nvinfer for the model, the cache and the preprocessing",
    )
    parser.add_argument(
        "--algorithm",
        choices=ALGORITHMS,
        default=ALGORITHMS[0],
        help=f"calibrator named in the cache's header (default {ALGORITHMS[0]}, the one trtexec reads)",
    )


def output_path(args: argparse.Namespace) -> Path:
    """The file that -o names, or its default in the working directory."""
    forms = _formats(args)
    suffix = TABLES["trt" if "trt" in forms else forms[0]].suffix
    return Path(args.output or f"{Path(args.model).stem}{suffix}")


def check_tables(args: argparse.Namespace) -> None:
    """Refuses flags under which two tables would be one file, before any work is done.

    Raises:
        OptionError: saying which.
    """
    table_paths(output_path(args), _formats(args))


def table_files(args: argparse.Namespace) -> list[Path]:
    """Every file that `write_tables` and `write_qdq` are going to write."""
    tables = list(table_paths(output_path(args), _formats(args)).values())
    qdq = [qdq_path(args)] if _wants_qdq(args) else []
    return [*tables, Path(f"{tables[0]}.json"), *qdq]


def write_tables(
    calibration: Calibration, args: argparse.Namespace
) -> tuple[dict[TableFormat, Path], list[Path]]:
    """Writes what the flags ask for.

    Returns:
        The tables by format, and all files written.

    Raises:
        CalibrationError: when a table cannot hold a name or a scale, or a file cannot be written.
    """
    written = calibration.write_tables(output_path(args), _formats(args), args.algorithm)
    return table_paths(output_path(args), _formats(args)), written


def evaluate_flags(tables: Mapping[TableFormat, Path]) -> list[str]:
    """The flags with which `evaluate` takes the scales that were written; none where there is no cache.

    Args:
        tables: what `write_tables` wrote.
    """
    return ["--cache", str(tables["trt"])] if "trt" in tables else []


def write_qdq(calibration: Calibration, args: argparse.Namespace, console: Console) -> Quantization | None:
    """Writes the model with Q/DQ nodes beside the tables, when asked to, and says which layers are quantized.

    Returns:
        What was written; None when it was not asked for.

    Raises:
        CalibrationError: when no layer can be quantized, or the file cannot be written.
    """
    if not _wants_qdq(args):
        return None
    from onnx_trtcal.cli.quantize import print_quantization
    from onnx_trtcal.quantization import quantize_calibrated

    # A model that --equalize rewrote was so before it was calibrated.
    options = qdq_from(
        argparse.Namespace(**{name: value for name, value in vars(args).items() if name != "equalize"})
    )
    made = quantize_calibrated(calibration, options)
    print_quantization(made, made.save(qdq_path(args)), console, options)
    return made


def _formats(args: argparse.Namespace) -> list[TableFormat]:
    tables = [form for form in dict.fromkeys(args.formats or ()) if form != _QDQ]
    return tables or ["trt"]


def _wants_qdq(args: argparse.Namespace) -> bool:
    return _QDQ in (args.formats or ())


def qdq_path(args: argparse.Namespace) -> Path:
    """The file that `write_qdq` writes."""
    return output_path(args).with_name(f"{Path(args.model).stem}.int8.onnx")
