"""Checks and measures the CUDA path on a machine with an NVIDIA GPU.

    python tools/gpu_check.py [--batch 8] [--rounds 30]

Counts adversarial arrays with every layout of the counting kernel and compares them, bin for bin, with the
CPU; calibrates a model of ResNet-50's shape on CUDA and on the CPU; measures calibration against the plain
forward pass, and which layout is fastest. Exit status: 0 all is well, 1 something is wrong, 2 there is no GPU
to check.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import sys

import numpy as np
from make_resnet50 import make_resnet50

from onnx_trtcal.options import Options
from onnx_trtcal.pipeline import calibrate
from onnx_trtcal.run.provider import choose_provider, find_cuda_fault

AIM = 0.5  # samples per second against the plain forward pass
# The GPU computes in TF32 and in another order, so activations agree to three digits or so; a threshold may
# besides jump to the next of 1921 candidates, or to a minimum as deep.
AMAX_TOLERANCE = 0.02
THRESHOLD_TOLERANCE = 0.05
SHARE = 0.95  # of the thresholds that must be within it


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=8, help="samples per run")
    parser.add_argument("--rounds", type=int, default=30, help="timed runs of each")
    arguments = parser.parse_args()
    print_versions()
    if fault := find_cuda_fault():
        print(f"no GPU to check: {fault}")
        return 2
    from onnx_trtcal.stats.cuda import open_device

    device, words = open_device()
    print(words)
    if device is None:
        return 1
    failures = check_counts() + check_model()
    failures += check_speed(arguments.batch, arguments.rounds)
    for failure in failures:
        print(f"FAILED: {failure}")
    print("all is well" if not failures else f"{len(failures)} checks failed")
    return 1 if failures else 0


def print_versions() -> None:
    print(f"python {platform.python_version()} on {platform.platform()}")
    for name in ("numpy", "onnx", "onnxruntime-gpu", "numba", "numba-cuda", "cuda-bindings"):
        try:
            print(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            print(f"{name} is not installed")


def check_counts() -> list[str]:
    from gpu.counting import find_mismatches

    from onnx_trtcal.stats.cuda.gpu import Gpu
    from onnx_trtcal.stats.cuda.layout import LAYOUTS

    failures = []
    for name, layout in LAYOUTS.items():
        wrong = find_mismatches(Gpu(layout), 300_000)
        print(f"layout {name}: {len(wrong)} histograms differ from the CPU's")
        failures += [f"layout {name}: {case}" for case in wrong]
    return failures


def check_model() -> list[str]:
    """A calibration on CUDA against one on the CPU."""
    random = np.random.default_rng(1)
    data = [random.standard_normal((3, 224, 224)).astype(np.float32) for _ in range(16)]
    model = make_resnet50()
    cuda, cpu = (calibrate(model, data, Options(provider=provider)) for provider in ("cuda", "cpu"))
    failures = []
    if list(cuda.scales) != list(cpu.scales):
        failures.append("CUDA and CPU give scales for different tensors")
    found, expected = cuda.collection.histograms, cpu.collection.histograms
    amaxes = [abs(found[name].amax / expected[name].amax - 1) for name in expected if expected[name].amax]
    shifts = [
        abs(cuda.thresholds[name] / cpu.thresholds[name] - 1) for name in expected if expected[name].amax
    ]
    near = float(np.mean(np.array(shifts) <= THRESHOLD_TOLERANCE))
    print(
        f"CUDA against CPU over {len(expected)} tensors: amax off by {max(amaxes):.2%} at most; "
        f"{near:.0%} of the thresholds within {THRESHOLD_TOLERANCE:.0%}, {max(shifts):.2%} off at most"
    )
    if max(amaxes) > AMAX_TOLERANCE:
        failures.append(f"the largest magnitude of a tensor is off by {max(amaxes):.2%}")
    if near < SHARE:
        failures.append(f"only {near:.0%} of the thresholds are near the CPU's")
    totals = {name: histogram.total for name, histogram in expected.items()}
    if {name: histogram.total for name, histogram in found.items()} != totals:
        failures.append("CUDA and CPU count different numbers of values")
    return failures


def check_speed(batch: int, rounds: int) -> list[str]:
    from gpu.speed import measure_speed

    from onnx_trtcal.stats.cuda.gpu import Gpu
    from onnx_trtcal.stats.cuda.layout import DEFAULT, LAYOUTS

    model = make_resnet50()
    image = np.random.default_rng(2).standard_normal((batch, 3, 224, 224)).astype(np.float32)
    provider = choose_provider("cuda")
    speeds = {}
    for name, layout in LAYOUTS.items():
        speeds[name] = measure_speed(model, {"input": image}, provider, "cuda", Gpu(layout), rounds)
    print(
        "\n| layout | plain, samples/s | calibration, samples/s | ratio | counting, ns/value | memory, MiB |"
    )
    print("|---|---|---|---|---|---|")
    failures = []
    for name, speed in speeds.items():
        ratio = speed.plain / speed.calibrated
        print(
            f"| {name} | {batch / speed.plain:.0f} | {batch / speed.calibrated:.0f} | {ratio:.2f} "
            f"| {speed.kernel:.4f} | {speed.memory / 2**20:.0f} |"
        )
        if not speed.equal:
            failures.append(f"layout {name}: the model's histograms differ from the CPU's")
    best = min(speeds, key=lambda name: speeds[name].calibrated)
    print(f"\nfastest layout: {best}; the default is {DEFAULT}" + (", change it" if best != DEFAULT else ""))
    ratio = speeds[DEFAULT].plain / speeds[DEFAULT].calibrated
    if ratio < AIM:
        failures.append(f"calibration runs at {ratio:.2f} of the plain forward pass, the aim is {AIM}")
    return failures


if __name__ == "__main__":
    sys.exit(main())
