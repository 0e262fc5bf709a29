"""What stands for a reader's own model and data where a page of the documentation is run."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto
from PIL import Image

from helpers import detectors, toys
from helpers.doc_pages import ROOT

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SETUPS"]

MODELS = ROOT / "models"


def bundled(folder: Path) -> None:
    """The repository's models, where a clone has them."""
    (folder / "models").mkdir()
    for path in MODELS.iterdir():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / "models" / path.name)


def classifier(folder: Path) -> None:
    """`model.onnx`, images in `data/` and `test/`, `labels.csv`: some of the bundled digits."""
    shutil.copy(MODELS / "digits_resnet.onnx", folder / "model.onnx")
    for name, source, count in (("data", "digits_calib", 64), ("test", "digits_test", 80)):
        (folder / name).mkdir()
        for path in sorted((MODELS / source).glob("*.png"))[:count]:
            shutil.copy(path, folder / name)
    shutil.copy(MODELS / "digits_test" / "labels.csv", folder)


def yolo(folder: Path) -> None:
    """`yolo.onnx`, a detector of one image of 32x32, with photographs of several sizes and COCO's annotations."""
    onnx.save(detectors.detector(), folder / "yolo.onnx")
    random = np.random.default_rng(5)
    for name, count in (("images", 12), ("test", 6)):
        (folder / name).mkdir()
        for number in range(count):
            size = (int(random.integers(24, 49)), int(random.integers(24, 49)), 3)
            coarse = random.integers(0, 256, (4, 4, 3), np.uint8)
            image = Image.fromarray(coarse).resize(size[:2], Image.Resampling.BICUBIC)
            image.save(folder / name / f"{number:012}.jpg")
    images = [{"id": number, "file_name": f"{number:012}.jpg"} for number in range(6)]
    boxes = [
        {
            "id": number,
            "image_id": number,
            "category_id": 1,
            "bbox": [2, 2, 12, 12],
            "area": 144,
            "iscrowd": 0,
        }
        for number in range(6)
    ]
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "bicycle"}]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))


def text(folder: Path) -> None:
    """`my-bert/`: an encoder of token numbers with a mask, and its tokenizer's files; tokens of some sentences."""
    random = np.random.default_rng(6)
    (folder / "my-bert").mkdir()
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *["the", "a", "model", "is", "was", "very", "good", "bad", "slow", "fast"],
    ]
    (folder / "my-bert" / "vocab.txt").write_text("\n".join(words) + "\n")
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 32}
    (folder / "my-bert" / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "my-bert" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    weights = {
        "table": random.normal(size=(len(words), 16)),
        "fc1": random.normal(size=(16, 32)) / 4,
        "fc2": random.normal(size=(32, 2)) / 4,
    }
    nodes = [
        toys.node("Gather", "table input_ids", "embedded"),
        toys.node("Cast", "attention_mask", "mask", to=TensorProto.FLOAT),
        toys.node("Unsqueeze", "mask last", "column"),
        toys.node("Mul", "embedded column", "masked"),
        toys.node("MatMul", "masked fc1", "hidden", name="/fc1/MatMul"),
        toys.node("Relu", "hidden", "active"),
        toys.node("ReduceMean", "active", "mean", axes=[1], keepdims=0),
        toys.node("MatMul", "mean fc2", "logits", name="/fc2/MatMul"),
    ]
    constants = {name: np.asarray(value, np.float32) for name, value in weights.items()}
    inputs = {"input_ids": ["batch", "length"], "attention_mask": ["batch", "length"]}
    model = toys.model(
        nodes,
        inputs,
        {"logits": ["batch", 2]},
        {**constants, "last": np.array([-1])},
        dtypes=dict.fromkeys(inputs, TensorProto.INT64),
    )
    onnx.save(model, folder / "my-bert" / "model.onnx")
    (folder / "sentences.txt").write_text(
        "the model is very good\na slow model\nthe model was bad\na fast model\n" * 8
    )
    rows = []
    for number in range(32):
        length = 3 + number % 4
        tokens = [2, *random.integers(5, len(words), length).tolist(), 3]
        rows.append(json.dumps({"input_ids": [tokens], "attention_mask": [[1] * len(tokens)]}))
    (folder / "tokens.jsonl").write_text("\n".join(rows) + "\n")


def old_cache(folder: Path) -> None:
    """A model with a cache of TensorRT 8.6, as TensorRT leaves it: without a sidecar."""
    from onnx_trtcal import Options, calibrate, write_cache

    classifier(folder)
    options = Options(range="tensorrt", trt_version="8.6.1")
    write_cache(folder / "old.cache", calibrate(folder / "model.onnx", folder / "data", options).cache())


def pair(folder: Path) -> None:
    """`stereo.onnx`, of a colour and an infrared image, and `fusion.onnx`, of an image and numbers; their data."""
    random = np.random.default_rng(7)
    constants = {
        "wl": random.normal(size=(4, 3, 3, 3)) / 4,
        "wr": random.normal(size=(4, 1, 3, 3)) / 2,
        "w": random.normal(size=(2, 4, 3, 3)) / 4,
    }
    nodes = [
        toys.node("Conv", "left/img wl", "l", pads=[1, 1, 1, 1]),
        toys.node("Conv", "ir wr", "r", pads=[1, 1, 1, 1]),
        toys.node("Add", "l r", "sum"),
        toys.node("Relu", "sum", "relu"),
        toys.node("Conv", "relu w", "y"),
    ]
    arrays = {name: np.asarray(value, np.float32) for name, value in constants.items()}
    inputs = {"left/img": ["N", 3, 16, 16], "ir": ["N", 1, 16, 16]}
    onnx.save(toys.model(nodes, inputs, {"y": ["N", 2, 14, 14]}, arrays), folder / "stereo.onnx")
    for name, mode in (("left_img", "RGB"), ("ir", "L")):
        (folder / "pairs" / name).mkdir(parents=True)
        for number in range(8):
            shape = (16, 16, 3) if mode == "RGB" else (16, 16)
            image = Image.fromarray(random.integers(0, 256, shape, np.uint8))
            image.save(folder / "pairs" / name / f"{number}.png")
    nodes = [
        toys.node("Conv", "image w", "c"),
        toys.node("GlobalAveragePool", "c", "g"),
        toys.node("Flatten", "g", "f"),
        toys.node("Concat", "f speed", "all", axis=1),
        toys.node("MatMul", "all m", "y"),
    ]
    arrays = {
        "w": np.asarray(random.normal(size=(6, 3, 3, 3)), np.float32),
        "m": np.asarray(random.normal(size=(8, 2)), np.float32),
    }
    inputs = {"image": ["N", 3, 16, 16], "speed": ["N", 2]}
    onnx.save(toys.model(nodes, inputs, {"y": ["N", 2]}, arrays), folder / "fusion.onnx")
    nodes = [
        toys.node("Concat", "input state", "both", axis=1),
        toys.node("MatMul", "both w", "out"),
        toys.node("Tanh", "out", "y"),
    ]
    arrays = {"w": np.asarray(random.normal(size=(12, 4)), np.float32)}
    inputs = {"input": [1, 8], "state": [1, 4]}
    onnx.save(toys.model(nodes, inputs, {"y": [1, 4]}, arrays), folder / "stateful.onnx")


SETUPS = {
    "quickstart": bundled,
    "accuracy": classifier,
    "yolo": yolo,
    "pytorch": classifier,
    "huggingface": text,
    "polygraphy": classifier,
    "deepstream": yolo,
    "migrate": old_cache,
    "onnxruntime": classifier,
    "inputs": pair,
    "cluster": classifier,
    "cache": classifier,
    "statistics": classifier,
}
"""Page -> what makes the models and data that it takes for granted, in the folder where it runs."""
