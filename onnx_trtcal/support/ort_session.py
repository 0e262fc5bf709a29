"""Opens an ONNX Runtime session; what only the form of a model keeps ONNX Runtime from loading is helped over."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["open_session"]


def open_session(model: Path | bytes, options: Any, providers: Sequence[str]) -> Any:
    """An `onnxruntime.InferenceSession`.

    A model of an IR version that is newer than ONNX Runtime's is loaded as one of the newest version that it
    knows: the IR version says how a model is stored, its operators have versions of their own. A file whose
    name the locale cannot hold is read here, as ONNX Runtime takes names in UTF-8 only.

    Args:
        model: the model file, or a serialised model.
        options: an `onnxruntime.SessionOptions`.
        providers: ONNX Runtime's names of execution providers.

    Raises:
        Exception: whatever ONNX Runtime raises.
    """
    import onnxruntime as ort

    given: str | bytes = model if isinstance(model, bytes) else _name_or_bytes(model)
    try:
        return ort.InferenceSession(given, options, providers=list(providers))
    except Exception as error:
        newest = re.search(r"max supported IR version: (\d+)", str(error))
        if newest is None:
            raise
        data = given if isinstance(given, bytes) else Path(given).read_bytes()
    # Joining serialised messages merges them: the later version counts.
    lower = onnx.ModelProto(ir_version=int(newest.group(1))).SerializeToString()
    return ort.InferenceSession(data + lower, options, providers=list(providers))


def _name_or_bytes(path: Path) -> str | bytes:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return path.read_bytes()
    return str(path)
