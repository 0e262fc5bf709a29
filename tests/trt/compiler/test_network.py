"""What is read off a network as the worker writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from helpers.compiler import needs_compiler, two_convs

from onnx_trtcal.errors import ModelError
from onnx_trtcal.trt.compiler import network
from onnx_trtcal.trt.compiler.build import Build

if TYPE_CHECKING:
    from pathlib import Path

LAYERS = [
    ["w", "CONSTANT", [], [["w_output", "FLOAT"]]],
    ["n", "CONSTANT", [], [["n_output", "INT64"]]],
    ["ONNXTRT_Broadcast", "SHUFFLE", ["w_output", "n_output"], [["ONNXTRT_Broadcast_output", "FLOAT"]]],
    ["add", "ELEMENTWISE", ["x", "ONNXTRT_Broadcast_output"], [["sum", "FLOAT"]]],
    ["turn", "SHUFFLE", ["sum"], [["turned", "HALF"]]],
    ["count", "SHAPE", ["turned"], [["size", "INT64"]]],
    ["each", "ITERATOR", ["turned"], [["row", "FLOAT"]]],
    ["last", "RECURRENCE", ["w_output", "step"], [["state", "FLOAT"]]],
    ["step", "ELEMENTWISE", ["row", "state"], [["step", "FLOAT"]]],
    ["all", "LOOP_OUTPUT", ["step", "size"], [["y", "FLOAT"]]],
    ["more", "UNARY", ["y"], [["z", "FLOAT"]]],
]


def parsed(**fields: object) -> Build:
    return Build("1.7", True, (), (), None, 0.0, (), **fields)


def test_float_tensors_and_what_they_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = {"inputs": [["x", "FLOAT"], ["mask", "BOOL"]], "layers": LAYERS}
    monkeypatch.setattr(network, "parse", lambda *_: parsed(network=made))
    found = network.read_network(tmp_path / "m.onnx")
    assert list(found.tensors) == [
        "x", "w_output", "ONNXTRT_Broadcast_output", "sum", "turned", "row", "state", "step", "y", "z",
    ]  # fmt: skip
    assert found.copies == {"ONNXTRT_Broadcast_output": "w_output", "turned": "sum"}
    constants = {name for name, each in found.tensors.items() if each.constant}
    assert constants == {"w_output", "ONNXTRT_Broadcast_output"}
    assert {name for name, each in found.tensors.items() if each.inside} == {"row", "state", "step"}


def test_a_crash_is_an_error_of_the_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(network, "parse", lambda *_: parsed(crash="it ended with SIGSEGV"))
    with pytest.raises(ModelError, match="SIGSEGV"):
        network.read_network(tmp_path / "m.onnx")


@needs_compiler
@pytest.mark.slow
def test_the_network_of_a_model() -> None:
    found = network.read_network(two_convs())
    assert {name: each.kind for name, each in found.tensors.items()} == {
        "x": "INPUT", "a": "CONVOLUTION", "r": "ACTIVATION", "c": "CONVOLUTION",
    }  # fmt: skip
    assert not found.copies and found.version.startswith("1.")
