"""A function's fingerprint changes with what it does, and with nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from onnx_trtcal.support.fingerprint import fingerprint

SOURCE = """
import math, types
import numpy as np
from onnx_trtcal.support.jit import compiled, intrinsic, part

FACTOR = 2.0
UNUSED = 3
TABLE = np.zeros(5000)
TABLE[2500] = 1
TABLES = TABLE * 2, TABLE * 3

house = types.ModuleType("house")
house.LIMIT = 40
house.NOT_NAMED = 41
house.inside = types.ModuleType("house.inside")
house.inside.house = house
house.inside.doubled = lambda x: x * 2

def emit(context, builder, signature, arguments):
    return builder.bitcast(arguments[0], context)

bits = intrinsic("uint32(float32)", emit)

@part
def inner(x):
    return math.sqrt(x) if x > 0 else bits(x)

@part
def by_default(x, more=50):
    return x + more

@part
def in_words(x, *, less=60):
    return x - less

def adding(number):
    return part(lambda x: x + number)

one, two = adding(1), adding(2)

@part
def both(x):
    return one(two(x))

@compiled
def outer(x):
    # a comment
    if house.inside.doubled(x) > house.LIMIT:
        return TABLE[x] + TABLES[1][x]
    return both(by_default(x) + in_words(x)) + inner(x) * FACTOR + sum([y + 1 for y in range(3)])
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
        ("more=50", "more=51"),
        ("less=60", "less=61"),
        ("adding(1)", "adding(3)"),
        ("adding(2)", "adding(3)"),
        ("TABLE[2500] = 1", "TABLE[2501] = 1"),
        ("TABLE * 3", "TABLE * 4"),
        ("np.zeros(5000)", "np.zeros(5000, np.float32)"),
        ("np.zeros(5000)", "np.zeros((5000, 1))"),
        ("house.LIMIT = 40", "house.LIMIT = 41"),
        ("x: x * 2", "x: x * 3"),
    ],
)
def test_what_it_does_counts(old: str, new: str) -> None:
    assert old in SOURCE
    assert of(SOURCE.replace(old, new)) != of(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("UNUSED = 3", "UNUSED = 4"),
        ("house.NOT_NAMED = 41", "house.NOT_NAMED = 42"),
        ("# a comment", "# another"),
        ("import math", "\nimport math"),
    ],
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
