"""What a model says of its own preprocessing, as flags to pass: proposed, and never applied by itself.

Two places are known: the metadata that ultralytics writes into its models (imgsz, stride, task), and the
`preprocessor_config.json` that Hugging Face keeps beside or above a model.
"""

from __future__ import annotations

import ast
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from onnx_trtcal.errors import CalibrationError
from onnx_trtcal.options import Preprocess
from onnx_trtcal.support.parsed_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["class_names", "proposal"]

_CONFIG = "preprocessor_config.json"
_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


def proposal(
    image_inputs: Sequence[InputSpec], asked: Preprocess, metadata: Mapping[str, str], folder: Path | None
) -> str:
    """A line with the flags that the model's own description of its preprocessing amounts to.

    Args:
        image_inputs: the inputs that get images.
        asked: what the user asks for.
        metadata: the model's `metadata_props`.
        folder: where the model's file is.

    Returns:
        The line; empty when the model says nothing, no image is read, or the user says what to do.
    """
    if asked != Preprocess() or not image_inputs:
        return ""
    found = _ultralytics(metadata, image_inputs[0]) or _hugging_face(folder)
    if found is None:
        return ""
    wanted, origin = found
    return f"{origin} says how images are prepared for this model; to do the same, pass {_flags(wanted)}"


def class_names(metadata: Mapping[str, str]) -> list[str]:
    """The names of the classes in the order of their numbers, as ultralytics writes them; empty without."""
    names = _parsed(metadata.get("names", ""))
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        return [str(names[number]) for number in range(len(names))]
    return [str(name) for name in names] if isinstance(names, list) else []


def _ultralytics(metadata: Mapping[str, str], spec: InputSpec) -> tuple[Preprocess, str] | None:
    sizes = _parsed(metadata.get("imgsz", ""))
    if not {"stride", "task", "imgsz"} <= metadata.keys():
        return None
    size = sizes if isinstance(sizes, (list, tuple)) else [sizes, sizes]
    height, width = (
        (size[0], size[-1]) if size and all(isinstance(side, int) and side > 0 for side in size) else (0, 0)
    )
    fixed = [dim for dim in spec.shape[1:] if isinstance(dim, int) and dim > 4]
    known = (height, width) if height and len(fixed) < 2 else None
    origin = f"the model's metadata (ultralytics, {metadata['task']})"
    if metadata["task"] == "classify":
        return Preprocess(resize="shorter", size=known, crop=known), origin
    return Preprocess(preset="yolo", size=known), origin


def _hugging_face(folder: Path | None) -> tuple[Preprocess, str] | None:
    paths = [] if folder is None else [folder / _CONFIG, folder.absolute().parent / _CONFIG]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return None
    try:
        config = parse_json(path.read_text(encoding="utf-8"))
        return _from_config(config), path.name
    except (OSError, ValueError, OverflowError, TypeError, KeyError, AttributeError, CalibrationError):
        return None  # a hint only: what cannot be read says nothing


def _from_config(config: Mapping[str, Any]) -> Preprocess:
    values: dict[str, Any] = {}
    if config.get("do_resize", True) and config.get("size") is not None:
        shorter, size = _size(config["size"])
        values["resize"] = "shorter" if shorter else "stretch"
        values["size"] = size
        values["interpolation"] = _FILTERS.get(config.get("resample", 2), "bilinear")
    if config.get("do_center_crop") and config.get("crop_size") is not None:
        values["crop"] = _size(config["crop_size"])[1]
    if not config.get("do_rescale", True):
        values["scale"] = 1.0
    elif abs(config.get("rescale_factor", 1 / 255) - 1 / 255) > 1e-9:
        values["scale"] = float(config["rescale_factor"])
    if config.get("do_normalize", "image_mean" in config):
        values["mean"] = tuple(map(float, config["image_mean"]))
        values["std"] = tuple(map(float, config["image_std"]))
    return Preprocess(**values)


def _size(value: Any) -> tuple[bool, tuple[int, int]]:
    """Whether a size is that of the shorter side, and the size."""
    if isinstance(value, int):
        return True, (value, value)
    if "shortest_edge" in value:
        return True, (int(value["shortest_edge"]), int(value["shortest_edge"]))
    return False, (int(value["height"]), int(value["width"]))


def _flags(wanted: Preprocess) -> str:
    words = []
    for item in fields(wanted):
        value = getattr(wanted, item.name)
        if value is not None:
            parts = value if isinstance(value, tuple) else (value,)
            text = ",".join(f"{part:.7g}" if isinstance(part, float) else str(part) for part in parts)
            mark = "=" if text.startswith("-") else " "  # argparse would take it for a flag
            words.append(f"--{item.name.replace('_', '-')}{mark}{text}")
    return " ".join(words)


def _parsed(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
