"""One small model and its data, for tests of whole runs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import numpy as np

from helpers import toys
from onnx_trtcal.options import Options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import onnx

__all__ = ["CPU", "RecordingListener", "network", "samples", "two_branches", "write_folder"]

CPU = Options(provider="cpu", threads=1)


def network(batch: int | str = "batch", *, size: int = 4) -> onnx.ModelProto:
    """x -> Conv -> BatchNorm -> Relu -> MaxPool -> Softmax, each op computed image by image.

    So the activations of an image are the same in every batch, to the last bit.
    """
    weight = np.random.default_rng(1).normal(size=(3, 2, 3, 3)).astype(np.float32)
    bn = {
        name: np.full(3, value, np.float32) for name, value in {"g": 1.5, "b": 0.25, "m": 0.5, "v": 2}.items()
    }
    return toys.model(
        [
            toys.node("Conv", "x w", "conv", pads=[1, 1, 1, 1]),
            toys.node("BatchNormalization", "conv g b m v", "bn"),
            toys.node("Relu", "bn", "relu"),
            toys.node("MaxPool", "relu", "pool", kernel_shape=[2, 2]),
            toys.node("Softmax", "pool", "y", axis=1),
        ],
        {"x": [batch, 2, size, size]},
        {"y": [batch, 3, size - 1, size - 1]},
        {"w": weight, **bn},
    )


def two_branches() -> onnx.ModelProto:
    """x -> Relu, and x -> Sigmoid, joined by a Concat that an Exp reads."""
    return toys.model(
        [
            toys.node("Relu", "x", "a"),
            toys.node("Sigmoid", "x", "b"),
            toys.node("Concat", "a b", "c", axis=1),
            toys.node("Exp", "c", "y"),
        ],
        {"x": ["n", 4]},
        {"y": ["n", 8]},
    )


def samples(count: int, *, size: int = 4, seed: int = 0) -> list[np.ndarray]:
    """Images whose largest values grow and shrink, so that ranges must be widened on the way."""
    random = np.random.default_rng(seed)
    return [
        (random.normal(size=(2, size, size)) * random.choice([0.1, 1, 7])).astype(np.float32)
        for _ in range(count)
    ]


def write_folder(folder: Path, arrays: Sequence[np.ndarray]) -> Path:
    """One .npy file per sample."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, array in enumerate(arrays):
        np.save(folder / f"s{number}.npy", array)
    return folder


class RecordingListener:
    """A listener that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []
        self.counts: list[int] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)

    def progress(self, total: int | None, work: str = "") -> AbstractContextManager[object]:
        return nullcontext(self.counts.append)
