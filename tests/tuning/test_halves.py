"""Test data in two halves, told by content."""

from __future__ import annotations

import random

import pytest

from onnx_trtcal.errors import DataError
from onnx_trtcal.tuning.halves import halves_of

HASHES = [f"{number * 7919 % 1000:03}" for number in range(41)]


def test_every_sample_is_in_one_half_and_the_halves_are_as_large() -> None:
    found = halves_of(HASHES)
    assert sorted(found.choosing + found.reporting) == list(range(41))
    assert (len(found.choosing), len(found.reporting)) == (21, 20)


def test_the_order_of_the_data_does_not_matter() -> None:
    shuffled = random.Random(1).sample(HASHES, len(HASHES))
    one, other = halves_of(HASHES), halves_of(shuffled)
    assert {HASHES[at] for at in one.choosing} == {shuffled[at] for at in other.choosing}


def test_samples_that_are_alike_are_in_one_half() -> None:
    found = halves_of(["b", "a", "b", "c", "a"])
    assert (found.choosing, found.reporting) == ((1, 3, 4), (0, 2))


def test_one_sample_has_no_halves() -> None:
    with pytest.raises(DataError, match="3 samples, and not two that differ"):
        halves_of(["a", "a", "a"])
