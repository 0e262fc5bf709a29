"""Statistics of two shards of a data set, collected apart, add up to what one run would have counted: byte for byte."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from onnx_trtcal import Options, calibrate, merge, save_statistics, solve

MODELS = Path(__file__).resolve().parents[2] / "models"


def main(folder: Path) -> None:
    model = MODELS / "digits_mlp.onnx"
    samples = np.load(MODELS / "digits_calib.npy")
    for shard, part in {"a": samples[:50], "b": samples[50:]}.items():
        # On the command line: onnx-trtcal MODEL DATA --save-stats a.stats, on as many machines as there are.
        save_statistics(folder / f"{shard}.stats", calibrate(model, part).collection)

    # On the command line: onnx-trtcal merge a.stats b.stats -o all.stats
    merged = merge([folder / "a.stats", folder / "b.stats"])
    save_statistics(folder / "all.stats", merged)
    print(f"{len(merged.samples)} samples counted")

    # On the command line: onnx-trtcal solve all.stats MODEL --method mse
    for method in ("entropy", "mse"):
        solve(folder / "all.stats", model, Options(method=method)).write_cache(folder / f"{method}.cache")

    calibrate(model, samples).write_cache(folder / "one_run.cache")
    same = (folder / "entropy.cache").read_bytes() == (folder / "one_run.cache").read_bytes()
    print(f"the cache of the merged shards {'equals' if same else 'differs from'} that of one run")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
