"""Concats of branches that one scale cannot serve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.qdq_toys import conv, fake_quant, fake_quant_channels, float_arithmetic, pairs, placed, weights
from hypothesis import given
from hypothesis import strategies as st

from onnx_trtcal import Options, lint, quantize
from onnx_trtcal.graph.flow import Flow
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.place.mixed_concats import APART, MixedConcat, mixed_concats
from onnx_trtcal.trt.cache import Cache

HEADER = "TRT-100300-EntropyCalibration2"
MIXED = MixedConcat("c", "c", "b", "a", 100.0)


def joined(*, tail: str = "layer", nested: bool = False) -> onnx.ModelProto:
    """Two branches that have layers of their own behind them, joined for a layer or for an output."""
    nodes = [
        conv("x", "a", "w0"),
        conv("x", "b", "w1"),
        conv("a", "y", "w2"),
        conv("b", "z", "w3"),
        toys.node("Concat", "a b", "c", axis=1, name="join"),
    ]
    outputs = ["y", "z"]
    constants = {name: weights(16, 16, 3, 3, seed=seed) for seed, name in enumerate(("w0", "w1", "w2", "w3"))}
    if tail == "layer" and not nested:
        nodes.append(conv("c", "u", "wide"))
        constants["wide"] = weights(16, 32, 3, 3, seed=9)
        outputs.append("u")
    elif nested:
        nodes += [toys.node("Concat", "c a", "d", axis=1), conv("d", "u", "wide")]
        constants["wide"] = weights(16, 48, 3, 3, seed=9)
        outputs.append("u")
    elif tail == "decoding":
        nodes += [toys.node("Sigmoid", "c", "s"), toys.node("Mul", "s c", "u")]
        outputs.append("u")
    elif tail == "pool":
        nodes += [
            toys.node("AveragePool", "c", "p", kernel_shape=[6, 6]),
            toys.node("Softmax", "p", "u", axis=1),
        ]
        outputs.append("u")
    elif tail == "both":
        nodes += [conv("c", "u", "wide"), toys.node("Sigmoid", "c", "s"), toys.node("Exp", "s", "v")]
        constants["wide"] = weights(16, 32, 3, 3, seed=9)
        outputs += ["u", "v"]
    return toys.model(nodes, {"x": ["N", 16, 6, 6]}, outputs, constants)


def flow_of(model: onnx.ModelProto) -> Flow:
    return Flow(import_graph(load(model)))


SCALES = {"x": 0.05, "a": 0.4, "b": 0.004, "c": 0.4, "d": 0.4}


class TestWhichAre:
    @pytest.mark.parametrize(("factor", "found"), [(1.01, True), (0.99, False)])
    def test_beyond_thirty_two_times(self, factor: float, found: bool) -> None:
        magnitudes = {"a": 1.0, "b": 1 / (APART * factor), "c": 1.0}
        answer = mixed_concats(flow_of(joined()), magnitudes)
        assert [(each.tensor, each.node, each.smallest, each.largest) for each in answer] == [
            ("c", "join", "b", "a")
        ] * found

    @given(st.floats(1e-30, 1e30), st.floats(1e-6, 1e6))
    def test_units_do_not_matter(self, unit: float, ratio: float) -> None:
        flow = flow_of(joined())
        one = mixed_concats(flow, {"a": 1.0, "b": ratio, "c": 1.0})
        other = mixed_concats(flow, {"a": unit, "b": unit * ratio, "c": unit})
        # At the very bound, rounding decides.
        if not np.isclose(max(ratio, 1 / ratio), APART):
            assert [each.smallest for each in one] == [each.smallest for each in other]

    @pytest.mark.parametrize("value", [0.0, None])
    def test_zeros_and_unknown_ranges_do_not_count(self, value: float | None) -> None:
        magnitudes = {"a": 1.0, "b": value, "c": 1.0}
        known = {name: each for name, each in magnitudes.items() if each is not None}
        assert mixed_concats(flow_of(joined()), known) == ()

    def test_a_branch_whose_values_were_only_moved_has_their_range(self) -> None:
        nodes = [
            toys.node("Relu", "x", "r"),
            toys.node("Sigmoid", "x", "s"),
            toys.node("Transpose", "s", "t", perm=[0, 2, 1, 3]),
            toys.node("Transpose", "t", "b", perm=[0, 2, 1, 3]),
            toys.node("Concat", "r b", "c", axis=1),
        ]
        flow = flow_of(toys.model(nodes, {"x": ["N", 4, 6, 6]}, ["c"]))
        (found,) = mixed_concats(flow, {"r": 100.0, "s": 1.0, "c": 100.0})
        assert (found.smallest, found.ratio) == ("b", 100.0)

    @pytest.mark.parametrize(("values", "found"), [([500.0, 1.0], True), ([-500.0], True), ([0.0], False)])
    def test_a_constant_branch_has_a_range_too(self, values: list[float], found: bool) -> None:
        nodes = [toys.node("Relu", "x", "r"), toys.node("Concat", "r k", "c", axis=0)]
        model = toys.model(nodes, {"x": [2]}, ["c"], {"k": np.array(values, np.float32)})
        assert bool(mixed_concats(flow_of(model), {"r": 1.0, "c": 500.0})) == found

    def test_concats_of_shapes_are_none(self) -> None:
        nodes = [
            toys.node("Shape", "x", "s"),
            toys.node("Concat", "s k", "shape", axis=0),
            toys.node("Expand", "x shape", "y"),
        ]
        model = toys.model(nodes, {"x": ["N"]}, ["y"], {"k": np.array([999])})
        assert mixed_concats(flow_of(model), {"x": 1.0, "y": 1.0}) == ()


class TestPlacement:
    def test_branches_keep_their_own_scales_and_the_layer_reads_the_concats(self) -> None:
        placement = placed(joined(), mixed=(MIXED,))
        assert placement.ties == () and placement.mixed == (MIXED,)
        assert placement.mixed_readers == {"c": ("u",)}
        assert pairs(placement) == pairs(placed(joined()))
        assert placed(joined()).ties

    def test_without_a_layer_behind_it_there_is_no_pair_on_it(self) -> None:
        for tail in ("decoding", "pool"):
            assert {"c", "s", "p"}.isdisjoint(pairs(placed(joined(tail=tail), mixed=(MIXED,))))

    def test_what_decodes_it_reads_it_in_floating_point_beside_a_layer(self) -> None:
        model = joined(tail="both")
        assert pairs(placed(model))["c"] == [("u", 0), ("s", 0)]
        assert pairs(placed(model, mixed=(MIXED,)))["c"] == [("u", 0)]

    def test_an_average_of_it_is_taken_in_floating_point(self) -> None:
        nodes = [
            conv("x", "a", "w0"),
            conv("x", "b", "w1"),
            toys.node("Concat", "a b", "c", axis=1),
            toys.node("AveragePool", "c", "p", kernel_shape=[6, 6]),
            toys.node("Softmax", "p", "u", axis=1),
        ]
        constants = {"w0": weights(16, 16, 3, 3), "w1": weights(16, 16, 3, 3, seed=1)}
        model = toys.model(nodes, {"x": ["N", 16, 6, 6]}, ["u"], constants)
        assert "c" in pairs(placed(model)) and "c" not in pairs(placed(model, mixed=(MIXED,)))

    def test_an_inner_one_is_not_tied_to_an_outer_one_that_is_not_mixed(self) -> None:
        model = joined(nested=True)
        (tie,) = placed(model).ties
        assert set(tie.tensors) == {"a", "b", "d"}
        (tie,) = placed(model, mixed=(MIXED,)).ties
        assert set(tie.tensors) == {"a", "d"} and tie.leaders == ("d",)

    def test_an_outer_one_ties_nothing(self) -> None:
        assert placed(joined(nested=True), mixed=(replace(MIXED, tensor="d"),)).ties == ()


class TestModel:
    def test_each_pair_holds_its_own_scale_and_computes_what_that_means(self) -> None:
        model = joined()
        made = quantize(model, Cache(HEADER, SCALES))
        assert made.quantized.inserted.scales == {
            name: float(np.float32(SCALES[name])) for name in ("x", "a", "b", "c")
        }
        x = np.random.default_rng(0).normal(0, 2, (1, 16, 6, 6)).astype(np.float32)
        proto = made.proto()
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in "ab")
        a, b, z, u = float_arithmetic(proto, {"x": x}, ["a", "b", "z", "u"])

        def layer(data: np.ndarray, scale: float, weight: np.ndarray) -> np.ndarray:
            (y,) = toys.run(
                toys.model([conv("d", "y", "w")], {"d": list(data.shape)}, ["y"], {"w": weight}),
                {"d": fake_quant(data, np.float32(scale))},
            )
            return y

        w3 = fake_quant_channels(weights(16, 16, 3, 3, seed=3), 0)
        wide = fake_quant_channels(weights(16, 32, 3, 3, seed=9), 0)
        np.testing.assert_allclose(z, layer(b, SCALES["b"], w3), rtol=1e-4, atol=1e-4)
        both = np.concatenate([a, b], axis=1)
        np.testing.assert_allclose(u, layer(both, SCALES["c"], wide), rtol=1e-3, atol=1e-3)

    def test_lint_has_nothing_against_it(self) -> None:
        for tail in ("layer", "decoding", "both"):
            assert lint(quantize(joined(tail=tail), Cache(HEADER, SCALES)).proto()) == ()

    def test_close_branches_share_the_concats_scale_as_before(self) -> None:
        scales = {**SCALES, "b": 0.1}
        made = quantize(joined(), Cache(HEADER, scales))
        assert {made.quantized.inserted.scales[name] for name in "abc"} == {float(np.float32(0.4))}
        apart = quantize(joined(), Cache(HEADER, scales), qdq=QdqOptions(share_concat=False))
        assert apart.quantized.inserted.scales["b"] == float(np.float32(0.1))

    def test_scales_tied_on_purpose_stay_tied(self) -> None:
        random = np.random.default_rng(1)
        model = joined()
        for tensor in model.graph.initializer:
            if tensor.name == "w1":
                small = (weights(16, 16, 3, 3, seed=1) * 1e-3).astype(np.float32)
                tensor.CopyFrom(toys.model([], {"x": [1]}, ["x"], {"w1": small}).graph.initializer[0])
        data = [random.normal(size=(16, 6, 6)).astype(np.float32) for _ in range(3)]
        options = Options(provider="cpu", method="minmax")
        assert quantize(model, data, options).quantized.placement.mixed
        tied = quantize(model, data, replace(options, tie_concat=True)).quantized
        assert tied.placement.mixed == () and tied.inserted.scales["a"] == tied.inserted.scales["b"]
