"""Measurements of one thing each: the search, the rewrite, the first sample."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.inputs import write_chain
from bench.process import Spec, measure

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Single", "singles"]

DIGITS = Path(__file__).resolve().parents[2] / "models"


@dataclass(frozen=True)
class Single:
    """Seconds of each, medians.

    Attributes:
        our_search, ort_search: one tensor's threshold.
        rewrite: of a model of `rewrite_nodes` nodes.
        first: from the start of a process to its first sample counted.
        first_uncompiled: the same where no compiled code is kept from an earlier run.
    """

    our_search: float
    ort_search: float
    rewrite: float
    rewrite_nodes: int
    first: float
    first_uncompiled: float


def singles(folder: Path, threads: int, rounds: int, groups: int, say: Callable[[str], None]) -> Single:
    """Measures everything that needs no rival, a few times each.

    Args:
        folder: for what is generated.
        threads: CPU threads of every process.
        rounds: how often.
        groups: of Conv, BatchNormalization and Relu in the model that is rewritten.
        say: receives a line of progress at each step.
    """
    big = Spec("rewrite", str(write_chain(folder / "chain.onnx", groups)), threads=threads)
    small = Spec(
        "first-sample", str(DIGITS / "digits_mlp.onnx"), str(DIGITS / "digits_calib.npy"),
        samples=8, batch=1, threads=threads,
    )  # fmt: skip

    def seconds(spec: Spec, phase: str, times: int = rounds, cache: str = "") -> float:
        environment = {"NUMBA_CACHE_DIR": cache} if cache else {}
        value = median(measure(spec, environment=environment).seconds[phase] for _ in range(times))
        say(f"{spec.who}: {value * 1000:.1f} ms")
        return value

    return Single(
        our_search=seconds(Spec("our-search", "", threads=threads), "search"),
        ort_search=seconds(Spec("ort-search", "", threads=threads), "search", 1),
        rewrite=seconds(big, "rewrite"),
        rewrite_nodes=3 * groups,
        first=seconds(small, "first"),
        first_uncompiled=seconds(small, "first", 1, str(folder / "numba")),
    )
