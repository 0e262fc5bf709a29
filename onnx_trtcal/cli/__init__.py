"""The command line: `onnx-trtcal MODEL DATA`, and the verbs beside it.

Only the module of the verb that is asked for is imported, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from onnx_trtcal import __version__
from onnx_trtcal.cli.boundary import run_guarded
from onnx_trtcal.cli.streams import print_line
from onnx_trtcal.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import SupportsWrite

__all__ = ["VERBS", "main", "parser_for"]

VERBS = {
    "calibrate": "run the data through the model and write a calibration cache (the default verb)",
    "collect": "collect statistics only, of all data or of one shard of it",
    "check": "tell which tensors of a model a cache covers, and whether a gap costs INT8",
    "solve": "solve for scales by another method or for another TensorRT version, from saved statistics",
    "merge": "add up the statistics of shards collected apart",
    "compare": "compare the methods tensor by tensor, from saved statistics",
    "cache": "show, diff, merge, rename or re-head calibration caches",
    "quantize": "write the calibrated model with Q/DQ nodes, for TensorRT 8 to 11",
    "lint": "check a Q/DQ model against TensorRT's rules",
    "compile": "build a model with NVIDIA's own compiler, without a GPU, and tell what runs in INT8",
    "dequantize": "turn a Q/DQ model into a float model and a calibration cache",
    "evaluate": "measure FP32 against simulated INT8, tensor by tensor and end to end",
    "tune": "quantize so that accuracy falls no further than asked for, by the cheapest engine that does",
    "sensitivity": "rank the groups of a model by the damage INT8 does there",
    "report": "write what a calibration is worth as a page: verdict, pictures, every tensor",
}

_DEFAULT = "calibrate"

_EPILOG = "\n".join(
    [
        "verbs:",
        *(f"  {name:<12} {text}" for name, text in VERBS.items()),
        "",
        "`onnx-trtcal VERB --help` explains one verb; without a verb, MODEL DATA is calibrated.",
    ]
)


def parser_for(verb: str) -> argparse.ArgumentParser:
    """The parser of a verb's arguments, with the flags that every verb has."""
    default = verb == _DEFAULT
    parser = _Parser(
        prog="onnx-trtcal" if default else f"onnx-trtcal {verb}",
        description=VERBS[verb][0].upper() + VERBS[verb][1:] + ".",
        epilog=_EPILOG if default else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _module(verb).configure(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors, warnings and results only")
    parser.add_argument("-v", "--verbose", action="store_true", help="print more")
    if default:
        parser.add_argument(
            "--version", action="version", version=f"onnx-trtcal {__version__}", help="print the version"
        )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Returns:
        The exit status: 0 done; 1 refused, or a negative verdict; 70 an error that nobody foresaw; 128 + the
        signal's number for a run that was interrupted or whose reader has gone. Misuse leaves with status 2, and a
        run that was terminated with 128 + the signal's number, through SystemExit.
    """
    # From 1.29 on, ONNX Runtime keeps a telemetry database unless it is told not to before it is imported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    arguments = list(sys.argv[1:] if argv is None else argv)
    return run_guarded(lambda: _run(list(arguments)), arguments)


def _run(arguments: list[str]) -> int:
    verb = arguments.pop(0) if arguments and arguments[0] in VERBS else _DEFAULT
    if verb == _DEFAULT:
        _reject_mistyped_verb(arguments)
    args = _parsed(parser_for(verb), arguments)
    return int(_module(verb).run(args))


def _parsed(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments; of a verb without actions of its own, paths may stand before and behind flags."""
    if parser._subparsers is not None:
        return parser.parse_args(arguments)
    # Python 3.11 would otherwise take each % in the usage line for a format of its own.
    parser.usage = parser.format_usage().removeprefix("usage: ").rstrip().replace("%", "%%")
    return parser.parse_intermixed_args(arguments)


def _module(verb: str) -> Any:
    return importlib.import_module(f"{__name__}.{verb}")


class _Parser(argparse.ArgumentParser):
    """Prints help and complaints as everything else is printed: escaped, to streams of any kind."""

    def error(self, message: str) -> NoReturn:
        """Says what is wrong with the arguments, below the usage."""
        for line in self.format_usage().splitlines():
            print_line(sys.stderr, line)
        _usage(f"{self.prog}: error: {message}")

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        # argparse writes to a closed standard output through standard error.
        complaint = file is not None and file is sys.stderr
        for line in message.removesuffix("\n").split("\n"):
            print_line(sys.stderr if complaint else sys.stdout, line)


def _reject_mistyped_verb(arguments: Sequence[str]) -> None:
    first = arguments[0] if arguments else ""
    if first and not first.startswith("-") and not os.path.exists(first):
        guess = did_you_mean(first, VERBS)
        if guess and "." not in first and "/" not in first:
            _usage(f"error: {first!r} is neither a model file nor a verb: {guess}")


def _usage(message: str) -> NoReturn:
    print_line(sys.stderr, message)
    raise SystemExit(2)
