"""Weights beside the model: what is said of those that cannot be read, and that it says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from onnx import TensorProto

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.external import Location, map_values, reference

if TYPE_CHECKING:
    from pathlib import Path

# Packed types are read, others are mapped.
TYPES = {"mapped": TensorProto.FLOAT, "packed": TensorProto.INT4}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    ("fault", "what", "fix"),
    [
        ("missing", "the model's weights are missing: w.bin", "put that file into"),
        ("empty", "the model's weights are cut short", "copy or download the file again"),
        ("short", "the model's weights are cut short", "copy or download the file again"),
        ("a folder", "cannot read the weights: Is a directory", "check that you may read the file"),
    ],
)
def test_weights_that_cannot_be_read(tmp_path: Path, kind: str, fault: str, what: str, fix: str) -> None:
    path = tmp_path / "weights" / "w.bin"
    path.parent.mkdir()
    if fault == "a folder":
        path.mkdir()
    elif fault != "missing":
        path.write_bytes(b"" if fault == "empty" else bytes(9))
    with pytest.raises(ModelError) as caught:
        map_values(reference("w", TYPES[kind], [4, 4], Location("weights/w.bin", 8, 64)), tmp_path)
    assert caught.value.what == what
    assert caught.value.where == f"{path}, tensor 'w'"
    assert caught.value.fix.startswith(fix)
    if fault == "missing":
        assert str(path.parent) in caught.value.fix
