"""Which method each observed tensor is solved by."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

from onnx_trtcal.errors import OptionError, did_you_mean
from onnx_trtcal.methods.method import Method, parse_method
from onnx_trtcal.options import DEFAULT_METHOD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.options import Options

__all__ = ["assign_methods"]


def assign_methods(
    options: Options, op_types: Mapping[str, str], ties: Sequence[Sequence[str]] = ()
) -> dict[str, Method]:
    """The method of every tensor: the last `method_for` that matches it, else `method`.

    `OPTYPE=METHOD` matches the tensors that nodes of that op type make (`Input` the graph's inputs), anything
    else is a glob over tensor names.

    Args:
        options: `method` and `method_for`.
        op_types: observed tensor to the op type that makes it.
        ties: observed tensors that share a scale, which one method has to choose.

    Raises:
        OptionError: on a method that does not exist, a pattern that matches no observed tensor, or two methods
            for the tensors of a tie.
    """
    methods = dict.fromkeys(op_types, parse_method(options.method or DEFAULT_METHOD))
    for rule in options.method_for:
        what, equals, text = rule.rpartition("=")
        if not equals or not what:
            raise OptionError(
                f"{rule!r} does not name tensors and a method",
                fix="write Softmax=minmax or 'name-glob=percentile:99.9'",
            )
        method = parse_method(text)
        matched = _matched(what, op_types)
        if op_types and not matched:
            raise OptionError(
                f"no observed tensor matches {what!r} of --method-for {rule!r}",
                fix=did_you_mean(what, [*op_types, *op_types.values()])
                or f"observed are outputs of {', '.join(sorted(set(op_types.values())))}: give one of these, a "
                "tensor's name, or a glob over names",
            )
        methods.update(dict.fromkeys(matched, method))
    for names in ties:
        odd = next((name for name in names if methods[name] != methods[names[0]]), None)
        if odd is not None:
            raise OptionError(
                f"{names[0]!r} and {odd!r} share a scale, and have the methods {methods[names[0]]} and {methods[odd]}",
                fix="give all tensors of a tie the same --method-for, or leave out --tie-concat",
            )
    return methods


def _matched(what: str, op_types: Mapping[str, str]) -> list[str]:
    by_type = [tensor for tensor, op_type in op_types.items() if op_type == what]
    exact = [what] if what in op_types else []
    return by_type or exact or [tensor for tensor in op_types if fnmatch.fnmatchcase(tensor, what)]
