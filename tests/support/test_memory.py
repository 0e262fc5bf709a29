from __future__ import annotations

from onnx_trtcal.support.memory import available_memory


def test_available_memory_is_a_plausible_number() -> None:
    size = available_memory()
    assert size is None or 1 << 20 < size < 1 << 50
