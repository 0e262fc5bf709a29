"""Detection heads and classifiers as exporters write them, small: what their outputs hold is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from helpers.toys import model, node

if TYPE_CHECKING:
    import onnx

__all__ = ["classifier", "picked", "ssd", "yolo_anchors", "yolov8", "yolox"]

_SIZES = {"p": 8, "q": 4}  # the levels of the pyramid


def _weights(seed: int, **channels: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: random.normal(size=(count, 3, 1, 1)).astype(np.float32) for name, count in channels.items()}


def _pyramid() -> list[onnx.NodeProto]:
    return [
        node("Relu", "x", "p"),
        node("MaxPool", "p", "q", kernel_shape=[2, 2], strides=[2, 2]),
    ]


def yolox(batch: int | str = 1) -> onnx.ModelProto:
    """1 x cells x (4 + 1 + 6): box, objectness and classes joined per level, levels joined and transposed after it."""
    nodes, weights = _pyramid(), {}
    for level in _SIZES:
        parts = {f"w{level}box": 4, f"w{level}obj": 1, f"w{level}cls": 6}
        weights.update(_weights(len(weights), **parts))
        nodes += [
            node("Conv", f"{level} w{level}box", f"{level}box"),
            node("Conv", f"{level} w{level}obj", f"{level}obj0"),
            node("Conv", f"{level} w{level}cls", f"{level}cls0"),
            node("Sigmoid", f"{level}obj0", f"{level}obj"),
            node("Sigmoid", f"{level}cls0", f"{level}cls"),
            node("Concat", f"{level}box {level}obj {level}cls", f"{level}all", axis=1),
            node("Reshape", f"{level}all flat", f"{level}flat"),
        ]
    nodes += [
        node("Concat", "pflat qflat", "cells", axis=2),
        node("Transpose", "cells", "y", perm=[0, 2, 1]),
    ]
    flat = np.array([0, 11, -1])
    return model(nodes, {"x": (batch, 3, 8, 8)}, {"y": (batch, 80, 11)}, {**weights, "flat": flat})


def yolov8(*, computed_shapes: bool = False, behind: str = "") -> onnx.ModelProto:
    """1 x (4 + 6) x cells: corners from distances to anchors, made centre and size, in pixels; scores below them.

    Args:
        computed_shapes: reshape to targets that are computed from the shape of the input, as dynamic exports do.
        behind: an op to apply to the whole output.
    """
    nodes, constants = _pyramid(), _weights(0, wpbox=4, wpcls=6, wqbox=4, wqcls=6)
    for level in _SIZES:
        nodes += [
            node("Conv", f"{level} w{level}box", f"{level}box"),
            node("Conv", f"{level} w{level}cls", f"{level}cls"),
            node("Concat", f"{level}box {level}cls", f"{level}all", axis=1),
        ]
        if computed_shapes:
            nodes += [
                node("Shape", f"{level}all", f"{level}shape"),
                node("Gather", f"{level}shape zero", f"{level}n", axis=0),
                node("Unsqueeze", f"{level}n axis0", f"{level}n1"),
                node("Concat", f"{level}n1 rest", f"{level}target", axis=0),
            ]
        target = f"{level}target" if computed_shapes else "flat"
        nodes.append(node("Reshape", f"{level}all {target}", f"{level}flat"))
    nodes += [
        node("Concat", "pflat qflat", "cells", axis=2),
        node("Split", "cells sizes", "distances logits", axis=1),
        node("Split", "distances halves", "lt rb", axis=1),
        node("Sub", "anchors lt", "low"),
        node("Add", "anchors rb", "high"),
        node("Add", "low high", "sum"),
        node("Mul", "sum half", "centre"),
        node("Sub", "high low", "size"),
        node("Concat", "centre size", "box", axis=1),
        node("Mul", "box strides", "pixels"),
        node("Sigmoid", "logits", "scores"),
        node("Concat", "pixels scores", "joined" if behind else "y", axis=1),
    ]
    if behind:
        nodes.append(node(behind, "joined", "y"))
    constants |= {
        "flat": np.array([0, 10, -1]),
        "rest": np.array([10, -1]),
        "zero": np.array(0),
        "axis0": np.array([0]),
        "sizes": np.array([4, 6]),
        "halves": np.array([2, 2]),
        "anchors": np.arange(160, dtype=np.float32).reshape(1, 2, 80),
        "half": np.float32(0.5),
        "strides": np.full((1, 80), 8, np.float32),
    }
    batch: int | str = "N" if computed_shapes else 1
    return model(nodes, {"x": (batch, 3, 8, 8)}, {"y": (batch, 10, 80)}, constants)


def yolo_anchors() -> onnx.ModelProto:
    """1 x (3 anchors x cells) x (2 + 2 + 7), YOLOv5: one layer, whose channels are picked apart, decoded and joined."""
    nodes = [
        node("Conv", "x w", "raw"),
        node("Reshape", "raw apart", "anchored"),
        node("Transpose", "anchored", "last", perm=[0, 1, 3, 4, 2]),
        node("Sigmoid", "last", "sig"),
        node("Split", "sig sizes", "xy0 wh0 conf", axis=4),
        node("Mul", "xy0 stride", "xy"),
        node("Mul", "wh0 wh0", "wh1"),
        node("Mul", "wh1 stride", "wh"),
        node("Concat", "xy wh conf", "joined", axis=4),
        node("Reshape", "joined flat", "y"),
    ]
    constants = {
        **_weights(0, w=33),
        "apart": np.array([1, 3, 11, 8, 8]),
        "sizes": np.array([2, 2, 7]),
        "stride": np.float32(8),
        "flat": np.array([1, -1, 11]),
    }
    return model(nodes, {"x": (1, 3, 8, 8)}, {"y": (1, 192, 11)}, constants)


def ssd() -> onnx.ModelProto:
    """Two outputs of 1 x priors x 2 scores and 1 x priors x 4 corners, made of centres and sizes."""
    nodes, constants = _pyramid(), _weights(0, wpbox=8, wpcls=4, wqbox=8, wqcls=4)
    for level in _SIZES:
        for what in ("box", "cls"):
            name = f"{level}{what}"
            nodes += [
                node("Conv", f"{level} w{name}", f"{name}0"),
                node("Transpose", f"{name}0", f"{name}1", perm=[0, 2, 3, 1]),
                node("Reshape", f"{name}1 {what}flat", name),
            ]
    nodes += [
        node("Concat", "pbox qbox", "boxes0", axis=1),
        node("Concat", "pcls qcls", "logits", axis=1),
        node("Softmax", "logits", "scores", axis=2),
        *(
            node("Slice", f"boxes0 {start} {end} two", f"{name}{copy}")
            for name, start, end in (("centre", "zero", "two"), ("size", "two", "four"))
            for copy in "ab"
        ),
        node("Sub", "centrea sizea", "low"),
        node("Add", "centreb sizeb", "high"),
        node("Concat", "low high", "boxes", axis=2),
    ]
    constants |= {"boxflat": np.array([1, -1, 4]), "clsflat": np.array([1, -1, 2])}
    constants |= {name: np.array([value]) for name, value in {"zero": 0, "two": 2, "four": 4}.items()}
    outputs = {"scores": (1, 160, 2), "boxes": (1, 160, 4)}
    return model(nodes, {"x": (1, 3, 8, 8)}, outputs, constants)


def classifier(classes: int = 12, end: str = "Softmax") -> onnx.ModelProto:
    """N x classes from one Gemm, with an op at the end."""
    weight = np.random.default_rng(0).normal(size=(3, classes)).astype(np.float32)
    nodes = [
        node("GlobalAveragePool", "x", "pooled"),
        node("Flatten", "pooled", "flat"),
        node("Gemm", "flat w", "logits" if end else "y"),
    ]
    nodes += [node(end, "logits", "y")] if end else []
    return model(nodes, {"x": ("N", 3, 8, 8)}, {"y": ("N", classes)}, {"w": weight})


def picked(rows: int = 6, *, apart: bool = False) -> onnx.ModelProto:
    """The best rows of a head: box, score and class number side by side, or as three outputs (`apart`)."""
    nodes = [
        node("Conv", "x wbox", "box0"),
        node("Conv", "x wcls", "cls0"),
        node("Reshape", "box0 boxflat", "box1"),
        node("Reshape", "cls0 clsflat", "cls1"),
        node("Transpose", "box1", "box", perm=[0, 2, 1]),
        node("Sigmoid", "cls1", "cls"),
        node("ReduceMax", "cls", "best", axes=[1], keepdims=0),
        node("ArgMax", "cls", "class", axis=1, keepdims=0),
        node("TopK", "best k", "scores at", axis=1),
        node("GatherElements", "class at", "numbers", axis=1),
        node("Cast", "numbers", "classes", to=1),
        node("Unsqueeze", "at last", "at1"),
        node("Expand", "at1 wide", "at4"),
        node("GatherElements", "box at4", "boxes", axis=1),
        node("Unsqueeze", "scores last", "scores1"),
        node("Unsqueeze", "classes last", "classes1"),
        node("Concat", "boxes scores1 classes1", "y", axis=2),
    ]
    constants = _weights(3, wbox=4, wcls=5) | {
        "boxflat": np.array([1, 4, 64]),
        "clsflat": np.array([1, 5, 64]),
        "k": np.array([rows]),
        "last": np.array([2]),
        "wide": np.array([1, rows, 4]),
    }
    outputs = {"y": (1, rows, 6)}
    if apart:
        nodes, outputs = nodes[:-3], {"boxes": (1, rows, 4), "scores": (1, rows), "classes": (1, rows)}
    return model(nodes, {"x": (1, 3, 8, 8)}, outputs, constants)
