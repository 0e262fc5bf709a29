"""Prints what lint says of Q/DQ models beside what NVIDIA's compiler makes of them: one row each.

    python tools/lint_table.py FOLDER_OR_MODEL.onnx ... [--gpu sm86]

Both speak three ways: refused, built without INT8, built in INT8. `?` marks rows where they disagree; lint's `limited`
counts as built in INT8, but for FP8, of which it says which GPUs refuse it. The exit status is 1 when there is such a
row.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal import lint
from onnx_trtcal.errors import CalibrationError
from onnx_trtcal.trt.compiler.compile_model import compile_model
from onnx_trtcal.trt.compiler.options import GPUS, CompileOptions

if TYPE_CHECKING:
    from onnx_trtcal.qdq.lint.finding import Finding

REFUSED, FLOAT, INT8, NO_LAYER = "refused", "built, not in INT8", "built in INT8", "built, no layer"


def lint_verdict(findings: tuple[Finding, ...], gpu: str) -> str:
    """What lint's findings come to for a GPU."""
    levels = {finding.level for finding in findings}
    if gpu == "sm86" and any(finding.rule == "fp8" for finding in findings):
        return REFUSED
    return REFUSED if "error" in levels else FLOAT if "float" in levels else INT8


def compiled_verdict(path: Path, gpu: str) -> tuple[str, str]:
    """What the compiler does, and its words."""
    try:
        made = compile_model(path, CompileOptions(gpu=gpu))
    except CalibrationError as error:
        return REFUSED, str(error).splitlines()[0][:90]
    if not made.built:
        problem = made.problems[0]
        return REFUSED, f"{problem.stage}: {problem.what}"[:90]
    if not made.layers:
        return NO_LAYER, ""
    lost = [layer for layer in made.layers if not layer.int8]
    return (FLOAT, f"{lost[0].op}: {lost[0].why}"[:90]) if lost else (INT8, "")


def main() -> int:
    """Prints the table; 1 when lint and the compiler disagree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path, metavar="FOLDER_OR_MODEL")
    parser.add_argument("--gpu", choices=GPUS, default=CompileOptions.gpu)
    args = parser.parse_args()
    files = [file for given in args.models for file in (sorted(given.glob("*.onnx")) or [given])]
    disagreements = 0
    print("| model | lint | its findings | compiler | its words |")
    print("|---|---|---|---|---|")
    for file in files:
        verdict, words = compiled_verdict(file, args.gpu)
        try:
            findings = lint(file)
            said = lint_verdict(findings, args.gpu)
            rules = ", ".join(dict.fromkeys(f"{finding.level}: {finding.rule}" for finding in findings))
        except CalibrationError as error:
            said, rules = REFUSED, error.what[:90]
        disagree = said != (INT8 if verdict == NO_LAYER else verdict)
        disagreements += disagree
        cells = (file.stem, said + (" ?" if disagree else ""), rules, verdict, words)
        print("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |", flush=True)
    print(f"\n{len(files)} models, {disagreements} disagreements", flush=True)
    return 1 if disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
