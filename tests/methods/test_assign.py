from __future__ import annotations

import pytest

from onnx_trtcal.errors import OptionError
from onnx_trtcal.methods.assign import assign_methods
from onnx_trtcal.options import Options

OPS = {"x": "Input", "conv1": "Conv", "conv2": "Conv", "p[0]": "Softmax", "p0": "Softmax", "Conv": "Relu"}


def assigned(*rules: str, method: str = "entropy") -> dict[str, str]:
    return {t: str(m) for t, m in assign_methods(Options(method=method, method_for=rules), OPS).items()}


def changed(*rules: str) -> set[str]:
    return {tensor for tensor, method in assigned(*rules).items() if method == "minmax"}


def test_without_rules_every_tensor_gets_the_method() -> None:
    assert assigned(method="percentile:99.5") == dict.fromkeys(OPS, "percentile:99.5")


@pytest.mark.parametrize(
    ("what", "tensors"),
    [
        ("Softmax", {"p[0]", "p0"}),
        ("Input", {"x"}),
        ("conv?", {"conv1", "conv2"}),
        ("conv1", {"conv1"}),
        ("p[0]", {"p[0]"}),  # a name before a glob
        ("Conv", {"conv1", "conv2"}),  # an op type before a name
        ("[C]onv", {"Conv"}),
        ("*", set(OPS)),
    ],
)
def test_what_a_rule_matches(what: str, tensors: set[str]) -> None:
    assert changed(f"{what}=minmax") == tensors


def test_the_last_rule_that_matches_wins() -> None:
    assert changed("Conv=minmax", "conv1=mse") == {"conv2"}
    assert changed("conv1=mse", "Conv=minmax") == {"conv1", "conv2"}


def test_a_name_may_hold_the_sign_that_separates() -> None:
    options = Options(method_for=("a=b=mse",))
    assert str(assign_methods(options, {"a=b": "Relu"})["a=b"]) == "mse"


@pytest.mark.parametrize("rule", ["minmax", "=minmax", "conv1=", "conv1=nope", "conv1=percentile:0"])
def test_a_rule_that_means_nothing_is_refused_even_before_the_model_is_known(rule: str) -> None:
    with pytest.raises(OptionError):
        assign_methods(Options(method_for=(rule,)), {})


def test_a_rule_that_matches_nothing_is_refused_with_a_guess() -> None:
    with pytest.raises(OptionError, match="no observed tensor matches 'Sotfmax'") as refusal:
        assigned("Sotfmax=minmax")
    assert "'Softmax'" in refusal.value.fix
    with pytest.raises(OptionError) as refusal:
        assigned("gizmo*=minmax")
    assert "observed are outputs of Conv, Input, Relu, Softmax" in refusal.value.fix
