from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import toys
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal import Options
from onnx_trtcal.graph.probe import probe
from onnx_trtcal.prepared import prepare
from onnx_trtcal.run import blocked_session
from onnx_trtcal.run.provider import Provider
from onnx_trtcal.run.session import Session
from onnx_trtcal.support import temporary_folder
from onnx_trtcal.support.channel_blocks import ChannelBlocks

if TYPE_CHECKING:
    import onnx

CPU = Provider("cpu", "")


def network(channels: list[int], ops: list[str], seed: int = 0) -> onnx.ModelProto:
    """Convolutions with these channels, an op behind each, and a sum of the last two where they fit."""
    random = np.random.default_rng(seed)
    nodes, weights, last, width = [], {}, "x", 3
    for place, (count, op) in enumerate(zip(channels, ops, strict=False)):
        weights[f"w{place}"] = random.normal(size=(count, width, 3, 3)).astype(np.float32)
        weights[f"b{place}"] = random.normal(size=count).astype(np.float32)
        nodes.append(
            toys.node("Conv", f"{last} w{place} b{place}", f"c{place}", pads=[1] * 4, kernel_shape=[3, 3])
        )
        nodes.append(toys.node(op, f"c{place}", f"a{place}", **_attributes(op)))
        if width == count and op != "MaxPool" and place:
            nodes.append(toys.node("Add", f"a{place} {last}", f"s{place}"))
            last = f"s{place}"
        else:
            last = f"a{place}"
        width = count
    return toys.model(nodes, {"x": ["n", 3, 12, 12]}, [last], weights)


def _attributes(op: str) -> dict[str, object]:
    return {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1] * 4} if op == "MaxPool" else {}


def sessions(model: onnx.ModelProto) -> tuple[Session, Session]:
    prepared = prepare(model, Options(provider="cpu", observe="all"))
    probed = probe(prepared.observed, prepared.model, prepared.plan.observed)
    return Session(probed, CPU, 1), Session(probed, CPU, 1, any_order=True)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from([1, 3, 5, 8, 12, 13, 16, 17, 20, 24, 32, 40]), min_size=1, max_size=5),
    st.lists(st.sampled_from(["Relu", "Sigmoid", "Tanh", "MaxPool", "Neg"]), min_size=5, max_size=5),
    st.integers(1, 3),
)
def test_values_are_those_of_the_plain_session_bit_for_bit(
    channels: list[int], ops: list[str], rows: int
) -> None:
    plain, blocked = sessions(network(channels, ops, sum(channels)))
    feeds = {"x": np.random.default_rng(rows).normal(size=(rows, 3, 12, 12)).astype(np.float32)}
    wanted, got = plain.run(feeds, "s"), blocked.run_to_count(feeds, "s")
    for name, one, other in zip(plain.outputs, wanted, got, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype, name
        if isinstance(other, ChannelBlocks):
            assert np.array_equal(one.view(np.int32), other.plain().view(np.int32)), name
        else:
            bits = [np.sort(each.reshape(rows, -1).view(np.int32), axis=1) for each in (one, other)]
            assert np.array_equal(*bits), name


def test_what_is_left_of_copies_is_less() -> None:
    plain, blocked = sessions(network([16, 24, 20], ["Relu"] * 3))
    feeds = {"x": np.ones((2, 3, 12, 12), np.float32)}
    given_out = dict(zip(blocked.outputs, blocked.run_to_count(feeds, "s"), strict=True))
    order = dict(zip(plain.outputs, plain.run(feeds, "s"), strict=True))
    if blocked._blocked is None:
        pytest.skip("ONNX Runtime has no blocks of channels on this processor")
    assert not np.array_equal(given_out["a0"], order["a0"])
    assert isinstance(given_out["a2"], ChannelBlocks)
    # What `run` gives has no channels that only fill up.
    assert all(
        array.shape == order[name].shape
        for name, array in zip(blocked.outputs, blocked.run(feeds, "s"), strict=True)
    )


def test_no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    _, blocked = sessions(network([16, 16], ["Relu", "Relu"]))
    blocked.run({"x": np.ones((1, 3, 12, 12), np.float32)}, "s")
    del blocked
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_what_a_killed_process_leaves_goes_with_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    script = (
        "import os, signal\n"
        "from onnx_trtcal.run import blocked_session\n"
        "from test_blocked_session import network, sessions\n"
        "blocked_session.expose_blocks = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "sessions(network([16], ['Relu']))\n"
    )
    paths = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": paths}
    killed = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list(tmp_path.glob("onnx_trtcal*"))
    monkeypatch.setattr(temporary_folder, "_SWEPT", set())
    sessions(network([16], ["Relu"]))
    assert not list(tmp_path.glob("onnx_trtcal*"))


@pytest.mark.parametrize("fault", ["room", "cut short", "no folder", "not optimised"])
def test_activations_are_copied_where_the_optimised_model_cannot_be_had(
    fault: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if fault == "room":
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    elif fault == "no folder":
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    elif fault == "cut short":
        plain = blocked_session.expose_blocks

        def cut(model: onnx.ModelProto) -> object:
            monkeypatch.setattr(
                blocked_session,
                "location",
                lambda _: SimpleNamespace(file="weights", offset=0, length=1 << 40),
            )
            return plain(model)

        monkeypatch.setattr(blocked_session, "expose_blocks", cut)
    else:

        def failing(*_: object) -> object:
            raise RuntimeError("compiled nodes cannot be serialized")

        monkeypatch.setattr(blocked_session, "open_session", failing)
    plain_one, blocked = sessions(network([16, 64, 16], ["Relu", "Relu", "Relu"]))
    assert blocked._blocked is None
    feeds = {"x": np.ones((1, 3, 12, 12), np.float32)}
    assert all(
        np.array_equal(one, other)
        for one, other in zip(plain_one.run(feeds, "s"), blocked.run(feeds, "s"), strict=True)
    )
