"""Compares the threshold methods on models and data: SQNR of the network's output in dB, on unseen samples.

    python tools/compare_methods.py CASES.toml
    python tools/compare_methods.py tools/compare/bundled.toml --splits 3

CASES.toml is that of tools/compare_tools.py; of each case the model, the calibration and the test samples are
used. With --splits N the samples of both are dealt anew N - 1 times, and N results are averaged: which samples
happen to be in a small calibration set moves every method by a few tenths of a dB.

Every layer that can be quantized is (Conv, ConvTranspose, Gemm, MatMul and residual Adds), weights per channel.
All methods have the same Q/DQ placement; only the activations' thresholds differ. A model with several outputs
counts with the mean of their SQNR.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from compare.cases import read_cases

from onnx_trtcal.evaluation.evaluate import evaluate
from onnx_trtcal.evaluation.request import EvaluationOptions
from onnx_trtcal.methods import parse_method
from onnx_trtcal.options import Options
from onnx_trtcal.pipeline import calibrate, solve
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.write.quantize_model import quantize_model

if TYPE_CHECKING:
    from compare.cases import Case

    from onnx_trtcal.calibration import Calibration

_SINGLE = "minmax,entropy,mse,percentile:99.99,percentile:99.999"
_EVERYTHING = QdqOptions(min_channels=1, gemv=True, weights="float")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", metavar="CASES", help="TOML or JSON file")
    parser.add_argument("--only", action="append", metavar="NAME", help="this case only (repeatable)")
    parser.add_argument("--methods", default=_SINGLE, metavar="LIST", help=f"methods beside auto ({_SINGLE})")
    parser.add_argument("--splits", type=int, default=1, metavar="N", help="deals of the samples (1)")
    parser.add_argument("--provider", default="cpu", help="auto, cuda or cpu (cpu)")
    args = parser.parse_args()
    methods = args.methods.split(",")
    print(f"| | {' | '.join(methods)} | auto | auto - best | seconds |")
    print("|---" * (len(methods) + 4) + "|")
    for case in read_cases(Path(args.cases), args.only):
        splits = [_compare(case, methods, seed, args.provider) for seed in range(args.splits)]
        mean = {name: statistics.fmean(each[name] for each in splits) for name in splits[0]}
        best = statistics.fmean(each["auto"] - max(each[name] for name in methods) for each in splits)
        cells = [f"{mean[name]:.1f}" for name in (*methods, "auto")]
        print(f"| {case.name} | {' | '.join(cells)} | {best:+.1f} | {mean['seconds']:.0f} |", flush=True)


def _compare(case: Case, methods: list[str], seed: int, provider: str) -> dict[str, float]:
    """Method -> dB, and under `seconds` what auto took on top of collecting."""
    calibration, test = _deal(case, seed)
    options = Options(provider=provider)
    begin = time.perf_counter()
    collected = calibrate(case.model, calibration, options)
    between = time.perf_counter()
    searched = calibrate(case.model, calibration, replace(options, method="auto"))
    seconds = (time.perf_counter() - between) - (between - begin)
    found = {"auto": _sqnr(searched, test), "seconds": max(seconds, 0.0)}
    for method in methods:
        asked = replace(options, method=method)
        if parse_method(method).needs == "model":
            single = calibrate(case.model, calibration, asked)
        else:
            single = solve(collected.prepared.with_options(asked), collected.collection)
        found[method] = _sqnr(single, test)
    return found


def _deal(case: Case, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    samples = [np.load(path) for path in (case.calibration, case.test)]
    rows = [array.reshape(len(array), *case.shape) if case.shape else array for array in samples]
    count, both = len(rows[0]), [*rows[0], *rows[1]]
    order = np.random.default_rng(seed).permutation(len(both)) if seed else np.arange(len(both))
    dealt = [both[place] for place in order]
    return dealt[:count], dealt[count:]


def _sqnr(calibration: Calibration, test: list[np.ndarray]) -> float:
    model = calibration.prepared.model
    scales = {name: item.scale for name, item in calibration.scales.items()}
    int8 = quantize_model(model, scales, _EVERYTHING).proto()
    result = evaluate(model.proto, test, EvaluationOptions(options=calibration.options, quantized=int8))
    return statistics.fmean(output.sqnr for output in result.outputs)


if __name__ == "__main__":
    main()
