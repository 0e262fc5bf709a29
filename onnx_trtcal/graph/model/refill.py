"""Replaces what a list inside an ONNX message holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableSequence

    from google.protobuf.message import Message

    _M = TypeVar("_M", bound=Message)

__all__ = ["refill"]


def refill(messages: MutableSequence[_M], wanted: Iterable[_M]) -> None:
    """Makes a list of messages, such as `graph.node`, hold these, some of which may be in it.

    Args:
        messages: the list; what it held is not valid any more.
        wanted: what it is to hold, copied, for messages do not outlive the list that they are in.
    """
    copies = []
    for each in wanted:
        copies.append(copy := type(each)())
        copy.CopyFrom(each)
    del messages[:]
    messages.extend(copies)
