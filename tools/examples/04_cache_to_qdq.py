"""A calibration cache that is there already, also one that TensorRT wrote, becomes a Q/DQ model: no data needed."""

import sys
import tempfile
from pathlib import Path

from onnx_trtcal import calibrate, check, quantize, read_cache, write_cache

MODELS = Path(__file__).resolve().parents[2] / "models"


def main(folder: Path) -> None:
    model = MODELS / "digits_mlp.onnx"
    path = folder / "calibration.cache"
    # Stands for the cache of an older build: made here because the repository has none of TensorRT's own.
    write_cache(path, calibrate(model, MODELS / "digits_calib.npy").cache())

    # Does the cache fit the model? A tensor without an entry would cost TensorRT the INT8 kernels around it.
    cache = read_cache(path)
    coverage = check(model, cache)
    print(f"{cache.header}: {len(cache.scales)} entries, {len(coverage.gaps)} tensors without one")

    quantize(model, path).save(folder / "digits_mlp.int8.onnx")
    print(
        f"wrote {(folder / 'digits_mlp.int8.onnx').stat().st_size:,} bytes; next: trtexec --onnx=…int8.onnx"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
