"""The order of the settings, and what a cheap one saves; the settings come to what each test says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from onnx_trtcal.tuning import ladder

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx_trtcal.tuning.setting import Setting


class Scripted:
    """Stands in for Trials: the drop of each setting is given by a function."""

    met = False

    def __init__(self, drop: Callable[[Setting], float]) -> None:
        self.steps: list[Any] = []
        self.best: Any = None
        self._drop = drop

    def attempt_or_skip(self, setting: Setting) -> None:
        drop = self._drop(setting)
        step = SimpleNamespace(setting=setting, score=SimpleNamespace(rank=(drop, drop), noise=drop))
        self.steps.append(step)
        if self.best is None or step.score.rank < self.best.score.rank:
            self.best = step

    def step_of(self, setting: Setting) -> Any:
        return next((step for step in self.steps if step.setting == setting), None)

    def has_time_for(self, _method: str) -> bool:
        return True

    def say_what_follows(self) -> None:
        pass


def climbed(monkeypatch: pytest.MonkeyPatch, drop: Callable[[Setting], float]) -> list[str]:
    monkeypatch.setattr(ladder, "keep_layers", lambda _: None)
    trials: Any = Scripted(drop)
    ladder.climb(trials)
    return [step.setting.name for step in trials.steps]


METHODS = ["mse", "percentile", "entropy", "minmax", "auto"]
DROPS = {"mse": 0.3, "percentile": 0.2, "entropy": 0.5, "minmax": 0.6, "auto": 0.1}


def test_no_search_on_evened_out_channels_where_they_gain_a_cheap_method_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = climbed(monkeypatch, lambda setting: DROPS[setting.method])
    assert tried == [*METHODS, "percentile, equalize free", "auto, round", "percentile, equalize full"]


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        pytest.param(
            0.05,
            [
                "percentile, equalize free",
                "auto, equalize free",
                "auto, equalize free, round",
                "percentile, equalize full",
            ],
            id="both kinds of method are tried where channels gain",
        ),
        pytest.param(
            0.0,
            [
                "percentile, equalize free",
                "auto, round",
                "percentile, equalize full",
                "auto, equalize full, round",
                "percentile, equalize full, round",
            ],
            id="a Mul that gains more is rounded on",
        ),
        pytest.param(
            0.03,
            [
                "percentile, equalize free",
                "auto, round",
                "percentile, equalize full",
                "auto, equalize full, round",
                "percentile, equalize full, round",
            ],
            id="no search where channels gain less than a decibel",
        ),
    ],
)
def test_what_evened_out_channels_gain_decides(
    monkeypatch: pytest.MonkeyPatch, free: float, expected: list[str]
) -> None:
    gains = {"off": 0.0, "free": free, "full": 0.05}
    tried = climbed(
        monkeypatch, lambda setting: DROPS[setting.method] - gains[setting.equalize] - 0.01 * setting.round
    )
    assert tried == [*METHODS, *expected]
