"""TensorRT 11 reads no calibration cache: the scales go into the model as Q/DQ nodes. Then: what does INT8 cost?"""

import sys
import tempfile
from pathlib import Path

from onnx_trtcal import EvaluationOptions, Options, evaluate, quantize

MODELS = Path(__file__).resolve().parents[2] / "models"


def main(folder: Path) -> None:
    model = MODELS / "digits_resnet.onnx"
    options = Options(method="mse")
    quantization = quantize(model, MODELS / "digits_calib", options)
    quantization.save(folder / "digits_resnet.int8.onnx")
    done = sum(not layer.reason for layer in quantization.layers)
    print(f"{done} of {len(quantization.layers)} layers are quantized")

    # FP32 and simulated INT8 run side by side, on samples that were not calibrated on.
    evaluation = evaluate(
        model,
        MODELS / "digits_test",
        EvaluationOptions(
            quantized=folder / "digits_resnet.int8.onnx", labels=MODELS / "digits_test" / "labels.csv"
        ),
    )
    for output in evaluation.outputs:
        print(f"output {output.name}: {output.sqnr:.1f} dB signal to quantization noise")
    for name, merit in evaluation.scores.items():
        print(f"{name}: {merit.fp32:.2%} in FP32, {merit.int8:.2%} in INT8")
    for tensor in evaluation.grows(3):
        print(f"{tensor.lost:.1f} dB are lost at {tensor.name} ({tensor.op})")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
