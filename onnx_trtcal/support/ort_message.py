"""What ONNX Runtime says in an exception, fit to be quoted in one of ours."""

from __future__ import annotations

import re

__all__ = ["plain_message"]

_LONGEST = 300


def plain_message(message: str) -> str:
    """ONNX Runtime's message on one line, without its error codes and the places in its source files."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", message.strip())
    text = re.sub(r"(?:/[\w.\-]+)+/([\w.\-]+\.(?:cc|h)):?\d*\s?", "", text)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
