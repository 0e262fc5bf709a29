"""The command lines a user runs next, exact for a TensorRT version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.data.layout import is_fixed
from onnx_trtcal.data.seen_shapes import SeenShapes
from onnx_trtcal.support.printable import shell_command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["dynamic_shapes", "explicit_line", "trtexec_line"]

Dims = tuple[int, ...]


def dynamic_shapes(
    inputs: Sequence[InputSpec], seen_shapes: Mapping[str, SeenShapes]
) -> dict[str, SeenShapes]:
    """The seen shapes of the inputs that have a dynamic axis, a dynamic item axis brought down to 1."""
    dynamic = {}
    for spec in inputs:
        seen = seen_shapes.get(spec.name)
        if seen is None or all(is_fixed(dim) for dim in spec.shape):
            continue
        smallest = tuple(1 if at == seen.item_axis else size for at, size in enumerate(seen.smallest))
        dynamic[spec.name] = SeenShapes(smallest, seen.largest)
    return dynamic


def trtexec_line(
    model: str,
    cache: str,
    version: tuple[int, int],
    dynamic: Mapping[str, SeenShapes],
) -> str:
    """The trtexec call that builds an INT8 engine from the model and the cache.

    Args:
        model: path of the ONNX file.
        cache: path of the calibration cache.
        version: TensorRT's major and minor version.
        dynamic: shapes for the inputs that have a dynamic axis, from `dynamic_shapes`.
    """
    words = ["trtexec", f"--onnx={model}", "--int8", f"--calib={cache}"]
    if version[0] == 7:
        # TensorRT 7 builds ONNX networks with an implicit batch unless told otherwise, and then fails.
        words.append("--explicitBatch")
    return shell_command([*words, *_shape_flags(dynamic)])


def explicit_line(model: str, major: int, dynamic: Mapping[str, SeenShapes], *, float32: bool) -> str:
    """The trtexec call that builds an engine from a Q/DQ model, which holds its scales itself.

    Args:
        model: path of the Q/DQ model.
        major: TensorRT's major version; 11 knows no precision flags, because types are those of the model.
        dynamic: as for `trtexec_line`.
        float32: whether what is not quantized is float32 in the model: TensorRT 8 to 10 may then run it in
            FP16, and otherwise have to keep to the model's types.
    """
    words = ["trtexec", f"--onnx={model}"]
    if major < 11:
        words += ["--int8", "--fp16"] if float32 or major < 10 else ["--stronglyTyped"]
    return shell_command([*words, *_shape_flags(dynamic)])


def _shape_flags(dynamic: Mapping[str, SeenShapes]) -> list[str]:
    if not dynamic:
        return []
    smallest = {name: seen.smallest for name, seen in dynamic.items()}
    largest = {name: seen.largest for name, seen in dynamic.items()}
    return [
        _shapes("minShapes", smallest),
        _shapes("optShapes", largest),
        _shapes("maxShapes", largest),
    ]


def _shapes(flag: str, shapes: Mapping[str, Dims]) -> str:
    return f"--{flag}=" + ",".join(
        f"{_quoted(name)}:{'x'.join(map(str, dims))}" for name, dims in shapes.items()
    )


def _quoted(name: str) -> str:
    # trtexec splits at ',' and ':'; it takes names that hold them inside single quotes.
    return f"'{name}'" if any(sign in name for sign in ",:") else name
