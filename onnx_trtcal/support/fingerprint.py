"""What a function does, as one number: another one as soon as it, a function that it calls or a constant differs."""

from __future__ import annotations

import hashlib
import inspect
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["fingerprint"]

_KNOWN = {"math", "numpy"}  # modules that numba has an implementation of its own for


def fingerprint(function: Callable[..., Any]) -> str:
    """The SHA-256 of a function's byte code and of all that it refers to, in hexadecimal.

    That is the defaults of its arguments, the variables that it closes over, and the globals that it names, those of
    other modules among them. Of functions, wrapped ones among them, it takes the same, of NumPy, `math` and classes the
    name, of arrays the bytes, of other values what `repr` says of them. Comments and places in a file make no
    difference.
    """
    digest = hashlib.sha256()
    for text in _function(function, set()):
        digest.update(text.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def _function(function: Callable[..., Any], seen: set[Any]) -> Iterator[str]:
    if not isinstance(function, FunctionType) or function in seen:
        yield getattr(function, "__qualname__", repr(function))
        return
    seen.add(function)
    names: set[str] = set()
    yield from _code(function.__code__, names)
    closed_over = [cell.cell_contents for cell in function.__closure__ or ()]
    by_name = sorted((function.__kwdefaults__ or {}).items())
    yield from _value([function.__defaults__, by_name, closed_over], names, seen)
    yield from _members(function.__globals__, names, seen)


def _members(members: dict[str, Any], names: set[str], seen: set[Any]) -> Iterator[str]:
    for name in sorted(names & members.keys()):
        yield name
        yield from _value(members[name], names, seen)


def _value(value: Any, names: set[str], seen: set[Any]) -> Iterator[str]:
    """Describes a value to which a function refers whose names, those of attributes among them, are `names`."""
    yield type(value).__name__
    if isinstance(value, ModuleType):
        yield value.__name__
        looked_up = value, frozenset(names)
        if value.__name__.partition(".")[0] not in _KNOWN and looked_up not in seen:
            seen.add(looked_up)
            yield from _members(vars(value), names, seen)
    elif isinstance(value, type):
        yield value.__name__
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        yield f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    elif isinstance(value, tuple | list):
        yield str(len(value))
        for each in value:
            yield from _value(each, names, seen)
    elif callable(value) or hasattr(value, "__wrapped__"):
        yield str(getattr(value, "signature", ""))
        yield from _function(inspect.unwrap(value), seen)
    else:
        yield repr(value)


def _code(code: CodeType, names: set[str]) -> Iterator[str]:
    names.update(code.co_names)
    yield from (code.co_code.hex(), *code.co_names, *code.co_varnames, *code.co_freevars)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code(constant, names)
        else:
            yield repr(constant)
