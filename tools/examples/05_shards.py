"""Statistics of two shards of a data set, collected apart, add up to what one run would have counted: byte for byte.

This one uses the command line, as the shards would on two machines.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

MODELS = Path(__file__).resolve().parents[2] / "models"


def onnx_trtcal(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "onnx_trtcal", *map(str, arguments)], check=True)


def main(folder: Path) -> None:
    model = MODELS / "digits_mlp.onnx"
    samples = np.load(MODELS / "digits_calib.npy")
    for shard, part in {"a": samples[:50], "b": samples[50:], "all": samples}.items():
        np.save(folder / f"{shard}.npy", part)
        flags = ["--save-stats", folder / f"{shard}.stats", "-o", folder / f"{shard}.cache", "--quiet"]
        onnx_trtcal(model, folder / f"{shard}.npy", *flags)

    onnx_trtcal("merge", folder / "a.stats", folder / "b.stats", "-o", folder / "merged.stats")

    # Every decision after that is made from the statistics: no data is read and the model is not run.
    for method in ("entropy", "percentile:99.99"):
        output = folder / f"merged.{method.partition(':')[0]}.cache"
        onnx_trtcal("solve", folder / "merged.stats", model, "--method", method, "-o", output, "--quiet")
    same = (folder / "merged.entropy.cache").read_bytes() == (folder / "all.cache").read_bytes()
    print(f"the cache of the merged shards {'equals' if same else 'differs from'} that of one run")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
