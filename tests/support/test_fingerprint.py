"""A function's fingerprint changes with what it does, and with nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from onnx_trtcal.support.fingerprint import fingerprint

SOURCE = """
import math
from onnx_trtcal.support.jit import compiled, intrinsic, part

FACTOR = 2.0
UNUSED = 3

def emit(context, builder, signature, arguments):
    return builder.bitcast(arguments[0], context)

bits = intrinsic("uint32(float32)", emit)

@part
def inner(x):
    return math.sqrt(x) if x > 0 else bits(x)

@compiled
def outer(x):
    # a comment
    return inner(x) * FACTOR + sum([y + 1 for y in range(3)])
"""


def of(source: str) -> str:
    names: dict[str, object] = {}
    exec(source, names)
    return fingerprint(names["outer"].function)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("FACTOR = 2.0", "FACTOR = 2.5"),
        ("x > 0", "x >= 0"),
        ("math.sqrt", "math.log"),
        ("if x > 0", "if x > 1"),
        ("* FACTOR", "* UNUSED"),
        ("y + 1", "y + 2"),
        ("uint32(float32)", "int32(float32)"),
        ("builder.bitcast", "builder.trunc"),
        ("arguments[0]", "arguments[1]"),
        ("* FACTOR +", "* FACTOR -"),
    ],
)
def test_what_it_does_counts(old: str, new: str) -> None:
    assert old in SOURCE
    assert of(SOURCE.replace(old, new)) != of(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [("UNUSED = 3", "UNUSED = 4"), ("# a comment", "# another"), ("import math", "\nimport math")],
)
def test_the_rest_does_not(old: str, new: str) -> None:
    assert of(SOURCE.replace(old, new)) == of(SOURCE)


def test_functions_that_call_each_other_have_one() -> None:
    source = "def outer(x):\n    return inner(x)\ndef inner(x):\n    return outer(x) if x else {}\n"
    names: dict[str, object] = {}
    exec(source.format(1), names)
    first = fingerprint(names["outer"])  # type: ignore[arg-type]
    exec(source.format(2), names)
    assert fingerprint(names["outer"]) != first  # type: ignore[arg-type]


def test_it_is_the_same_in_every_process() -> None:
    code = (
        "from onnx_trtcal.stats.kernels import count_rows as kernel\n"
        "from onnx_trtcal.support.fingerprint import fingerprint\n"
        "print(fingerprint(kernel.function))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=environment | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1
