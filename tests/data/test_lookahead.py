"""What was looked at is part of the next pass."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_trtcal.data.lookahead import Lookahead

if TYPE_CHECKING:
    from collections.abc import Iterator


@given(st.integers(0, 6), st.lists(st.integers(0, 4), max_size=3))
def test_looking_loses_nothing(count: int, looks: list[int]) -> None:
    started: list[int] = []

    def start() -> Iterator[int]:
        started.append(1)
        return iter(range(count))

    items = Lookahead(start)  # type: ignore[arg-type]
    seen = [item for most in looks for item in islice(items.look(), most)]
    assert seen == list(range(min(sum(looks), count)))
    assert list(items()) == list(range(count))
    assert len(started) == 1
    assert list(items()) == list(range(count)) and len(started) == 2


def test_an_error_waits_for_its_place() -> None:
    def start() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    items = Lookahead(start)  # type: ignore[arg-type]
    assert list(items.look()) == [1]
    got = items()
    assert next(got) == 1
    with pytest.raises(ValueError, match="broken"):
        next(got)
