from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.small import CPU
from helpers.toys import model, node
from hypothesis import given
from hypothesis import strategies as st

from onnx_trtcal import calibrate
from onnx_trtcal.counting.chunking import Chunking, chunk
from onnx_trtcal.run.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping


SIZES = {"a": 100, "b": 300, "c": 50}


def test_no_limit_or_one_that_is_kept_cuts_nothing() -> None:
    for limit in (None, 3600):
        assert chunk(SIZES, 1, 8, limit, batch_is_fixed=False) == Chunking(8, (("a", "b", "c"),))


def test_the_batch_shrinks_first() -> None:
    cut = chunk(SIZES, 1, 8, 3599, batch_is_fixed=False)
    assert (cut.batch_size, cut.passes) == (7, (("a", "b", "c"),))
    assert cut.reason == "batches of 7 instead of 8, so that the activations fit into 3.5 KiB"


def test_then_the_work_splits_into_passes() -> None:
    cut = chunk(SIZES, 1, 8, 449, batch_is_fixed=False)
    assert (cut.batch_size, cut.passes) == (1, (("a", "b"), ("c",)))
    assert (
        "2 passes over the data with batches of 1" in cut.reason and "450 bytes, more than 449" in cut.reason
    )


def test_a_fixed_batch_cannot_shrink() -> None:
    cut = chunk(SIZES, 8, 8, 400, batch_is_fixed=True)
    assert (cut.batch_size, cut.passes) == (8, (("a", "b"), ("c",)))


def test_a_tensor_larger_than_the_limit_gets_a_pass_of_its_own() -> None:
    assert chunk(SIZES, 1, 8, 120, batch_is_fixed=False).passes == (("a",), ("b",), ("c",))


@pytest.mark.slow
@given(
    st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 10**6), min_size=1, max_size=20),
    st.integers(1, 16),
    st.integers(1, 32),
    st.integers(1, 10**8),
    st.booleans(),
)
def test_every_tensor_is_measured_once_and_within_the_limit_where_that_is_possible(
    sizes: dict[str, int], samples: int, batch_size: int, limit: int, fixed: bool
) -> None:
    cut = chunk(sizes, samples, batch_size, limit, batch_is_fixed=fixed)
    assert [name for tensors in cut.passes for name in tensors] == list(sizes)
    assert cut.batch_size == batch_size if fixed else 1 <= cut.batch_size <= batch_size
    for tensors in cut.passes:
        assert len(tensors) == 1 or sum(sizes[name] for name in tensors) * cut.batch_size <= limit * samples
    if len(cut.passes) > 1:
        assert fixed or cut.batch_size == 1


def test_a_run_never_gives_out_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [node("Relu", "x", "a"), node("Neg", "a", "b"), node("Exp", "b", "c"), node("Abs", "c", "y")]
    net = model(nodes, {"x": ["N", 3, "H", "W"]}, ["y"])
    data = [np.random.default_rng(seed).normal(size=(3, 8, 8)).astype(np.float32) for seed in range(6)]
    sizes: list[int] = []

    class Watched(Session):
        def run(self, feeds: Mapping[str, np.ndarray], sample: str) -> list[np.ndarray]:
            arrays = super().run(feeds, sample)
            sizes.append(sum(array.nbytes for array in arrays))
            return arrays

    monkeypatch.setattr("onnx_trtcal.counting.observed_runs.Session", Watched)
    one = 3 * 8 * 8 * 4
    wanted = calibrate(net, data, CPU).scales
    for limit in (one, 2 * one, 5 * one, 7 * one, 40 * one):
        sizes.clear()
        assert calibrate(net, data, replace(CPU, memory_limit=limit)).scales == wanted
        assert max(sizes) <= limit, limit
        assert max(sizes) > limit / 2 or limit == 40 * one
