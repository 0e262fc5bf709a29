"""What a search found is taken where other samples do not speak against it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from onnx_trtcal.search.referee import Contender, Referee
from onnx_trtcal.search.steps import Journal, Steps

if TYPE_CHECKING:
    from collections.abc import Sequence

# Error of each assignment on each of 8 samples, of which the last two are fresh.
ERRORS = {"searched": [1.0] * 6 + [3.0, 3.0], "method": [2.0] * 8}


class Meter:
    """An output of one block, whose error is told by the assignment's name."""

    def signal(self, samples: Sequence[int]) -> np.ndarray:
        return np.full((len(samples), 1), 10.0)

    def noise(self, _network: object, names: Sequence[str], samples: Sequence[int], _feeds: object) -> Any:
        return np.array([[[ERRORS[name][at]] for at in samples] for name in names])


def referee(compared: int) -> tuple[Referee, dict[str, Contender], Steps]:
    steps = Steps(1000.0)
    names: Any = SimpleNamespace(scales=lambda name: name)
    network: Any = None
    meter: Any = Meter()
    made = Referee(network, meter, names, [{}] * 8, Journal(None, ""), steps, compared=compared)
    found: dict[str, Any] = {name: Contender(name, name, np.ones(1), np.ones(1)) for name in ERRORS}  # type: ignore[arg-type]
    return made, found, steps


@pytest.mark.parametrize(
    ("best", "beginning", "taken"), [("searched", "method", False), ("method", "searched", True)]
)
def test_samples_that_nothing_was_searched_on_have_the_last_word(
    best: str, beginning: str, taken: bool
) -> None:
    made, found, steps = referee(6)
    assert [*made.fit, *made.held_back] == [0, 2, 4, 1, 3, 5]
    assert made.confirmed(found[best], found[beginning]) == taken
    assert steps.used == made.confirming_cost == 4


def test_without_other_samples_the_search_has_it() -> None:
    made, found, steps = referee(8)
    assert made.confirmed(found["searched"], found["method"])
    assert steps.used == made.confirming_cost == 0
