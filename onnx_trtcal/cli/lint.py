"""`onnx-trtcal lint MODEL`: TensorRT's rules on a Q/DQ model."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["configure", "run"]

_LEVELS = {"error": "error", "float": "not in INT8", "limited": "not everywhere", "advice": "advice"}


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of this verb."""
    parser.add_argument("model", help="an ONNX model with Q/DQ nodes")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Prints the findings; 1 when TensorRT refuses the model, or builds it without INT8 in a layer with pairs."""
    from dataclasses import asdict

    from onnx_trtcal import lint
    from onnx_trtcal.cli.console import Console
    from onnx_trtcal.cli.jsontext import json_text

    console = Console(quiet=args.quiet, verbose=args.verbose)
    findings = lint(args.model)
    counts = Counter(finding.level for finding in findings)
    failed = bool(counts["error"] or counts["float"])
    if args.json:
        console.json(json_text([asdict(finding) for finding in findings]))
        return 1 if failed else 0
    for finding in findings:
        console.result(f"{_LEVELS[finding.level]} [{finding.rule}] {finding.node}: {finding.what}")
        console.result(f"    {finding.consequence}")
    parts = [f"{counts['error']} errors"]
    parts += [f"{counts['float']} that cost INT8"] if counts["float"] else []
    parts += [f"{counts['limited']} that not every TensorRT takes"] if counts["limited"] else []
    console.line(", ".join([*parts, f"{counts['advice']} recommendations"]))
    return 1 if failed else 0
