"""Statistics of two shards of a data set, collected apart, add up to what one run would have counted: byte for byte."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from onnx_trtcal import Options, calibrate, collect, merge, save_statistics, solve

MODELS = Path(__file__).resolve().parents[2] / "models"


def main(folder: Path) -> None:
    model = MODELS / "digits_mlp.onnx"
    samples = np.load(MODELS / "digits_calib.npy")
    for shard in ("1/2", "2/2"):
        # On the command line: onnx-trtcal collect MODEL DATA --shard 1/2 -o 1.stats, on as many machines as there are.
        save_statistics(folder / f"{shard[0]}.stats", collect(model, samples, shard=shard))

    # On the command line: onnx-trtcal merge 1.stats 2.stats -o all.stats
    merged = merge([folder / "1.stats", folder / "2.stats"])
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
