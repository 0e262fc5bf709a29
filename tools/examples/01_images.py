"""A folder of images becomes the calibration cache that `trtexec --int8 --calib=` reads."""

import sys
import tempfile
from pathlib import Path

from onnx_trtcal import Options, Preprocess, calibrate, read_cache

MODELS = Path(__file__).resolve().parents[2] / "models"


def main(folder: Path) -> None:
    # What is done to an image has to be what was done in training. The digits models take gray pixels in 0..1,
    # which is the default for a model with one channel. An ImageNet model would get Preprocess(preset="imagenet").
    options = Options(preprocess=Preprocess(color="gray", scale=1 / 255), trt_version="10.3")
    calibration = calibrate(MODELS / "digits_resnet.onnx", MODELS / "digits_calib", options)

    # Every float tensor has a scale: also those that disappear when BatchNorm is folded and ReLU is fused.
    for name, scale in list(calibration.scales.items())[:3]:
        print(f"{name}: largest magnitude kept {scale.threshold:.4g}, scale {scale.scale:.4g}")

    # The sidecar beside the cache says where every scale came from.
    cache, sidecar = calibration.write_cache(folder / "digits_resnet.calibration.cache")
    written = read_cache(cache)
    print(f"{written.header}: {len(written.scales)} tensors, explained in {sidecar.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
