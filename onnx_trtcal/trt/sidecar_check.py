"""Whether the JSON beside a cache is built as a sidecar is; what stands in it may be of any age, or forged."""

from __future__ import annotations

from typing import Any

__all__ = ["flaw_of"]

_TABLES = ("cache", "model", "data", "options", "versions", "shapes", "tensors", "skipped")


def flaw_of(content: dict[str, Any]) -> str:
    """What keeps the content from being a sidecar's; empty when nothing does.

    Args:
        content: the JSON object.
    """
    for key in _TABLES:
        if not isinstance(content.get(key, {}), dict):
            return f"{key} is not an object"
    for name, item in content.get("tensors", {}).items():
        if not isinstance(item, dict):
            return f"the entry of tensor {name!r} is not an object"
        if not isinstance(item.get("source", ""), str):
            return f"the source of tensor {name!r} is not a name"
    for name, why in content.get("skipped", {}).items():
        if not isinstance(why, str):
            return f"the reason why {name!r} was skipped is not text"
    for name, item in content.get("shapes", {}).items():
        if not _is_range(item):
            return f"the shapes of {name!r} are not two lists of sizes"
    return "" if _is_count(content.get("data", {}).get("samples", 0)) else "the number of samples is not one"


def _is_range(item: Any) -> bool:
    if not isinstance(item, dict) or not (_is_shape(item.get("min")) and _is_shape(item.get("max"))):
        return False
    return len(item["min"]) == len(item["max"])


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_count, value))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
