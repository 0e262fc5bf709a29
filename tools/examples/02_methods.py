"""A NumPy stack is run once; every threshold method is then compared on the same histograms."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from onnx_trtcal import Options, calibrate, read_cache

MODELS = Path(__file__).resolve().parents[2] / "models"


def main(folder: Path) -> None:
    # One axis more than a sample has: a stack of samples along axis 0. Any iterable of arrays, or of
    # {input name: array}, is as good.
    stack = np.load(MODELS / "digits_calib.npy")
    print(f"{len(stack)} samples of shape {stack.shape[1:]}, {stack.dtype}")

    # Each method gives one threshold per tensor, the largest magnitude that INT8 will represent.
    thresholds = {}
    for method in ("entropy", "mse", "percentile:99.9", "minmax"):
        calibration = calibrate(MODELS / "digits_mlp.onnx", stack, Options(method=method))
        calibration.write_cache(folder / f"{method.replace(':', '-')}.cache")
        thresholds[method] = calibration.thresholds

    print(f"{'tensor':30}" + "".join(f"{method:>17}" for method in thresholds))
    for tensor in thresholds["minmax"]:
        print(f"{tensor:30}" + "".join(f"{of[tensor]:17.4f}" for of in thresholds.values()))

    # A method for all tensors and another for some, by op type or by a glob over tensor names.
    mixed = Options(method="entropy", method_for=("Gemm=mse", "input=minmax"))
    calibrate(MODELS / "digits_mlp.onnx", stack, mixed).write_cache(folder / "mixed.cache")
    print(f"mixed: {len(read_cache(folder / 'mixed.cache').scales)} tensors")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
