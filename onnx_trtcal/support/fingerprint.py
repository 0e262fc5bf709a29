"""What a function does, as one number: another one as soon as it, a function that it calls or a constant differs."""

from __future__ import annotations

import hashlib
import inspect
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["fingerprint"]


def fingerprint(function: Callable[..., Any]) -> str:
    """The SHA-256 of a function's byte code and of all that it refers to, in hexadecimal.

    Of functions that it refers to, wrapped ones among them, that is their byte code and what they refer to, of
    modules and classes the name, of other values what `repr` says of them. Comments and places in a file make no
    difference.
    """
    digest = hashlib.sha256()
    for text in _described(function, set()):
        digest.update(text.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def _described(function: Callable[..., Any], seen: set[CodeType]) -> Iterator[str]:
    if not isinstance(function, FunctionType) or function.__code__ in seen:
        yield getattr(function, "__qualname__", repr(function))
        return
    seen.add(function.__code__)
    names: set[str] = set()
    yield from _code(function.__code__, names)
    for name in sorted(names & function.__globals__.keys()):
        yield name
        value = function.__globals__[name]
        if isinstance(value, ModuleType | type):
            yield value.__name__
        elif callable(value) or hasattr(value, "__wrapped__"):
            yield str(getattr(value, "signature", ""))
            yield from _described(inspect.unwrap(value), seen)
        else:
            yield repr(value)


def _code(code: CodeType, names: set[str]) -> Iterator[str]:
    names.update(code.co_names)
    yield from (code.co_code.hex(), *code.co_names, *code.co_varnames)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code(constant, names)
        else:
            yield repr(constant)
