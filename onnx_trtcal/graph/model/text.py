"""Whether every name in a model is text: protobuf hands out what is not UTF-8 as bytes, which nothing here expects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from onnx_trtcal.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import onnx

__all__ = ["check_text"]

# Holds values, which may be large; its texts are read one by one.
_TENSOR = "onnx.TensorProto"
_TENSOR_TEXTS = ("name", "doc_string")


def check_text(proto: onnx.ModelProto, name: str) -> None:
    """Checks the names, types of operators, domains and descriptions in a model.

    Args:
        proto: the model.
        name: what to call the model in an error.

    Raises:
        ModelError: one of them is not UTF-8.
    """
    for kind, text in _texts(proto):
        if not isinstance(text, str):
            raise ModelError(
                f"the model is damaged: the {kind} {text!r} is not UTF-8 text",
                where=name,
                fix="export it or copy it again",
            )


def _texts(message: Message) -> Iterator[tuple[str, str | bytes]]:
    kind = message.DESCRIPTOR.name.removesuffix("Proto")
    if message.DESCRIPTOR.full_name == _TENSOR:
        for field in _TENSOR_TEXTS:
            yield f"{kind}'s {field}", getattr(message, field)
        for entry in message.external_data:  # type: ignore[attr-defined]
            yield from _texts(entry)
        return
    for descriptor, value in message.ListFields():
        values: Iterable[Any] = (value,) if isinstance(value, (str, bytes, Message)) else value
        if descriptor.type == FieldDescriptor.TYPE_STRING:
            yield from ((f"{kind}'s {descriptor.name}", text) for text in values)
        elif descriptor.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in values:
                yield from _texts(inner)
