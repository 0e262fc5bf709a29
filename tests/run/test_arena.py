from __future__ import annotations

import sys

import numpy as np
import pytest
from onnx import TensorProto, helper

from onnx_trtcal.run import arena
from onnx_trtcal.run.arena import release_free_memory, share_arena
from onnx_trtcal.support.memory import resident_memory
from onnx_trtcal.support.ort_options import session_options
from onnx_trtcal.support.ort_session import open_session

OUTPUTS = [f"y{index}" for index in range(100)]


def relus() -> bytes:
    nodes = [helper.make_node("Relu", ["x"], [name]) for name in OUTPUTS]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in ("x", *OUTPUTS)]
    graph = helper.make_graph(nodes, "relus", values[:1], values[1:])
    return bytes(
        helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        ).SerializeToString()
    )


@pytest.mark.skipif(sys.platform != "linux", reason="whether memory is given back is up to the C library")
def test_what_runs_have_freed_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    options = session_options(threads=1)
    share_arena(options)
    session = open_session(relus(), options, ["CPUExecutionProvider"])
    session.run(None, {"x": np.ones(250_000, np.float32)})  # 100 outputs of 1 MB each
    before = resident_memory()
    assert before is not None
    monkeypatch.setattr(arena, "_WORTH_IT", 1 << 60)
    release_free_memory()
    assert abs((resident_memory() or 0) - before) < 10 << 20
    monkeypatch.setattr(arena, "_WORTH_IT", 0)
    release_free_memory()
    assert (resident_memory() or 0) < before - (80 << 20)
    assert np.array_equal(session.run(["y7"], {"x": np.ones(5, np.float32)})[0], np.ones(5, np.float32))
