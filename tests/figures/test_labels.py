"""Labels that fit."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from onnx_trtcal.figures.labels import shortened, text_width


def one_by_one(words: str, width: float) -> str:
    """The longest pair of ends that fits."""
    for keep in range(len(words) - 1, 1, -1):
        cut = f"{words[: (keep + 1) // 2]}…{words[len(words) - keep // 2 :]}"
        if text_width(cut) <= width:
            return cut
    return "…"


@given(st.text("il/.mW@aZ_0日", max_size=80), st.floats(0, 400))
def test_as_much_is_kept_as_fits(words: str, width: float) -> None:
    expected = words if text_width(words) <= width else one_by_one(words, width)
    assert shortened(words, width) == expected


def test_a_name_of_a_hundred_thousand_characters_takes_no_time() -> None:
    started = time.process_time()
    cut = shortened("block/" * 20_000 + "end", 300)
    assert cut.startswith("block/") and cut.endswith("/end") and text_width(cut) <= 300
    assert time.process_time() - started < 1.0
