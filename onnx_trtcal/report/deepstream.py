"""What DeepStream's nvinfer has to be told to feed an engine as the calibration fed the model."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.data.formats import content_of
from onnx_trtcal.data.images.recipe import Recipe, make_recipe
from onnx_trtcal.data.layout import feeding_of, is_fixed, shape_text
from onnx_trtcal.errors import DataError, OptionError
from onnx_trtcal.options import Preprocess
from onnx_trtcal.trt.deepstream import ImageInput, nvinfer_lines

if TYPE_CHECKING:
    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["deepstream_lines"]


def deepstream_lines(calibration: Calibration, model: str, cache: str) -> list[str]:
    """The `[property]` keys for the calibrated model and its cache.

    Args:
        calibration: what came out; also one from statistics, which keep how images were preprocessed.
        model: path of the ONNX file.
        cache: path of the cache.
    """
    inputs = calibration.prepared.model.inputs
    image = next((spec for spec in inputs if len(spec.shape) == 4), inputs[0])
    others = [spec.name for spec in inputs if spec is not image]
    return nvinfer_lines(model, cache, _image_input(calibration, image), others)


def _image_input(calibration: Calibration, spec: InputSpec) -> ImageInput:
    inputs = calibration.prepared.model.inputs
    recipe, why_not = _recipe(calibration, spec)
    largest = _largest(calibration, spec)
    fixed = is_fixed(spec.shape[0]) if spec.shape else False
    seen = largest[0] if largest and len(spec.shape) == 4 else None
    batch = feeding_of(inputs).batch_size(calibration.options.batch_size) if fixed or seen is None else seen
    dims: tuple[int | None, ...] = largest[1:] if len(largest) == 4 else ()
    last = (
        recipe.layout == "nhwc" if recipe else len(dims) == 3 and dims[0] not in (1, 3) and dims[2] in (1, 3)
    )
    return ImageInput(recipe, why_not, (dims[2], *dims[:2]) if last else dims, last, batch)


def _recipe(calibration: Calibration, spec: InputSpec) -> tuple[Recipe | None, str]:
    """How images became values of the input, or why that is not known."""
    names = [name for name, _ in calibration.collection.samples]
    if not any(content_of(Path(name)) == "image" for name in names):
        return None, (
            "the samples were arrays, and only you know how images become them; nvinfer makes a pixel x into "
            "net-scale-factor * (x - offset)"
        )
    stored: dict[str, Any] = calibration.collection.options.get("preprocess", {})
    known = {item.name for item in fields(Preprocess)}
    given: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in stored.items() if k in known
    }
    try:
        recipe = make_recipe(Preprocess(**given), spec, feeding_of(calibration.prepared.model.inputs))
    except (DataError, OptionError):
        return None, f"input {spec.name!r} of shape {shape_text(spec.shape)} is not an image"
    return recipe, ""


def _largest(calibration: Calibration, spec: InputSpec) -> tuple[int | None, ...]:
    """The input's largest shape, None for an axis that is open and was not seen."""
    seen = calibration.seen_shapes.get(spec.name)
    if seen is not None:
        return seen.largest
    return tuple(dim if isinstance(dim, int) and is_fixed(dim) else None for dim in spec.shape)
