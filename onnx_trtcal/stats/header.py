"""Whether the header of a statistics file has the form that its readers rely on.

The file's checksum tells damage, not intent: whoever writes a header can write a checksum, too.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, get_args

from onnx_trtcal.data.shard import MOST_SHARDS
from onnx_trtcal.options import Range

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_header", "is_sample"]

_MOST = 1 << 62


def check_header(header: Any) -> None:
    """Checks every field of a header, so that what reads it need not.

    Args:
        header: what the header's JSON says.

    Raises:
        ValueError: a field is missing, of another type, or holds a number that it cannot hold.
    """
    _fields(header, "the header", _HEADER)
    if "shards" in header and not _shards(header["shards"]):
        raise ValueError(f"shards of the header is {_short(header['shards'])}")
    if not _shapes(header.get("shapes", {})):
        raise ValueError(f"shapes of the header is {_short(header['shapes'])}")
    names = [tensor["name"] for tensor in header["tensors"]]
    if len(set(names)) < len(names):
        raise ValueError("it names a tensor twice")


def _fields(value: Any, what: str, wanted: dict[str, Callable[[Any], bool]]) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is not an object")  # noqa: TRY004 (the file is at fault, not the caller)
    for name, fits in wanted.items():
        if name not in value:
            raise ValueError(f"{what} has no {name}")
        if not fits(value[name]):
            raise ValueError(f"{name} of {what} is {_short(value[name])}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _text(value: Any) -> bool:
    """A string that can be written as UTF-8: an escape in JSON may stand for half of a character."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _file_name(value: Any) -> bool:
    return isinstance(value, str)  # bytes of a name that are not UTF-8 are halves of characters here


def _options(value: Any) -> bool:
    return isinstance(value, dict) and _text(json.dumps(value, ensure_ascii=False))


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


def _magnitude(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and _finite(value) and value >= 0


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the range of float
        return False


def is_sample(value: Any) -> bool:
    """Whether this is a sample as files list it: [name, hash]."""
    return isinstance(value, list) and len(value) == 2 and _file_name(value[0]) and _text(value[1])


def _tensor(value: Any) -> bool:
    _fields(value, "a tensor", _TENSOR)
    return True


def _each(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


_TENSOR: dict[str, Callable[[Any], bool]] = {
    "name": _text,
    "amax": _magnitude,
    "width": _magnitude,
    **dict.fromkeys(("zeros", "nan", "inf", "total", "bytes"), _count),
    "first_nonfinite": lambda value: value is None or _file_name(value),
}


def _shapes(value: Any) -> bool:
    """{input: [smallest, largest, item axis or None]}."""
    return isinstance(value, dict) and all(
        _text(name)
        and isinstance(each, list)
        and len(each) == 3
        and _each(_count)(each[0])
        and _each(_count)(each[1])
        and len(each[0]) == len(each[1])
        and (each[2] is None or (_count(each[2]) and each[2] < len(each[0])))
        for name, each in value.items()
    )


def _shards(value: Any) -> bool:
    """{of, data, have}: some of the numbers from 1 to `of`, ascending."""
    if not isinstance(value, dict) or value.keys() != {"of", "data", "have"}:
        return False
    of, have = value["of"], value["have"]
    return (
        _count(of)
        and of <= MOST_SHARDS
        and _text(value["data"])
        and _each(_count)(have)
        and have == sorted(set(have))
        and bool(have)
        and have[0] >= 1
        and have[-1] <= of
    )


_HEADER: dict[str, Callable[[Any], bool]] = {
    "model": _text,
    "rule": lambda value: value in get_args(Range),
    "options": _options,
    "samples": _each(is_sample),
    "tensors": _each(_tensor),
}
