from __future__ import annotations

import pytest

from onnx_trtcal.support.wording import many, with_article


@pytest.mark.parametrize(("count", "text"), [(0, "0 samples"), (1, "1 sample"), (2, "2 samples")])
def test_a_noun_agrees_with_its_number(count: int, text: str) -> None:
    assert many(count, "sample") == text


@pytest.mark.parametrize("text", ["an object", "an Image", "a tuple", "a DataFrame", "a "])
def test_the_article_agrees_with_its_noun(text: str) -> None:
    assert with_article(text.split(" ", 1)[1]) == text
