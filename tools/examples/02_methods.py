"""A NumPy stack is run once; every threshold method is then compared on the same histograms."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from onnx_trtcal import Options, calibrate, compare, solve

MODELS = Path(__file__).resolve().parents[2] / "models"


def main(folder: Path) -> None:
    model = MODELS / "digits_mlp.onnx"
    # One axis more than a sample has: a stack of samples along axis 0. Any iterable of arrays, or of
    # {input name: array}, is as good.
    stack = np.load(MODELS / "digits_calib.npy")
    print(f"{len(stack)} samples of shape {stack.shape[1:]}, {stack.dtype}")
    statistics = calibrate(model, stack).collection

    # Each method gives one threshold per tensor, the largest magnitude that INT8 will represent. What the threshold
    # does to the tensor is given as signal to quantization noise.
    for row in compare(statistics, model, ["entropy", "mse", "percentile:99.9", "minmax"]):
        print(f"{row.tensor}: {row.best} is best, {row.spread:.1f} dB above the worst")
        for method, threshold in row.thresholds.items():
            print(f"  {method:16} keeps {threshold:8.4f}, {row.scores[method].sqnr:5.1f} dB")

    # Scales by another method: no data is read and the model is not run. One method for all tensors, others for some,
    # chosen by op type or by a glob over tensor names.
    mixed = Options(method="entropy", method_for=("Gemm=mse", "input=minmax"))
    for name, options in {"minmax": Options(method="minmax"), "mixed": mixed}.items():
        solve(statistics, model, options).write_cache(folder / f"{name}.cache")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
