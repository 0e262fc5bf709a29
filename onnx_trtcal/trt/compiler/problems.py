"""What the parser, the builder and a crash say, in plainer words: node, rule, what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.graph.ops import QUANTIZED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onnx_trtcal.trt.compiler.build import Build, Message, ParserError

__all__ = ["Problem", "find_problems"]

PARSER, BUILDER, INTERNAL, INPUTS, STOPPED = "parser", "builder", "internal", "inputs", "stopped"


@dataclass(frozen=True)
class Problem:
    """Why there is no engine.

    Attributes:
        stage: who refuses: `parser`, `builder`, `inputs` (a shape is missing), `stopped` (it was not done in
            time), or `internal`, a fault of the compiler itself.
        node: name of the ONNX node, or its position where it has no name; empty when the message names none.
        op: its op type.
        rule: short name of the rule that is broken.
        what: what is wrong, in the compiler's words.
        fix: what to do about it.
    """

    stage: str
    node: str
    op: str
    rule: str
    what: str
    fix: str


@dataclass(frozen=True)
class _Rule:
    name: str
    pattern: str
    fix: str


_REPORT = (
    "this is a fault of the compiler: try another --gpu, find the node by leaving layers in floating point "
    "(quantize --exclude), and report it to NVIDIA with the model"
)
_PAIRS_ONLY = "TensorRT takes Q/DQ pairs and no quantized operators: quantize the float model with pairs"
_UNKNOWN = "change or leave out this node; NVIDIA's message is all that is known of it"

# Messages of TensorRT for RTX 1.7, each seen on a small model.
_RULES = (
    _Rule(
        "zero-point",
        r"Non-zero zero point",
        "quantize symmetrically, with INT8 and zero point 0: `onnx-trtcal quantize`, or after "
        "`onnx-trtcal dequantize` for a model of another tool",
    ),
    _Rule(
        "scale-value",
        r"Scale coefficients must all be positive",
        "replace scales that are 0, negative or NaN",
    ),
    _Rule(
        "scale-count",
        r"number of scales is not equal",
        "give one scale, or one per slice along the axis that the node names",
    ),
    _Rule(
        "blocked-scale-axis",
        r"blocking dimension must be",
        "block along the last two axes only; a convolution's weights take one scale per output channel",
    ),
    _Rule(
        "quantized-type",
        r"has type \w+ but must have type FP8",
        "DequantizeLinear takes 8-bit and 4-bit types here: store an int32 bias as float",
    ),
    _Rule(
        "quantized-constant",
        r"Quantized constant .* only allowed before DQ",
        "give an INT8 constant of one value the shape [1], or store it as float: a 0-d one loses its DQ",
    ),
    _Rule(
        "mixed-types",
        r"must be of same type|must have the same type",
        "give both operands one float type: the scales of a DQ decide the type of its output",
    ),
    _Rule(
        "gpu-type",
        r"HW-specific datatypes",
        "this GPU lacks the type: choose a newer one with --gpu, or INT8 pairs",
    ),
    _Rule(
        "type",
        r"unsupported (?:input |data)type|Failed to import initializer",
        "use a type that TensorRT has",
    ),
    _Rule(
        "operator",
        r"[Pp]lugin .*not found|No importer registered|^false$",
        "TensorRT for RTX has no such operator and no plugins: replace it by others; if TensorRT runs it as a plugin, "
        "compile the model without it",
    ),
    _Rule(
        "unsupported",
        r"not supported",
        "TensorRT has the operator, but not in this use: change what the message names",
    ),
)

_ASSERTION = re.compile(r"^Assertion failed: [^:]*(?:::[^:]*)*: (.+)", re.DOTALL)
_QUOTED = re.compile(r'^.+ && "(.+)"$')
_USAGE = re.compile(r"Error Code \d+: [\w ]+ \((.*?)(?: In \w+ at \S+)?\)$", re.DOTALL)
_SOURCE = re.compile(r"^\[[\w.:]+ ?\w+\] ")
_CUDA = "Cuda Runtime"  # there is no GPU, and none is needed
_LAYER = re.compile(r"^(?:In node|Quantized constant) \(?([^\s)]+)\)?")


def find_problems(build: Build) -> tuple[Problem, ...]:
    """Why a build gave no engine; nothing for one that did."""
    if build.crash:
        return (_crash(build),)
    if build.engine_bytes is not None:
        return ()
    if build.missing_shapes:
        return tuple(
            Problem(INPUTS, name, "", "shape", "the model leaves its shape or values open", _shape_fix(name))
            for name in build.missing_shapes
        )
    if not build.parsed and build.errors:
        return tuple(dict.fromkeys(_parser_problem(error) for error in build.errors))
    found = tuple(dict.fromkeys(_builder_problem(text) for text in _errors(build.messages)))
    return found or (Problem(INTERNAL, "", "", "no message", "no engine came out, and no message", _REPORT),)


def _shape_fix(name: str) -> str:
    return f"--shapes {name}:1x3x224x224, with its own sizes; for an input that holds a shape, its values"


def _crash(build: Build) -> Problem:
    if build.timed_out:
        what = f"the compiler did not finish: {build.crash}"
        return Problem(STOPPED, "", "", "timeout", what, "give it more time: --timeout SECONDS")
    errors = _errors(build.messages)
    node = _last_node(build.messages)
    last = f"; its last error was: {_plain(errors[-1])}" if errors else ""
    return Problem(INTERNAL, node, "", "crash", f"the compiler did not finish: {build.crash}{last}", _REPORT)


def _last_node(messages: Iterable[Message]) -> str:
    """The node that the parser was at, if it had not come through."""
    node = ""
    for message in messages:
        if message.text.startswith("Parsing node: "):
            node = message.text.removeprefix("Parsing node: ").rpartition(" [")[0]
        elif message.text.startswith("Graph construction completed"):
            return ""
    return node


def _errors(messages: Iterable[Message]) -> list[str]:
    return [each.text for each in messages if "ERROR" in each.severity and _CUDA not in each.text]


def _parser_problem(error: ParserError) -> Problem:
    what = _plain(error.text)
    rule = _rule(what)
    if what == "false":
        what = f"{error.op} is not supported"
    node = error.node or (f"number {error.index}" if error.index >= 0 else "")
    name = rule.name if rule else error.code.lower()
    fix = _PAIRS_ONLY if name == "operator" and error.op in QUANTIZED else _fix(rule)
    return Problem(PARSER, node, error.op, name, what, fix)


def _builder_problem(text: str) -> Problem:
    what = _plain(text)
    named = _LAYER.match(what)
    node = named[1] if named else ""
    rule = _rule(what)
    if rule is None and "Internal Error" in text:
        return Problem(INTERNAL, node, "", "internal error", what, _REPORT)
    return Problem(BUILDER, node, "", rule.name if rule else "builder", what, _fix(rule))


def _rule(what: str) -> _Rule | None:
    return next((rule for rule in _RULES if re.search(rule.pattern, what)), None)


def _fix(rule: _Rule | None) -> str:
    return rule.fix if rule else _UNKNOWN


def _plain(text: str) -> str:
    """The sentence in a message, without source files, asserted expressions and the missing GPU."""
    lines = [
        line for line in text.splitlines() if _CUDA not in line and not line.startswith("Invalid Node - ")
    ]
    plain = "\n".join(lines).strip() or text.strip()
    usage = _USAGE.search(plain)
    plain = _SOURCE.sub("", usage[1] if usage else plain)
    asserted = _ASSERTION.match(plain) or _QUOTED.match(plain)
    return " ".join((asserted[1] if asserted else plain).split())
