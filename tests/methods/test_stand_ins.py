"""What solves in place of a method that runs the model."""

from __future__ import annotations

import pytest

from onnx_trtcal import Options
from onnx_trtcal.errors import OptionError
from onnx_trtcal.methods.stand_ins import without_search


def test_methods_that_run_the_model_give_way_and_others_stay() -> None:
    rules = ("Softmax=minmax", "*=x=easyquant", "y=percentile:99.9")
    found = without_search(Options(method="auto", method_for=rules, steps=5, batch_size=3))
    assert found.method == "mse"
    assert found.method_for == ("Softmax=minmax", "*=x=mse", "y=percentile:99.9")
    assert (found.steps, found.batch_size) == (None, 3)


def test_a_method_that_does_not_exist() -> None:
    with pytest.raises(OptionError):
        without_search(Options(method="nope"))
