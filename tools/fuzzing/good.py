"""Good files of every kind, small, made afresh: what damaged inputs are made from, and what they are used with."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["branching_model", "make_good", "model"]


def model() -> onnx.ModelProto:
    """X -> Conv -> BatchNormalization -> Relu -> MaxPool -> Flatten -> Gemm -> y, for images of 8 x 8."""
    rng = np.random.default_rng(1)
    weights = {
        "w": rng.normal(size=(4, 3, 3, 3)),
        "g": np.ones(4),
        "b": np.zeros(4),
        "m": np.zeros(4),
        "v": np.ones(4),
        "fc": rng.normal(size=(64, 5)),
        "fb": np.zeros(5),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", list("cgbmv"), ["n"], "bn"),
        helper.make_node("Relu", ["n"], ["r"], "relu"),
        helper.make_node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "fc", "fb"], ["y"], "gemm"),
    ]
    return _model(nodes, [["batch", 3, 8, 8], ["batch", 5]], weights)


def branching_model() -> onnx.ModelProto:
    """X -> If -> y with a subgraph either way, and a loop behind it."""
    branches = {}
    for name, op in (("then_branch", "Relu"), ("else_branch", "Neg")):
        inner = helper.make_node(op, ["x"], [f"{name}_y"])
        branches[name] = helper.make_graph([inner], name, [], [_value(f"{name}_y", ["batch", 4])])
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["more"]), helper.make_node("Add", ["v", "v"], ["twice"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            _value("v", ["batch", 4]),
        ],
        [helper.make_tensor_value_info("more", TensorProto.BOOL, []), _value("twice", ["batch", 4])],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Cast", ["top"], ["yes"], to=TensorProto.BOOL),
        helper.make_node("If", ["yes"], ["a"], **branches),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("Loop", ["count", "", "b"], ["y"], body=body),
    ]
    made = _model(nodes, [["batch", 4], ["batch", 4]], {"w": np.eye(4)})
    made.graph.initializer.append(numpy_helper.from_array(np.array(2, np.int64), "count"))
    return made


def make_good(folder: Path) -> None:
    """Writes model, data, statistics, cache with sidecar, Q/DQ model, and files of all other kinds."""
    import onnx_trtcal as api

    folder.mkdir(parents=True)
    onnx.save(model(), folder / "model.onnx")
    onnx.save(branching_model(), folder / "branches.onnx")
    data = np.random.default_rng(2).normal(size=(4, 3, 8, 8)).astype(np.float32)
    np.save(folder / "data.npy", data)
    np.savez(folder / "data.npz", x=data)
    saving = api.Options(
        provider="cpu",
        threads=1,
        check_samples=0,
        method="auto",
        checkpoint_every=2,
        batch_size=1,
        max_samples=2,
    )
    api.calibrate(
        str(folder / "model.onnx"), str(folder / "data.npy"), saving, checkpoint=folder / "run.checkpoint"
    )
    options = api.Options(provider="cpu", threads=1, check_samples=0)
    done = api.calibrate(str(folder / "model.onnx"), str(folder / "data.npy"), options)
    done.write_cache(folder / "good.cache")
    api.save_statistics(folder / "good.stats", done.collection)
    api.quantize(str(folder / "model.onnx"), str(folder / "good.cache")).save(folder / "qdq.onnx")
    _write_data(folder, data)
    _write_texts(folder)


def _write_data(folder: Path, data: np.ndarray) -> None:
    from PIL import Image

    pixels = (np.clip(data[0].transpose(1, 2, 0), 0, 1) * 255).astype(np.uint8)
    for name in ("png", "jpg", "bmp", "gif", "tiff", "webp", "ppm"):
        Image.fromarray(pixels).save(folder / f"image.{name}")
    Image.fromarray(pixels[..., 0]).save(folder / "mask.png")
    Image.fromarray(pixels).quantize(4).save(folder / "palette.png")
    (folder / "data.pb").write_bytes(numpy_helper.from_array(data, "x").SerializeToString())
    rows = [{"x": each.tolist()} for each in data]
    (folder / "data.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    _write_packages(folder, data)


def _write_packages(folder: Path, data: np.ndarray) -> None:
    """The formats whose writers may not be installed."""
    try:
        import torch

        rows = [{"x": torch.from_numpy(each)} for each in data]
        torch.save(rows, folder / "data.pt")
        torch.save(rows, folder / "old.pt", _use_new_zipfile_serialization=False)
    except ImportError:
        pass
    try:
        from safetensors.numpy import save_file

        save_file({"x": data}, folder / "data.safetensors")
    except ImportError:
        pass
    try:
        import pyarrow as pa
        from pyarrow import parquet

        buffer = io.BytesIO()
        parquet.write_table(pa.table({"x": data.tolist()}), buffer)
        (folder / "data.parquet").write_bytes(buffer.getvalue())
    except ImportError:
        pass


def _write_texts(folder: Path) -> None:
    boxes = [
        {"id": n, "image_id": n, "category_id": n, "bbox": [1, 1, 3, 3], "area": 9, "iscrowd": 0}
        for n in (1, 2)
    ]
    coco = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 8, "height": 8} for n in (1, 2)],
        "annotations": boxes,
        "categories": [{"id": n, "name": f"class {n}"} for n in (1, 2)],
    }
    texts = {
        "labels.csv": "file,label\na.png,1\nb.png,3\nc/d.png,0\n",
        "labels.txt": "a.png 1\nb.png 3\nc/d.png 0\n",
        "labels.json": json.dumps(coco),
        "yolo.txt": "0 0.5 0.5 0.25 0.25\n0 0.1 0.2 0.1 0.1 0.9\n0 0.1 0.1 0.5 0.1 0.5 0.5\n",
        "preprocessor_config.json": json.dumps(_PROCESSOR, indent=1),
        "names.txt": "{0: 'cat', 1: 'dog', 2: 'größe'}",
        "inputs.json": json.dumps([_polygraphy(), _polygraphy()]),
        "map.csv": "x,images\ny,logits\n",
        "map.json": json.dumps({"x": "images", "y": "logits"}),
        "options.toml": _TOML,
        "build.log": _LOG,
        "files.txt": "data.npy\n# more\ndata.npz\n",
        "files.csv": "file,label\ndata.npy,1\ndata.npz,2\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    np.save(folder / "labels.npy", np.arange(4))


def _polygraphy() -> dict[str, dict[str, str]]:
    """One iteration's inputs as Polygraphy saves them."""
    out = io.BytesIO()
    np.save(out, np.ones((1, 3, 8, 8), np.float32))
    return {"x": {"array": base64.b64encode(out.getvalue()).decode(), "polygraphy_class": "ndarray"}}


def _model(
    nodes: list[onnx.NodeProto], shapes: list[list[int | str]], weights: dict[str, np.ndarray]
) -> onnx.ModelProto:
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    ends = [_value(name, shape) for name, shape in zip("xy", shapes, strict=True)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _value(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


_PROCESSOR = {
    "do_resize": True,
    "size": {"shortest_edge": 256},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 8, "width": 8},
    "rescale_factor": 0.00392156862745098,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}

_TOML = """
method = "percentile:99.9"
method_for = ["x=mse"]
batch_size = 4
max_samples = 100
provider = "cpu"
memory_limit = "1G"
allow_nonfinite = false

[preprocess]
mean = [0.5, 0.5, 0.5]
resize = "stretch"
size = [8, 8]
color = "rgb"

[preprocess.x]
scale = "1/255"

[qdq]
exclude = ["conv"]
"""

_LOG = """
[11/25/2026-10:00:00] [V] [TRT] Adding network input: x with dtype: float32, dimensions: (-1, 3, 8, 8)
[11/25/2026-10:00:00] [V] [TRT] Registering tensor: x for ONNX tensor: x
[11/25/2026-10:00:00] [V] [TRT] Registering tensor: c for ONNX tensor: c
[11/25/2026-10:00:00] [V] [TRT] conv [Conv] outputs: [c -> (-1, 4, 8, 8)[FLOAT]],
[11/25/2026-10:00:00] [V] [TRT] Registering tensor: y_7 for ONNX tensor: y
[11/25/2026-10:00:00] [V] [TRT] gemm [Gemm] outputs: [y -> (-1, 5)[FLOAT]],
[11/25/2026-10:00:00] [V] [TRT] Marking y_7 as output: y
[11/25/2026-10:00:00] [V] [TRT] ConstShuffleFusion: Fusing fb with (Unnamed Layer* 12) [Shuffle]
[11/25/2026-10:00:00] [I] [TRT] Reading Calibration Cache for calibrator: EntropyCalibration2
[11/25/2026-10:00:01] [V] [TRT] x INT8 Inference Tensor scales and zero-points: x scale and zero-point \
Quantization(scale: {0.023,}, zero-point: {0})
[11/25/2026-10:00:01] [W] [TRT] c Missing scale and zero-point for tensor c, expect fall back to non-int8 \
implementation for any layer consuming or producing given tensor
"""
