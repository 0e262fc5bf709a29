"""The `[property]` keys of DeepStream's nvinfer that build and feed the same INT8 engine.

nvinfer makes a pixel x into net-scale-factor * (x - offset), with one factor and an offset per channel; it stretches an
image to the network's size, or pads it with black. What a calibration did otherwise is left to a comment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onnx_trtcal.data.images.recipe import Recipe

__all__ = ["ImageInput", "nvinfer_lines"]

_COLORS = {"rgb": 0, "bgr": 1, "gray": 2}


@dataclass(frozen=True)
class ImageInput:
    """The input that nvinfer feeds.

    Attributes:
        recipe: how images became its values; None where that is not known.
        why_not: why there is no recipe.
        dims: channels, height and width, None where dynamic or unknown; empty where it is not an image.
        channels_last: whether the channels are its last axis.
        batch: the most samples at a time.
    """

    recipe: Recipe | None
    why_not: str
    dims: tuple[int | None, ...]
    channels_last: bool
    batch: int | None


def nvinfer_lines(model: str, cache: str, image: ImageInput, others: Sequence[str] = ()) -> list[str]:
    """The lines of a configuration file; what cannot be expressed is a comment among them.

    Args:
        model: path of the ONNX file.
        cache: path of the calibration cache.
        image: the input that nvinfer feeds.
        others: names of the model's other inputs.
    """
    lines = ["[property]", f"onnx-file={model}", f"int8-calib-file={cache}", "network-mode=1"]
    if image.batch is not None:
        lines.append(f"batch-size={image.batch}")
    if image.dims and None not in image.dims:
        lines.append(f"infer-dims={';'.join(map(str, image.dims))}")
        lines.append(f"network-input-order={int(image.channels_last)}")
    elif image.dims:
        lines.append("# infer-dims: channels;height;width of the engine, which the model leaves open")
    if image.recipe is None:
        lines.append(f"# net-scale-factor, offsets, model-color-format: {image.why_not}")
    else:
        lines += [f"model-color-format={_COLORS[image.recipe.color]}", *_normalization(image.recipe)]
        lines += _geometry(image.recipe)
    if others:
        lines.append(
            f"# nvinfer feeds one image: {', '.join(others)} need a custom library or nvdspreprocess"
        )
    return lines


def _normalization(recipe: Recipe) -> Iterator[str]:
    """(x * scale - mean) / std as nvinfer writes it: scale / std * (x - mean / scale)."""
    if recipe.raw:
        yield "net-scale-factor=1"
        yield "# the input is uint8, and nvinfer feeds float32: cast at the model's input"
        return
    if len(set(recipe.std)) > 1:
        stds = ", ".join(f"{each:g}" for each in recipe.std)
        yield (
            f"# net-scale-factor: nvinfer has one factor, and std differs by channel ({stds}): put the division into "
            "the model, or calibrate with one --std"
        )
    elif recipe.scale == 0:
        yield "# net-scale-factor: the scale is 0"
    else:
        yield f"net-scale-factor={recipe.scale / recipe.std[0]:.10g}"
    if any(recipe.mean) and recipe.scale:
        channels = 1 if recipe.color == "gray" else 3
        means = recipe.mean * channels if len(recipe.mean) == 1 else recipe.mean
        yield f"offsets={';'.join(f'{mean / recipe.scale:.10g}' for mean in means)}"


def _geometry(recipe: Recipe) -> Iterator[str]:
    if recipe.size is not None and recipe.resize == "letterbox":
        yield "maintain-aspect-ratio=1"
        yield "symmetric-padding=1"
        if recipe.pad_value:
            yield f"# nvinfer pads with black, calibration padded with gray {recipe.pad_value:g}"
    else:
        yield "maintain-aspect-ratio=0"
        if recipe.size is not None and recipe.resize == "shorter":
            yield "# nvinfer stretches the whole image, calibration scaled its shorter side"
    if recipe.crop is not None:
        yield "# nvinfer does not crop, calibration cut the centre out of each image"
