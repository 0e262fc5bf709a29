"""The list of methods, and what every one of them owes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from helpers.method_shapes import SHAPES, activations, histogram, sample
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.errors import OptionError, StatisticsError
from onnx_trtcal.methods import METHODS, Chosen, Method, parse_method, solve_all, table
from onnx_trtcal.methods.mxnet import SignedHistogram
from onnx_trtcal.methods.registry import imported

UNSIGNED = sorted(name for name, kind in METHODS.items() if kind.needs != "second pass")


def collected(method: Method, values: np.ndarray, rule: str = "stable"):
    tensor = histogram(values, rule)
    if method.needs != "second pass":
        return tensor
    second = method.second_pass(tensor.amax)
    second.add(values)
    return second


def test_arguments_are_read_and_written_back() -> None:
    assert parse_method("percentile:99.9") == Method("percentile", 99.9)
    assert parse_method(" entropy ") == Method("entropy")
    for text in ("entropy", "percentile:99.99", "legacy:0.999999", "mse"):
        assert str(parse_method(text)) == text
    for name in METHODS:
        assert str(parse_method(str(parse_method(name)))) == str(parse_method(name))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("entrpy", "did you mean 'entropy'.*choose one of entropy, minmax"),
        ("", "is not a method"),
        ("mse:3", "takes no argument"),
        ("percentile:lots", "over 0 and up to 100"),
        ("percentile:", "write percentile:99.99"),
        ("percentile:101", "over 0 and up to 100"),
        ("percentile:nan", "over 0 and up to 100"),
        ("legacy:99", "over 0 and up to 1"),
        ("legacy:0", "over 0 and up to 1"),
    ],
)
def test_what_is_no_method_is_refused(text: str, says: str) -> None:
    with pytest.raises(OptionError, match=f"(?s){says}"):
        parse_method(text)


@pytest.mark.parametrize("name", METHODS)
def test_an_all_zero_or_empty_tensor_gets_zero(name: str) -> None:
    method = parse_method(name)
    for values in (np.zeros(10, np.float32), np.zeros(0, np.float32)):
        assert method.solve(collected(method, values)) == 0


@pytest.mark.parametrize("rule", ["stable", "tensorrt"])
@pytest.mark.parametrize("name", METHODS)
def test_one_value_is_kept(name: str, rule: str) -> None:
    method = parse_method(name)
    values = np.full(7, -2.5, np.float32)
    threshold = method.solve(collected(method, values, rule))
    # A histogram cannot tell where in its bin the value lies; entropy's half bin comes on top.
    assert 2.5 * (0.06 if name == "mxnet" else 0.999) <= threshold <= 2.5 * 1.07


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_scales_exactly_with_a_power_of_two(name: str, shape: str) -> None:
    method = parse_method(name)
    values = sample(shape, size=2000)
    threshold = method.solve(collected(method, values))
    for power in (-7, 6):
        scaled = method.solve(collected(method, values * np.float32(2.0**power)))
        assert scaled == threshold * 2.0**power


@settings(max_examples=60, deadline=None)
@given(activations(), st.sampled_from(UNSIGNED), st.sampled_from(["stable", "tensorrt"]))
def test_a_threshold_is_a_positive_float32_of_the_tensors_size(
    values: np.ndarray, name: str, rule: str
) -> None:
    tensor = histogram(values, rule)
    threshold = parse_method(name).solve(tensor)
    assert threshold == np.float32(threshold)
    assert 0 < threshold <= max(tensor.amax, tensor.coarse()[1] * 2048.5) * (1 + 1e-6)


@settings(max_examples=30, deadline=None)
@given(activations(), st.sampled_from(UNSIGNED), st.randoms())
def test_signs_and_order_do_not_matter(values: np.ndarray, name: str, random) -> None:
    method = parse_method(name)
    signs = np.array([random.choice([-1, 1]) for _ in values], np.float32)
    assert method.solve(histogram(values)) == method.solve(histogram((values * signs)[::-1]))


def test_minmax_is_exact() -> None:
    values = sample("laplace")
    assert parse_method("minmax").solve(histogram(values)) == np.abs(values).max()
    assert parse_method("minmax").solve(histogram(np.array([1e300, 2.0]))) == np.finfo(np.float32).max


def test_a_histogram_of_the_wrong_kind_is_refused_with_the_tensors_name() -> None:
    plain, signed = histogram(np.ones(3)), SignedHistogram(1.0)
    with pytest.raises(StatisticsError, match=r"mxnet solves what a second pass.*\n.*'conv1'"):
        solve_all({"conv1": plain}, {"conv1": Method("mxnet")})
    with pytest.raises(StatisticsError, match="entropy solves the histogram of a first pass"):
        Method("entropy").solve(signed)


def test_all_tensors_get_the_threshold_of_their_own_method_whatever_the_threads() -> None:
    tensors = {f"{shape}{k}": histogram(sample(shape, k, 3000)) for shape in SHAPES for k in range(3)}
    methods = {name: parse_method(UNSIGNED[k % len(UNSIGNED)]) for k, name in enumerate(tensors)}
    expected = {name: methods[name].solve(tensor) for name, tensor in tensors.items()}
    for threads in (1, 4, None):
        got = solve_all(tensors, methods, threads)
        assert got == expected and list(got) == list(tensors)
    assert solve_all({}, methods) == {}


def test_the_list_costs_no_import_of_numba() -> None:
    code = "import sys, onnx_trtcal.methods as m; m.parse_method('mse'); sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_registered_paths_exist() -> None:
    for each in METHODS.values():
        assert callable(imported(each.solver))
        assert (each.needs == "second pass") == bool(each.second_pass)
        assert (each.needs == "model") == bool(each.fallback)
        assert not each.fallback or METHODS[each.fallback].needs == "histogram"


def test_methods_that_run_the_model_solve_a_histogram_by_their_fallback() -> None:
    tensor = histogram(sample("laplace"))
    for method in (parse_method(name) for name, each in METHODS.items() if each.needs == "model"):
        assert method.fallback is not None
        assert method.solve(tensor) == method.fallback.solve(tensor)
        assert method.label() == f"{method}:{method.fallback}"
        assert method.label(Chosen(1.0, "amax*0.5")) == f"{method}:amax*0.5"
        assert method.label(Chosen(1.0, "")) == str(method)
    assert parse_method("percentile:99.9").label() == "percentile:99.9"


def test_the_table_has_every_method_with_its_argument() -> None:
    rows = table()
    assert [row.name for row in rows] == list(METHODS)
    assert {row.name: row.argument for row in rows if row.argument} == {
        "percentile": "PERCENT",
        "legacy": "QUANTILE",
    }
    assert all(row.description for row in rows)
    assert {row.name for row in rows if row.from_statistics != "yes"} == {"mxnet", "auto", "easyquant"}
    assert {row.name for row in rows if "mse stands in" in row.from_statistics} == {"auto", "easyquant"}
