from __future__ import annotations

import pytest
from helpers.small import network

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.read import read_model


@pytest.mark.parametrize("name", [b"relu", b"Relu", b"x"])
def test_a_name_that_is_not_utf8_is_an_error(tmp_path, name: bytes) -> None:
    content = network().SerializeToString()
    assert name in content
    path = tmp_path / "model.onnx"
    path.write_bytes(content.replace(name, b"\xff" * len(name)))
    with pytest.raises(ModelError, match="is not UTF-8 text"):
        read_model(path)


def test_names_in_any_script_pass(tmp_path) -> None:
    model = network()
    model.graph.node[0].name = "畳み込み"
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert read_model(tmp_path / "model.onnx").proto.graph.node[0].name == "畳み込み"
