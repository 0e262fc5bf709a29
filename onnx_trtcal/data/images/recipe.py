"""What is done to every image, decided once from the preprocessing flags and the model's input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from onnx_trtcal.data.layout import Feeding, Shape, is_fixed, shape_text
from onnx_trtcal.errors import DataError, OptionError
from onnx_trtcal.options import Preprocess

if TYPE_CHECKING:
    from onnx_trtcal.options import Color, Interpolation, Layout, Resize
    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["AxisOrder", "Recipe", "make_recipe"]

AxisOrder = Literal["nchw", "nhwc", "hw"]
"""Where the channels are; `hw` for an input without a channel axis."""

Size = tuple[int, int]
OpenSize = tuple[int | None, int | None]
"""Height and width, None for an axis that is open."""


@dataclass(frozen=True)
class Recipe:
    """Every step that an image goes through; heights come before widths.

    Attributes:
        dtype: what the model takes; pixels are fed raw (0..255) when it is uint8.
        wanted: the model's height and width, None where dynamic.
        color: the channel order.
        resize: how an image is brought to `size`.
        size: height and width to resize to, None for no resizing.
        crop: height and width to cut from the middle, None for an axis left as it is.
        interpolation: the resampling filter.
        pad_value: gray level of letterbox borders, 0..255.
        scale, mean, std: `(pixel * scale - mean) / std`; one value or one per channel.
        layout: the axis order.
    """

    dtype: np.dtype
    wanted: OpenSize
    color: Color
    resize: Resize
    size: Size | None
    crop: OpenSize | None
    interpolation: Interpolation
    pad_value: float
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: AxisOrder

    @property
    def raw(self) -> bool:
        """Whether pixels are fed as they are, 0..255."""
        return bool(self.dtype == np.uint8)

    def describe(self) -> str:
        """The steps in order, as in `RGB, shorter side 256 (bilinear), centre crop 224x224, *1/255, NCHW`."""
        steps = [{"rgb": "RGB", "bgr": "BGR", "gray": "gray"}[self.color], self._describe_resize()]
        if self.crop:
            height, width = ("all" if side is None else side for side in self.crop)
            steps.append(f"centre crop {height}x{width}")
        if self.raw:
            steps.append("raw pixels 0..255 (the model takes uint8)")
        else:
            steps.append(f"*{_number(self.scale)}")
            steps.extend([f"-{_numbers(self.mean)}"] if any(self.mean) else [])
            steps.extend([f"/{_numbers(self.std)}"] if any(value != 1 for value in self.std) else [])
        return ", ".join([*steps, self.layout.upper()])

    def _describe_resize(self) -> str:
        if self.size is None:
            return "no resize"
        height, width = self.size
        where = {
            "stretch": f"stretched to {height}x{width}",
            "letterbox": f"letterboxed to {height}x{width} on gray {self.pad_value:g}",
            "shorter": f"shorter side {height}"
            if height == width
            else f"smallest size covering {height}x{width}",
        }[self.resize]
        return f"{where} ({self.interpolation})"


def make_recipe(asked: Preprocess, spec: InputSpec, feeding: Feeding) -> Recipe:
    """Fills in what was not asked for: from the preset, then from the model's shape, then plain defaults.

    The defaults are RGB (gray where the model has one channel), scale 1/255, no mean, no resize. A preset
    fills only fields left at None, and its size and crop only when `resize` is left at None too: they belong
    to its own way of resizing. Per-channel values of a preset follow the channel order in force.

    Raises:
        DataError: when the input cannot take an image.
        OptionError: when flags contradict each other or the model.
    """
    layout, channels, wanted = _image_axes(asked.layout or "auto", spec, feeding)
    color = asked.color or ("gray" if channels == 1 else "bgr" if asked.preset == "caffe" else "rgb")
    if channels is not None and channels != (1 if color == "gray" else 3):
        raise OptionError(
            f"the model's input {spec.name!r} has {channels} channels, "
            f"a {color} image {1 if color == 'gray' else 3}",
            fix="pass --color gray for 1 channel, rgb or bgr for 3; for others give .npy files",
        )
    full = _with_preset(replace(asked, color=color), wanted)
    recipe = _with_numbers(full, spec, layout, wanted, asked)
    return _with_sizes(recipe, full)


def _image_axes(layout: Layout, spec: InputSpec, feeding: Feeding) -> tuple[AxisOrder, int | None, OpenSize]:
    """Layout, number of channels (None: dynamic), and height and width."""
    shape: Shape = feeding.sample_shape(spec)
    unstacked = feeding.axes[spec.name] is None  # so that its batch axis, where it has one, is still there
    if unstacked and len(shape) == 4 and (shape[0] == 1 or not is_fixed(shape[0])):
        shape = shape[1:]
    sizes = [dim if isinstance(dim, int) and is_fixed(dim) else None for dim in shape]
    if len(sizes) == 2 and all(size is None or size > 4 for size in sizes) and len(spec.shape) == 3:
        return "hw", 1, (sizes[0], sizes[1])
    if len(sizes) == 3:
        first, second, last = sizes
        if layout == "auto":
            channels_last = last in (1, 3, 4) or (last is None and bool(first and second))
            layout = "nhwc" if first not in (1, 3, 4) and channels_last else "nchw"
        channels, *sides = sizes if layout == "nchw" else (last, sizes[0], sizes[1])
        if channels in (None, 1, 3, 4):
            return layout, channels, (sides[0], sides[1])
    raise DataError(
        f"the model's input {spec.name!r} of shape {shape_text(spec.shape)} does not look like an image",
        fix="give its samples as .npy or .npz files, or pass --layout nchw or nhwc if it is one",
    )


def _with_preset(asked: Preprocess, wanted: OpenSize) -> Preprocess:
    """The flags with the preset's values where they were left at None."""
    crop = (wanted[0] or 224, wanted[1] or 224)
    preset = {
        "imagenet": Preprocess(
            resize="shorter",
            size=(round(crop[0] * 256 / 224), round(crop[1] * 256 / 224)),
            crop=crop,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
        ),
        "caffe": Preprocess(scale=1.0, mean=(123.68, 116.779, 103.939)),
        "yolo": Preprocess(resize="letterbox"),
        "signed": Preprocess(scale=1.0, mean=(127.5,), std=(127.5,)),
        "raw": Preprocess(scale=1.0),
    }.get(asked.preset or "", Preprocess())
    order = -1 if asked.color == "bgr" else 1
    filled = replace(
        asked,
        scale=preset.scale if asked.scale is None else asked.scale,
        mean=preset.mean and preset.mean[::order] if asked.mean is None else asked.mean,
        std=preset.std and preset.std[::order] if asked.std is None else asked.std,
    )
    if asked.resize is not None:
        return filled
    return replace(
        filled, resize=preset.resize, size=asked.size or preset.size, crop=asked.crop or preset.crop
    )


def _with_numbers(
    full: Preprocess,
    spec: InputSpec,
    layout: AxisOrder,
    wanted: OpenSize,
    asked: Preprocess,
) -> Recipe:
    color = full.color or "rgb"
    channels = 1 if color == "gray" else 3
    raw = spec.dtype == np.uint8
    if raw and (asked.mean or asked.std or asked.scale not in (None, 1)):
        raise OptionError(
            f"the model's input {spec.name!r} takes uint8 pixels, to which scale, mean and std do not apply",
            fix="omit those flags: the model normalises its input itself",
        )
    mean, std = full.mean or (0.0,), full.std or (1.0,)
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, channels):
            raise OptionError(
                f"{name} has {len(values)} values, a {color} image {channels} channel{'s' * (channels > 1)}",
                fix=f"pass one value of --{name}, or {channels}"
                if channels > 1
                else f"pass one value of --{name}",
            )
    return Recipe(
        dtype=spec.dtype,
        wanted=wanted,
        color=color,
        resize="none",
        size=None,
        crop=None,
        interpolation=full.interpolation or "bilinear",
        pad_value=114.0 if full.pad_value is None else full.pad_value,
        scale=1 / 255 if full.scale is None else full.scale,
        mean=mean,
        std=std,
        layout=layout,
    )


def _with_sizes(recipe: Recipe, full: Preprocess) -> Recipe:
    resize = full.resize or "none"
    size, crop = full.size, full.crop
    if resize == "none":
        if size:
            raise OptionError(
                f"size {size[0]},{size[1]} is given without a way to get there",
                fix="pass --resize stretch, shorter or letterbox with --size",
            )
        return replace(recipe, crop=crop)
    height, width = recipe.wanted
    if size is None:
        if height and width:
            size = (height, width)
        elif resize == "shorter" and (height or width):
            # A text-line model with a fixed height: the width follows from the image's aspect.
            size = (height or 1, width or 1)
        else:
            raise OptionError(
                f"--resize {resize} has no size: the model takes images of any size",
                fix="pass --size HEIGHT,WIDTH",
            )
    if resize == "shorter" and crop is None and (height or width):
        return replace(recipe, resize=resize, size=size, crop=recipe.wanted)
    return replace(recipe, resize=resize, size=size, crop=crop)


def _number(value: float) -> str:
    return (
        f"1/{round(1 / value)}"
        if value and value < 1 and abs(1 / value - round(1 / value)) < 1e-9
        else f"{value:g}"
    )


def _numbers(values: tuple[float, ...]) -> str:
    return _number(values[0]) if len(values) == 1 else f"({', '.join(f'{value:g}' for value in values)})"
