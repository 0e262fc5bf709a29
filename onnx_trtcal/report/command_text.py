"""Options as the flags that give them: the command line that repeats a result."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from onnx_trtcal.data.remote import shown_path
from onnx_trtcal.support.printable import shell_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onnx_trtcal.options import Options, Preprocess
    from onnx_trtcal.qdq.options import QdqOptions

__all__ = ["data_flags", "flags_text", "quantize_text"]

# Without these, another verb would feed the same files otherwise, or could not run the model at all.
_FEEDING = ("item_axis", "ort_custom_ops")
# How a run is watched and how fast it is: nothing that its result depends on.
_NOT_RESULT = frozenset({"budget", "check_samples", "checkpoint_every", "memory_limit", "threads"})


def quantize_text(model: str, data: Sequence[str], options: Options, qdq: QdqOptions, output: str) -> str:
    """The `quantize` line that writes a Q/DQ model again, byte for byte.

    Args:
        model: path of the float model.
        data: paths of the data to calibrate on.
        options: how it was calibrated.
        qdq: how pairs were placed and weights rounded.
        output: path of the Q/DQ model.
    """
    words = [
        "onnx-trtcal",
        "quantize",
        model,
        *map(shown_path, data),
        *flags_text(options, qdq),
        "-o",
        output,
    ]
    return shell_command(words)


def flags_text(options: Options, qdq: QdqOptions) -> list[str]:
    """The flags for what differs from the defaults, as far as a result depends on it."""
    words = [word for item in dataclasses.fields(options) for word in _given(options, item)]
    words += _preprocessing(options)
    return words + [word for item in dataclasses.fields(qdq) for word in _given(qdq, item)]


def data_flags(options: Options) -> list[str]:
    """The flags with which another verb feeds the same files in the same way."""
    items = (item for item in dataclasses.fields(options) if item.name in _FEEDING)
    return [word for item in items for word in _given(options, item)] + _preprocessing(options)


def _preprocessing(options: Options) -> list[str]:
    words = _preprocess(options.preprocess, "")
    for name, each in (options.preprocess.per_input or {}).items():
        words += _preprocess(each, f"{name}=")
    return words


def _preprocess(preprocess: Preprocess, prefix: str) -> list[str]:
    items = (item for item in dataclasses.fields(preprocess) if item.name != "per_input")
    return [word for item in items for word in _given(preprocess, item, prefix)]


def _given(options: Any, item: dataclasses.Field[Any], prefix: str = "") -> Iterator[str]:
    value = getattr(options, item.name)
    if item.name in _NOT_RESULT or item.name == "preprocess" or value == item.default:
        return
    flag = "--" + item.name.replace("_", "-")
    if isinstance(value, bool):
        yield flag if value else f"--no-{item.name.replace('_', '-')}"
        return
    for each in value if item.type == "tuple[str, ...]" else (value,):
        text = prefix + (",".join(map(repr, each)) if isinstance(each, tuple) else str(each))
        # What begins with a dash would be taken for a flag of its own.
        yield from (f"{flag}={text}",) if text.startswith("-") else (flag, text)
