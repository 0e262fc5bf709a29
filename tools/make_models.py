"""Trains the two models of models/ on scikit-learn's handwritten digits and writes them with their data.

    python -m pip install jax scikit-learn
    python tools/make_models.py

Everything is seeded: the same versions of the packages on the same processor give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
from digits.data import Digits, split_digits
from digits.networks import digits_mlp, digits_resnet
from digits.training import train
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_ACCURACY = 0.97


def main() -> None:
    parser = argparse.ArgumentParser(description="train the bundled models and write them with their data")
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parents[1] / "models")
    output = parser.parse_args().output
    training, calibration, test = split_digits()
    write_data(output, calibration, test)

    os.environ["PJRT_NPROC"] = "1"  # JAX's threads; with another number of them, sums round differently
    for model in (digits_resnet(), digits_mlp()):
        train(model, as_input(model, training), training.labels)
        onnx.checker.check_model(model, full_check=True)
        reached = accuracy(model, test)
        if reached < LEAST_ACCURACY:
            raise SystemExit(
                f"{model.graph.name}: {reached:.2%} of the test digits, wanted {LEAST_ACCURACY:.0%}"
            )
        path = output / f"{model.graph.name}.onnx"
        path.write_bytes(model.SerializeToString(deterministic=True))
        print(f"{path}: {path.stat().st_size:,} bytes, {reached:.2%} of {len(test.rows)} test digits right")


def as_input(model: onnx.ModelProto, digits: Digits) -> np.ndarray:
    """The digits as float32 of the shape that the model's input has after the batch axis."""
    shape = [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    return digits.features().reshape(-1, *shape)


def accuracy(model: onnx.ModelProto, digits: Digits) -> float:
    """Share of the digits whose largest logit, as ONNX Runtime computes it, is the right one."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"input": as_input(model, digits)})
    return float((logits.argmax(1) == digits.labels).mean())


def write_data(output: Path, calibration: Digits, test: Digits) -> None:
    """Each set twice: as PNG images for the CNN, as one stack of 64 features for the MLP."""
    for name, digits in (("digits_calib", calibration), ("digits_test", test)):
        write_images(output / name, digits)
        np.save(output / f"{name}.npy", digits.features())
    names = [f"{stem}.png" for stem in test.stems()]
    write_labels(output / "digits_test" / "labels.csv", "file", names, test.labels)
    write_labels(output / "digits_test_labels.csv", "index", range(len(names)), test.labels)


def write_images(folder: Path, digits: Digits) -> None:
    """One grey 8x8 PNG per digit; images of an earlier run are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    for stem, pixels in zip(digits.stems(), digits.pixels, strict=True):
        Image.fromarray(pixels).save(folder / f"{stem}.png", optimize=True)


def write_labels(path: Path, column: str, keys: Sequence[str | int], labels: np.ndarray) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([column, "label"])
        writer.writerows(zip(keys, labels.tolist(), strict=True))


if __name__ == "__main__":
    main()
