"""Outputs of detection heads for an input of 32x32, with detections that are known; models that give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from helpers import toys

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

SIZE = (32, 32)
CELLS = 21  # 4x4 cells of stride 8, 2x2 of 16 and one of 32


def constant_model(outputs: Mapping[str, np.ndarray], size: tuple[int, int] = SIZE) -> onnx.ModelProto:
    """A model of one image that gives these outputs, whatever the image is."""
    nodes = [
        toys.node("ReduceSum", "x", "sum", keepdims=0),
        toys.node("Mul", "sum zero", "nothing"),
        *(toys.node("Add", f"{name}_values nothing", name) for name in outputs),
    ]
    constants = {f"{name}_values": np.asarray(values, np.float32) for name, values in outputs.items()}
    constants["zero"] = np.float32(0)
    shapes = {name: np.shape(values) for name, values in outputs.items()}
    return toys.model(nodes, {"x": (1, 3, *size)}, shapes, constants)


def detector() -> onnx.ModelProto:
    """YOLOX without its grid, 1x21x7, of three convolutions, one for each stride."""
    random = np.random.default_rng(9)
    nodes, constants = [], {"flat": np.array([1, 7, -1])}
    for stride in (8, 16, 32):
        weights = random.normal(0, 1.5 / stride, (7, 3, stride, stride)).astype(np.float32)
        constants |= {f"w{stride}": weights, f"b{stride}": np.array([0, 0, 0, 0, 1, 0, 0], np.float32)}
        nodes += [
            toys.node(
                "Conv", f"x w{stride} b{stride}", f"c{stride}", strides=[stride, stride], name=f"s{stride}"
            ),
            toys.node("Reshape", f"c{stride} flat", f"f{stride}"),
        ]
    nodes += [
        toys.node("Concat", "f8 f16 f32", "cells", axis=2),
        toys.node("Transpose", "cells", "y", perm=[0, 2, 1]),
    ]
    return toys.model(nodes, {"x": (1, 3, *SIZE)}, {"y": (1, CELLS, 7)}, constants)


def yolov8(*found: tuple[int, float, float, float, float, int, float], classes: int = 2) -> np.ndarray:
    """1x(4+C)x21: rows of pixel boxes and scores; each found is row, cx, cy, w, h, class, score."""
    made = np.full((1, 4 + classes, CELLS), 0.01, np.float32)
    made[0, :4] = cell_boxes().T
    for row, cx, cy, width, height, label, score in found:
        made[0, :4, row] = cx, cy, width, height
        made[0, 4 + label, row] = score
    return made


def yolox(*found: tuple[int, float, float, float, float, float, int, float], classes: int = 2) -> np.ndarray:
    """1x21x(5+C), grid and stride not applied; each found is row, dx, dy, log w, log h, objectness, class, score."""
    made = np.full((1, CELLS, 5 + classes), 0.01, np.float32)
    made[0, :, :4] = np.random.default_rng(3).normal(0, 0.3, (CELLS, 4))
    for row, dx, dy, width, height, objectness, label, score in found:
        made[0, row, :5] = dx, dy, width, height, objectness
        made[0, row, 5 + label] = score
    return made


def cell_boxes() -> np.ndarray:
    """21x4: a box around the centre of each cell, as of the size of the cell."""
    rows = [
        ((x + 0.5) * stride, (y + 0.5) * stride, stride, stride)
        for stride in (8, 16, 32)
        for y in range(32 // stride)
        for x in range(32 // stride)
    ]
    return np.array(rows, np.float32)
