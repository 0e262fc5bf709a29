"""Numbers as the page writes them."""

from __future__ import annotations

import math

from onnx_trtcal.report.page.words import change, decibels, percent, size, value


def test_decibels() -> None:
    texts = [decibels(each) for each in (12.34, -3.21, -0.01, math.inf, -math.inf, math.nan, None)]
    assert texts == ["12.3 dB", "−3.2 dB", "0.0 dB", "exact", "nothing left", "–", "–"]


def test_shares_can_be_told_from_zero() -> None:
    assert [percent(each) for each in (0.0, 3e-6, 0.0123, 0.5, 1.0)] == [
        "0",
        "<0.01 %",
        "1.23 %",
        "50.0 %",
        "100.0 %",
    ]


def test_changes() -> None:
    assert [change(each) for each in (1.0, 1.0001, 1.25, 0.9, 3.14159)] == [
        "same",
        "same",
        "+25.0 %",
        "−10.0 %",
        "×3.14",
    ]


def test_values_and_sizes() -> None:
    assert [value(None), value(0.000123456)] == ["–", "0.00012346"]
    assert [size(each) for each in (12, 1234, 5_000_000)] == ["12 bytes", "1.23 kB", "5 MB"]
