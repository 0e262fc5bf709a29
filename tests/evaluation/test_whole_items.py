"""What an item is holds for evaluation and sensitivity as it does for calibration."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import toys
from helpers.small import CPU, RecordingListener

from onnx_trtcal import EvaluationOptions, SensitivityOptions, calibrate, evaluate, sensitivity

if TYPE_CHECKING:
    import onnx


def cloud() -> onnx.ModelProto:
    """Points x 32 -> Gemm -> their maximum over all points -> Gemm: one answer for a file of points."""
    random = np.random.default_rng(0)
    return toys.model(
        [
            toys.node("MatMul", "x w", "f"),
            toys.node("ReduceMax", "f", "m", axes=[0], keepdims=1),
            toys.node("MatMul", "m v", "y"),
        ],
        {"x": ["batch", 32]},
        ["y"],
        {
            "w": random.normal(size=(32, 32)).astype(np.float32),
            "v": random.normal(size=(32, 16)).astype(np.float32),
        },
    )


DATA = [np.random.default_rng(seed).normal(size=(20 + seed, 32)).astype(np.float32) for seed in range(6)]


def lines(listener: RecordingListener) -> list[str]:
    return [text for text in listener.said if "one feed, exactly as given" in text]


@pytest.mark.parametrize("own", [False, True])
def test_evaluate_counts_files(own: bool) -> None:
    cache = calibrate(cloud(), DATA, CPU).cache() if own else None
    found = []
    for batch_size in (1, 8):
        listener = RecordingListener()
        request = EvaluationOptions(cache, replace(CPU, batch_size=batch_size))
        found.append(evaluate(cloud(), DATA, request, listener=listener))
        assert found[-1].samples == len(DATA)
        assert len(lines(listener)) == 1
    assert found[0] == found[1]


@pytest.mark.parametrize("own", [False, True])
def test_sensitivity_counts_files(own: bool) -> None:
    cache = calibrate(cloud(), DATA, CPU).cache() if own else None
    listener = RecordingListener()
    found = sensitivity(cloud(), DATA, SensitivityOptions(cache, CPU, worst=1), listener=listener)
    assert found.samples == len(DATA)
    assert len(lines(listener)) == 1


def test_an_axis_that_is_asked_for_is_obeyed() -> None:
    cache = calibrate(cloud(), DATA, CPU).cache()
    request = EvaluationOptions(cache, replace(CPU, item_axis=("x=0",), batch_size=1))
    assert evaluate(cloud(), DATA, request).samples == sum(map(len, DATA))
