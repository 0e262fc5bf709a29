from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from onnx_trtcal.trt.sidecar import merged_sidecar, read_sidecar, renamed_sidecar
from onnx_trtcal.trt.sidecar_check import flaw_of

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {
    "data": {"samples": 3},
    "shapes": {"x": {"min": [1, 3], "max": [4, 3], "batch_axis": 0}},
    "tensors": {"x": {"scale": 0.5, "source": "x"}},
    "skipped": {"y": "an integer tensor"},
}


def test_what_is_written_has_no_flaw() -> None:
    assert flaw_of({}) == flaw_of(GOOD) == flaw_of({**GOOD, "later": [1]}) == ""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tensors", []),
        ("tensors", {"x": 1}),
        ("tensors", {"x": {"source": []}}),
        ("skipped", {"y": None}),
        ("skipped", "y"),
        ("model", 1),
        ("shapes", {"x": "ab"}),
        ("shapes", {"x": {"min": [1]}}),
        ("shapes", {"x": {"min": [1], "max": [1, 2]}}),
        ("shapes", {"x": {"min": [1], "max": ["2"]}}),
        ("shapes", {"x": {"min": [-1], "max": [2]}}),
        ("shapes", {"x": {"min": [1], "max": [1e999]}}),
        ("data", {"samples": "three"}),
        ("data", {"samples": 2**70}),
    ],
)
def test_a_forged_sidecar_is_ignored_and_said(key: str, value: Any, tmp_path: Path) -> None:
    cache = tmp_path / "a.cache"
    cache.write_bytes(b"TRT-100300-EntropyCalibration2\nx: 3f000000\n")
    content = {**GOOD, "cache": {"sha256": hashlib.sha256(cache.read_bytes()).hexdigest()}, key: value}
    (tmp_path / "a.cache.json").write_text(json.dumps(content))
    read = read_sidecar(cache)
    assert not read.content and "is damaged and is ignored" in read.problem
    assert (
        merged_sidecar([read, read], [{"x": 1.0}] * 2, {"x": 1.0}) == renamed_sidecar(read, {"x": "y"}) == {}
    )


@pytest.mark.parametrize("text", ["[" * 100_000, '{"skipped": {"\\ud800": "half a character"}}'])
def test_what_could_not_be_written_again_is_ignored(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.cache").write_bytes(b"TRT-100300-EntropyCalibration2\nx: 3f000000\n")
    (tmp_path / "a.cache.json").write_text(text)
    assert "is ignored" in read_sidecar(tmp_path / "a.cache").problem
