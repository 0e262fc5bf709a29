"""What is said of data before it is read: what was found, and what the model says of its preprocessing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.data.images.proposal import proposal

if TYPE_CHECKING:
    from onnx_trtcal.data.sources import Source
    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.options import Preprocess
    from onnx_trtcal.support.progress import Listener

__all__ = ["describe", "metadata_of"]


def describe(source: Source, model: Model, preprocess: Preprocess, listener: Listener) -> None:
    """Says it, one line after the other."""
    for line in source.description:
        listener.say(line)
    folder = model.path.parent if model.path else None
    if line := proposal(source.image_inputs, preprocess, metadata_of(model), folder):
        listener.say(line)


def metadata_of(model: Model) -> dict[str, str]:
    """The model's `metadata_props`."""
    return {entry.key: entry.value for entry in model.proto.metadata_props}
