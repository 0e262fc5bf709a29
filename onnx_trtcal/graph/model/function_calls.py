"""Whether the functions that a model defines can be inlined at all, asked before a library is.

A function that calls itself makes some versions of `onnx.inliner` overflow the stack, which ends the process, and a
few functions that call one another twice are enough for more nodes than any memory holds.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NoReturn

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.order import bodies

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx

__all__ = ["check_calls"]

Key = tuple[str, str, str]

_MOST_NODES = 2_000_000  # after inlining; the largest models that are published have some ten thousand
_MOST_LEVELS = 200  # of calls within calls: each is a level of recursion in the inliner

_FIX = "check the model with onnx.checker, and export it again"


def check_calls(proto: onnx.ModelProto) -> None:
    """Refuses functions that call themselves, are nested too deeply, or would become too many nodes.

    Raises:
        ModelError: naming one of them.
    """
    sizes: Counter[Key] = Counter()
    calls: dict[Key, Counter[Key]] = {}
    for function in proto.functions:
        key = (function.domain, function.name, function.overload)
        size, called = _nodes_and_calls(function.node)
        sizes[key] += size
        calls.setdefault(key, Counter()).update(called)
    for called in calls.values():
        for key in called.keys() - calls.keys():
            del called[key]  # an operator that the model does not define
    levels = _levels(calls)
    for key, level in sorted(levels.items(), key=lambda item: item[1]):
        if level > _MOST_LEVELS:
            raise ModelError(f"{_called(key)} calls others over {_MOST_LEVELS} levels", fix=_FIX)
        sizes[key] += sum(times * sizes[callee] for callee, times in calls[key].items())
    size, called = _nodes_and_calls(proto.graph.node)
    if size + sum(times * sizes[callee] for callee, times in called.items()) > _MOST_NODES:
        raise ModelError(
            f"the functions that the model defines would become more than {_MOST_NODES:,} nodes", fix=_FIX
        )


def _nodes_and_calls(nodes: Iterable[onnx.NodeProto]) -> tuple[int, Counter[Key]]:
    called = Counter((each.domain, each.op_type, each.overload) for node in nodes for each in bodies(node))
    return called.total(), called


def _levels(calls: dict[Key, Counter[Key]]) -> dict[Key, int]:
    """How deep the calls of each function go: 1 for one that calls no other."""
    waiting = {key: len(called) for key, called in calls.items()}
    callers: dict[Key, list[Key]] = {key: [] for key in calls}
    for key, called in calls.items():
        for callee in called:
            callers[callee].append(key)
    ready = [key for key, count in waiting.items() if not count]
    levels: dict[Key, int] = {}
    while ready:
        key = ready.pop()
        levels[key] = 1 + max((levels[callee] for callee in calls[key]), default=0)
        for caller in callers[key]:
            waiting[caller] -= 1
            if not waiting[caller]:
                ready.append(caller)
    for key in calls:
        if key not in levels:
            _raise_cycle(key, calls, levels)
    return levels


def _raise_cycle(key: Key, calls: dict[Key, Counter[Key]], levels: dict[Key, int]) -> NoReturn:
    """Raises for the cycle that a function without a level leads to, or is on."""
    passed: set[Key] = set()
    while key not in passed:
        passed.add(key)
        key = next(callee for callee in calls[key] if callee not in levels)
    raise ModelError(f"{_called(key)} calls itself, directly or through others", fix=_FIX)


def _called(key: Key) -> str:
    domain, name, _ = key
    return f"the model's function {domain}::{name}" if domain else f"the model's function {name}"
