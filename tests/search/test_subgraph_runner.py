from __future__ import annotations

import numpy as np
import pytest

from onnx_trtcal.search.subgraph_runner import quantized


def test_quantized_is_the_formula() -> None:
    values = np.array([-3.0, -1.26, 0.0, 0.004, 0.5, 1.27, 9.0], np.float32)
    found = quantized(values, 1.27)
    slow = [0.01 * max(-127, min(127, round(float(v) / 0.01))) for v in values]
    assert found == pytest.approx(slow, abs=1e-6)
    assert found.dtype == np.float32
