"""A process may have fewer cores than its machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from onnx_trtcal.support.cores import cores

if TYPE_CHECKING:
    import pytest


def test_cores_set_aside_for_this_process_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 7}, raising=False)
    assert cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores() == 64
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1
