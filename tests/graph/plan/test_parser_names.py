"""The names that NVIDIA's parser gives, against the parser itself, and the scales under them against NumPy."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.compiler import needs_compiler, values
from onnx import TensorProto, helper, numpy_helper

from onnx_trtcal import Options, calibrate, quantize, solve
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.plan.parser_names import is_helper, parser_tensors
from onnx_trtcal.trt.compiler.network import read_network

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OWN = Options(provider="cpu", method="minmax", observe="all")
STATS = {
    "scale": values(5, seed=1, spread=1.0),
    "shift": values(5, seed=2),
    "mean": values(5, seed=3),
    "var": np.abs(values(5, seed=4)) + np.float32(0.5),
}
W, B = values(6, 5, seed=5), values(5, seed=6, spread=2.0)


def one(
    op: str,
    shape: tuple[int, ...],
    constants: Mapping[str, np.ndarray] | None = None,
    *,
    name: str = "layer",
    opset: int = 17,
    **attributes: object,
) -> onnx.ModelProto:
    """A model of one node that reads `x` and all the constants."""
    constants = constants or {}
    made = toys.node(op, ["x", *constants], "y", name=name, **attributes)
    return toys.model([made], {"x": shape}, ["y"], constants, opset=opset)


def twice(name: str, second: str) -> onnx.ModelProto:
    """Two Gemms in a row."""
    nodes = [
        toys.node("Gemm", "x w b", "middle", name=name),
        toys.node("Gemm", "middle v c", "y", name=second),
    ]
    constants = {"w": W, "b": B, "v": values(5, 4, seed=7), "c": values(4, seed=8)}
    return toys.model(nodes, {"x": [3, 6]}, ["y"], constants)


def constant_nodes() -> onnx.ModelProto:
    """An Add of what a Squeeze makes of a Constant, and a Mul of one that is stored as numbers."""
    held = numpy_helper.from_array(values(1, 5, seed=9), "anything")
    nodes = [
        toys.node("Constant", "", "held", name="holder", value=held),
        toys.node("Constant", "", "half", name="other", value_float=0.5),
        toys.node("Squeeze", "held axes", "flat", name="squeeze"),
        toys.node("Add", "x flat", "sum", name="add"),
        toys.node("Mul", "sum half", "y", name="mul"),
    ]
    for each in nodes[:2]:
        del each.input[:]
    return toys.model(nodes, {"x": [3, 5]}, ["y"], {"axes": np.int64([0])})


CONV = {"w": values(5, 3, 4, seed=10), "b": B}
GEMM = {"layer_output": "product", "w_output": "constant", "b_output": "constant"}
ALIAS = {"layer_output": "alias"}
CASES: dict[str, tuple[onnx.ModelProto, dict[str, str]]] = {
    "gemm": (one("Gemm", (3, 6), {"w": W, "b": B}), GEMM),
    "gemm, scaled and transposed": (
        one("Gemm", (6, 3), {"w": W.T.copy(), "b": B}, alpha=0.5, beta=3.0, transA=1, transB=1),
        GEMM,
    ),
    "gemm of opset 9": (one("Gemm", (3, 6), {"w": W, "b": B}, opset=9), GEMM),
    "gemm without a name": (
        one("Gemm", (3, 6), {"w": W, "b": B}, name=""),
        {"node_of_y_output": "product", "w_output": "constant", "b_output": "constant"},
    ),
    "gemm without a bias": (one("Gemm", (3, 6), {"w": W}), {"w_output": "constant"}),
    "two gemms": (
        twice("one", "two"),
        {f"{name}_output": "constant" for name in "wbvc"} | {"one_output": "product", "two_output": "product"},
    ),
    "two gemms of one name": (
        twice("same", "same"),
        {f"{name}_output": "constant" for name in "wbvc"},
    ),
    "a gemm named as its weight": (twice("w", "two"), {
        "b_output": "constant", "v_output": "constant", "c_output": "constant", "two_output": "product",
    }),
    "softmax": (one("Softmax", (2, 3, 4), axis=-1), ALIAS),
    "softmax of opset 11": (one("Softmax", (2, 3, 4), axis=1, opset=11), ALIAS),
    "batchnorm of 2 axes": (one("BatchNormalization", (2, 5), STATS), ALIAS),
    "batchnorm of 3 axes": (one("BatchNormalization", (2, 5, 7), STATS), ALIAS),
    "batchnorm of 4 axes": (one("BatchNormalization", (2, 5, 7, 3), STATS), {}),
    "conv of 3 axes": (one("Conv", (1, 3, 9), CONV, pads=[1, 1]), ALIAS),
    "conv of 4 axes": (one("Conv", (1, 3, 9, 9), {"w": values(5, 3, 4, 4), "b": B}), {}),
    "deconvolution of 3 axes": (one("ConvTranspose", (1, 5, 9), {"w": values(5, 3, 4)}), ALIAS),
    "max pooling of 3 axes": (one("MaxPool", (1, 3, 9), kernel_shape=[2]), ALIAS),
    "average pooling of 3 axes": (one("AveragePool", (1, 3, 9), kernel_shape=[2]), ALIAS),
    "depth to space": (one("DepthToSpace", (1, 8, 3, 5), blocksize=2), ALIAS),
    "space to depth": (one("SpaceToDepth", (1, 2, 4, 6), blocksize=2), ALIAS),
    "hard swish": (one("HardSwish", (1, 3, 5, 5)), {"layer_output": "bound"}),
    "log softmax": (one("LogSoftmax", (2, 3, 4), axis=-1), {"layer_output": "bound"}),
    "relu": (one("Relu", (1, 3, 5, 5)), {}),
    "clip": (one("Clip", (1, 3), {"low": np.float32(0), "high": np.float32(6)}), {}),
    "prelu": (one("PRelu", (1, 3, 4), {"slope": values(3, 1)}), {"slope_output": "constant"}),
    "layer normalization": (
        one("LayerNormalization", (1, 3, 5), {"w": B, "b": values(5)}),
        {"w_output": "constant", "b_output": "constant"},
    ),
}  # fmt: skip
NAMES = [pytest.param(*case, id=title) for title, case in CASES.items()]


def predicted(model: onnx.ModelProto) -> dict[str, str]:
    return {each.name: each.kind for each in parser_tensors(load(model))}


@pytest.mark.parametrize(("model", "wanted"), NAMES)
def test_names_and_kinds(model: onnx.ModelProto, wanted: dict[str, str]) -> None:
    assert predicted(model) == wanted


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(("model", "wanted"), NAMES)
def test_the_parser_gives_these_names(model: onnx.ModelProto, wanted: dict[str, str]) -> None:
    stated = {value.name for value in model.graph.input} | {
        name for n in model.graph.node for name in n.output
    }
    network = read_network(model).tensors
    unstated = {name for name in network if name not in stated and not is_helper(name)}
    assert set(wanted) <= unstated
    # What else there is has a counter, or is one of two that want the same name.
    others = {name for name in unstated - set(wanted) if not re.search(r"_\d+_output$", name)}
    assert others <= {"same_output", "w_output"}


@pytest.mark.parametrize(("model", "wanted"), NAMES)
def test_scales_are_those_of_an_independent_computation(
    model: onnx.ModelProto, wanted: dict[str, str]
) -> None:
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    data = [values(*shape, seed=seed, spread=3.0) for seed in range(4)]
    scales = calibrate(model, [{"x": each} for each in data], replace(OWN, item_axis=("none",))).scales
    stored = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    makers = {each.name or f"node_of_{each.output[0]}": each for each in model.graph.node}
    for name, kind in wanted.items():
        stem = name.removesuffix("_output")
        if kind == "constant":
            largest = np.abs(stored[stem]).max()
        elif kind == "bound":
            largest = np.float32(1)
        else:
            node = makers[stem]
            exposed = onnx.ModelProto()
            exposed.CopyFrom(model)
            del exposed.graph.output[:]
            tensors = [node.input[0]] if kind == "product" else [node.output[0]]
            exposed.graph.output.extend(onnx.ValueInfoProto(name=each) for each in tensors)
            if kind == "product":
                exposed.graph.node.add(op_type="Identity", input=tensors, output=["seen"])
                exposed.graph.output[0].name = "seen"
            arrays = [toys.run(exposed, {"x": each})[0] for each in data]
            if kind == "product":
                given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
                weight = stored[node.input[1]].T if given.get("transB") else stored[node.input[1]]
                arrays = [(each.T if given.get("transA") else each) @ weight for each in arrays]
            largest = max(np.abs(each).max() for each in arrays)
        assert scales[name].scale == pytest.approx(largest / 127, rel=1e-6), name


def test_a_name_that_the_model_gives_itself_is_its_own() -> None:
    nodes = [
        toys.node("Gemm", "x w b", "w_output", name="n"),
        toys.node("Relu", "w_output", "n_output", name="r"),
    ]
    model = toys.model(nodes, {"x": [3, 6]}, ["n_output"], {"w": W, "b": B})
    assert predicted(model) == {"b_output": "constant"}


def test_constants_of_constant_nodes_and_what_moves_them() -> None:
    assert predicted(constant_nodes()) == dict.fromkeys(
        ["held_output", "flat_output", "half_output"], "constant"
    )
    scales = calibrate(constant_nodes(), [values(3, 5)], replace(OWN, item_axis=("none",))).scales
    assert scales["flat_output"] == replace(scales["held_output"], tensor="flat_output")
    assert scales["half_output"].threshold == 0.5


def folded() -> onnx.ModelProto:
    """A Gemm that a BatchNorm folds into, which gives it other weights."""
    nodes = [
        toys.node("Gemm", "x w b", "g", name="fc"),
        toys.node("BatchNormalization", ["g", *STATS], "n", name="bn"),
        toys.node("Relu", "n", "y", name="relu"),
    ]
    return toys.model(nodes, {"x": ["n", 6]}, ["y"], {"w": W, "b": B, **STATS})


DATA = [values(6, seed=seed, spread=2.0) for seed in range(40)]


def test_the_product_of_a_folded_gemm_is_that_of_its_own_weights() -> None:
    for observe in ("fused", "all"):
        found = calibrate(folded(), DATA, replace(OWN, observe=observe))
        scale = found.scales["fc_output"]
        assert scale.reason == "measured"
        assert scale.amax == pytest.approx(max(np.abs(each @ W).max() for each in DATA), rel=1e-6)
        assert found.scales["bn_output"].scale == found.scales["n"].scale


def test_other_scales_stay_the_same() -> None:
    with_names, without = (
        calibrate(folded(), DATA, Options(provider="cpu", parser_names=names)) for names in ("plain", "off")
    )
    added = with_names.prepared.plan.parser_names
    assert {name: each for name, each in with_names.scales.items() if name not in added} == without.scales
    assert set(added) == {"w_output", "b_output", "fc_output", "bn_output"}
    made = [quantize(folded(), each).proto() for each in (with_names, without)]
    assert made[0].graph == made[1].graph


def test_quantize_takes_a_cache_with_such_names() -> None:
    found = calibrate(folded(), DATA, Options(provider="cpu"))
    off = calibrate(folded(), DATA, Options(provider="cpu", parser_names="off"))
    made = quantize(folded(), found.cache())
    assert made.source.foreign == () and set(made.source.parser_names) == set(
        found.prepared.plan.parser_names
    )
    assert made.proto().graph == quantize(folded(), off.cache()).proto().graph


def test_old_versions_have_none_of_them() -> None:
    found = calibrate(folded(), DATA, Options(provider="cpu", trt_version="8.6"))
    assert found.prepared.plan.parser_names == () and "fc_output" not in found.cache().scales


def test_statistics_without_products_give_the_other_names() -> None:
    options = Options(provider="cpu")
    without = calibrate(folded(), DATA, replace(options, parser_names="off")).collection
    assert "fc_output" not in without.histograms
    names = solve(without, folded(), options).cache().scales
    assert "fc_output" not in names and {"w_output", "bn_output"} <= names.keys()
    full = calibrate(folded(), DATA, options)
    assert solve(full.collection, folded(), options).cache() == full.cache()
    off = replace(options, parser_names="off")
    assert solve(full.collection, folded(), off).cache() == solve(without, folded(), off).cache()


def test_the_batch_size_makes_no_difference() -> None:
    caches = [calibrate(folded(), DATA, Options(provider="cpu", batch_size=size)).cache() for size in (1, 7)]
    assert caches[0] == caches[1]


def test_a_product_beyond_the_end_of_the_observed_graph_has_no_name() -> None:
    found = calibrate(twice("one", "two"), [values(3, 6)], replace(OWN, until=("middle",)))
    assert "one_output" in found.scales and "two_output" not in found.scales


def test_half_precision_and_memory_that_is_short() -> None:
    half = {name: array.astype(np.float16) for name, array in {"w": W, "b": B}.items()}
    model = toys.model(
        [toys.node("Gemm", "x w b", "y", name="fc")],
        {"x": ["n", 6]},
        {"y": ["n", 5]},
        half,
        dtypes=dict.fromkeys("xy", TensorProto.FLOAT16),
    )
    data = [each.astype(np.float16) for each in DATA]
    plenty = calibrate(model, data, Options(provider="cpu"))
    short = calibrate(model, data, Options(provider="cpu", memory_limit=30))
    assert plenty.cache() == short.cache() and "fc_output" in plenty.scales


def test_external_weights_are_read_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(folded(), path, save_as_external_data=True, size_threshold=0)
    assert calibrate(path, DATA, OWN).cache() == calibrate(folded(), DATA, OWN).cache()


@needs_compiler
@pytest.mark.slow
def test_all_names_cover_the_network_of_a_folded_gemm() -> None:
    scales = calibrate(folded(), DATA, replace(OWN, parser_names="all")).scales
    assert set(read_network(folded()).tensors) <= scales.keys()
    assert scales["ONNXTRT_Broadcast_output"].scale == scales["b_output"].scale
    unsqueezed = scales["ONNXTRT_unsqueezeTensor_output"]
    assert (unsqueezed.source, unsqueezed.reason, unsqueezed.scale) == ("g", "alias", scales["g"].scale)


def test_nothing_inside_of_a_function_is_named_after_its_node() -> None:
    body = [toys.node("Gemm", "a w b", "c", name="fc")]
    function = helper.make_function(
        "own", "Dense", ["a", "w", "b"], ["c"], body, [helper.make_opsetid("", 17)]
    )
    call = helper.make_node("Dense", ["x", "w", "b"], ["y"], "call", domain="own")
    model = toys.model([call], {"x": [3, 6]}, ["y"], {"w": W, "b": B})
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.functions.append(function)
    assert predicted(model) == {"w_output": "constant", "b_output": "constant"}
