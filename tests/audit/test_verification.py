"""What a placement promised against what the compiler made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import pytest
from helpers.compiler import needs_compiler, quantized, two_convs

from onnx_trtcal.audit.verification import verify
from onnx_trtcal.cli.verified import verification_fields
from onnx_trtcal.trt.compiler.options import CompileOptions

if TYPE_CHECKING:
    from pathlib import Path


@needs_compiler
@pytest.mark.slow
def test_a_quantized_layer_that_was_not_written_is_no_success(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(quantized(two_convs()), path)
    found = verify(path, {"n_a", "n_c"}, "tensorrt", CompileOptions())
    assert found.holds and len(found.int8) == 2 and not found.absent
    found = verify(path, {"n_a", "n_elsewhere"}, "tensorrt", CompileOptions())
    assert not found.holds and found.absent == ("n_elsewhere",)
    assert verification_fields(found)["absent"] == ["n_elsewhere"]
