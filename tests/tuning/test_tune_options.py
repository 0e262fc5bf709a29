"""What tune can be asked for."""

from __future__ import annotations

from typing import Any

import pytest

from onnx_trtcal import TuneOptions
from onnx_trtcal.errors import OptionError
from onnx_trtcal.tuning.options import parse_drop, parse_share


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_drop": -0.1}, "max_drop is -0.1"),
        ({"max_drop": float("nan")}, "max_drop is nan"),
        ({"max_drop": 1.0}, "the whole figure is 1"),
        ({"max_float": 1.5}, "max_float is 1.5"),
        ({"budget": 0.0}, "budget is 0.0"),
        ({"eval_samples": 0}, "eval_samples is 0"),
        ({"max_layers": -1}, "max_layers is -1"),
        ({"lower_is_better": True}, "a metric of yours"),
        ({"source": "data/"}, "source is given"),
    ],
)
def test_what_means_nothing_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        TuneOptions(**fields)


def test_a_metric_has_a_unit_of_its_own() -> None:
    assert TuneOptions(metric="m.py:psnr", max_drop=1.5).max_drop == 1.5


def test_drops_and_shares_in_words() -> None:
    assert parse_drop("1%") == parse_drop("0.01") == 0.01
    assert parse_share("50%") == 0.5
    with pytest.raises(OptionError, match="'a lot' is not a drop"):
        parse_drop("a lot")
    with pytest.raises(OptionError, match="'all' is not a share"):
        parse_share("all")
