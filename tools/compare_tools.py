"""Compares what INT8 tools make of the same models and data, and prints Markdown tables.

    python tools/compare_tools.py CASES.toml
    python tools/compare_tools.py CASES.toml --modelopt VENV/bin/python    NVIDIA ModelOpt, too
    python tools/compare_tools.py CASES.toml --ours auto,mse+round,auto+equalize=full+round --keep FOLDER

A row of ours is a method, and any flags of `quantize` behind it, each after a plus sign and without its dashes. With
--keep a Q/DQ model that is in FOLDER already is evaluated, not made again: a run that was cut off is resumed so.

CASES.toml (or .json) describes models; paths are relative to the file:

    [[case]]
    name = "digits_mlp"
    model = "digits_mlp.onnx"
    calibration = "digits_calib.npy"      samples along axis 0, as the model takes them; .npz with an array per input
    test = "digits_test.npy"              the same; other samples
    labels = "digits_test_labels.csv"     optional, see `onnx-trtcal evaluate --labels`
    metric = "auc.py:auc"                 optional, see `onnx-trtcal evaluate --metric`
    task = "detect"                       optional, see `onnx-trtcal evaluate --task`
    head = "yolox"                        optional, see `onnx-trtcal evaluate --head`
    batch = 8                             optional: samples per run while calibrating, a divisor of 8
    shape = [1, 8, 8]                     optional: reshape each sample to this

Every tool makes a Q/DQ model in a process of its own, with its default settings but for what TensorRT demands:
symmetric INT8, no quantized bias. The same evaluation then runs all of them, in ONNX Runtime with Q and DQ
computed in float, so that the arithmetic is that of TensorRT. Of several outputs the one with the lowest SQNR counts;
the worst block is `evaluate`'s verdict. Seconds are the making process's, first on the clock, then of its CPU time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="?", metavar="CASES", help="TOML or JSON file")
    parser.add_argument("--only", action="append", metavar="NAME", help="this case only (repeatable)")
    parser.add_argument(
        "--ours",
        default="entropy,auto",
        metavar="ROWS",
        help="our methods, with flags such as auto+equalize=full+round (default entropy,auto)",
    )
    parser.add_argument("--tool", action="append", metavar="NAME", help="this row only (repeatable)")
    parser.add_argument("--modelopt", metavar="PYTHON", help="interpreter that can import modelopt")
    parser.add_argument("--keep", metavar="FOLDER", help="keep the Q/DQ models here, and use those there")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        from compare.child import run_child

        run_child(*args.child)
        return
    if not args.cases:
        parser.error("give CASES")
    from compare.cases import read_cases
    from compare.rows import compare_case, contenders
    from compare.table import case_table

    names = contenders(args.ours.split(","), args.modelopt, args.tool)
    for case in read_cases(Path(args.cases), args.only):
        with tempfile.TemporaryDirectory(prefix="compare-") as scratch:
            # The processes that make the models work in folders of their own.
            folder = Path(args.keep or scratch).resolve()
            rows = compare_case(case, names, args.modelopt, folder, _say)
        print(case_table(case, rows), flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
