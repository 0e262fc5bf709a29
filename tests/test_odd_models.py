"""The main job on models as users have them: old, new, oddly named, oddly typed, and some that cannot work."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.small import CPU, RecordingListener
from helpers.toys import node
from onnx import TensorProto, helper, numpy_helper

from onnx_trtcal import (
    EvaluationOptions,
    SensitivityOptions,
    calibrate,
    check,
    dequantize,
    evaluate,
    lint,
    quantize,
    sensitivity,
    solve,
)
from onnx_trtcal.errors import CacheError, ModelError, OptionError
from onnx_trtcal.prepared import prepare
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.quantization import quantize_calibrated
from onnx_trtcal.scales import SCALE_OF_ZEROS
from onnx_trtcal.trt.cache import dumps, loads

if TYPE_CHECKING:
    from onnx_trtcal.calibration import Calibration

RANDOM = np.random.default_rng(0)
W = RANDOM.normal(size=(4, 4, 1, 1)).astype(np.float32)
DATA = [RANDOM.normal(size=(4, 6, 6)).astype(np.float32) for _ in range(4)]
X = {"x": ["N", 4, 6, 6]}
ROWS = {name: np.full(4, 0.5, np.float32) for name in ("g", "b", "m", "v")}


def conv(source: str = "x", output: str = "c") -> onnx.NodeProto:
    return node("Conv", [source, "w"], [output])


def job(model: onnx.ModelProto, data: object = DATA) -> Calibration:
    """The whole main job, with its cache read back."""
    calibration = calibrate(model, data, CPU)
    cache = dumps(calibration.cache())
    assert dict(loads(cache).scales) == dict(calibration.cache().scales)
    assert all(0 < scale < np.inf for scale in calibration.cache().scales.values())
    return calibration


@pytest.mark.parametrize("opset", range(7, onnx.defs.onnx_opset_version() + 1))
def test_every_opset_gives_the_same_scales(opset: int) -> None:
    def model(version: int, ir_version: int) -> onnx.ModelProto:
        nodes = [conv(), node("BatchNormalization", "c g b m v", "n"), node("Relu", "n", "r")]
        nodes.append(node("MaxPool", "r", "y", kernel_shape=[2, 2]))
        return toys.model(nodes, X, ["y"], {"w": W, **ROWS}, opset=version, ir_version=ir_version)

    try:
        found = job(model(opset, 3 if opset < 9 else 8))
    except ModelError as error:  # onnx may be newer than ONNX Runtime
        assert opset > 22 and "newer than this ONNX Runtime" in error.what
    else:
        assert found.scales == job(model(13, 8)).scales
        assert len(found.prepared.folds.folded) == 1


def test_weights_that_are_inputs_too_are_weights() -> None:
    nodes = [conv(), node("BatchNormalization", "c g b m v", "y")]
    inputs = {**X, "w": [4, 4, 1, 1], **{name: [4] for name in ROWS}}
    calibration = job(toys.model(nodes, inputs, ["y"], {"w": W, **ROWS}, opset=8, ir_version=3))
    assert list(calibration.scales) == ["x", "c", "y"]
    assert len(calibration.prepared.folds.folded) == 1


def test_names_of_all_kinds_come_back_from_the_cache() -> None:
    names = ["a b", "a: b", "a/b::c", "ünï→名", "a:", "tab\tname", " ", "0: 3c010a14"]
    nodes, last = [], "x"
    for name in names:
        nodes.append(conv(last, name))
        last = name
    for named in nodes:
        named.name = "every node is called the same"
    assert list(job(toys.model(nodes, X, [last], {"w": W})).scales) == ["x", *names]


@pytest.mark.parametrize("name", ["a\nb", "a\rb"])
def test_a_name_that_no_cache_can_hold_is_refused_before_data_is_read(name: str) -> None:
    model = toys.model([conv("x", name), node("Relu", [name], ["y"])], X, ["y"], {"w": W})
    with pytest.raises(CacheError, match="line end") as caught:
        calibrate(model, "no such folder", CPU)
    assert repr(name) in str(caught.value)


def test_what_the_checker_rejects_and_onnx_runtime_runs() -> None:
    model = toys.model([node("Relu", "c", "y"), conv()], X, ["y"], {"w": W, "unused": np.ones(3, np.float32)})
    model.graph.name = ""
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(model)
    assert list(job(model).scales) == ["x", "c", "y"]


def test_operators_of_onnx_runtimes_own_domain() -> None:
    nodes = [
        node("FusedConv", "x w", "c", domain="com.microsoft", activation="Relu"),
        node("Gelu", "c", "g", domain="com.microsoft"),
        node("LayerNormalization", "g ones ones", "y", axis=-1),
    ]
    model = toys.model(nodes, X, ["y"], {"w": W, "ones": np.ones(6, np.float32)})
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    scales = job(model).scales
    assert [item.reason for item in scales.values()] == ["measured"] * 4 + ["constant"] * 2
    assert scales["ones_output"].threshold == 1


def test_an_input_of_unknown_rank_takes_its_shape_from_the_data() -> None:
    model = toys.model([conv()], X, ["c"], {"w": W})
    known = job(model, [array[None] for array in DATA])
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert job(model, [array[None] for array in DATA]).scales == known.scales


def test_tensors_without_elements() -> None:
    nodes = [node("Slice", "x start end", "z"), node("Concat", "z x", "y", axis=1)]
    model = toys.model(nodes, X, ["y", "z"], {"start": np.int64([0, 0]), "end": np.int64([9, 0])})
    calibration = job(model)
    assert calibration.collection.histograms["z"].total == 0
    assert not calibration.scales["z"].seen and not calibration.scales["z"].all_zero
    assert calibration.scales["z"].scale == SCALE_OF_ZEROS and calibration.unseen == ("z",)
    assert calibration.scales["y"].amax == calibration.scales["x"].amax > 0


def test_an_output_that_is_an_input() -> None:
    assert list(job(toys.model([conv()], X, ["x", "c"], {"w": W})).scales) == ["x", "c"]


def test_sequences_and_optionals_have_no_scale_and_what_comes_out_of_them_has() -> None:
    nodes = [
        node("SplitToSequence", "x", "q", axis=1),
        node("SequenceAt", "q zero", "a"),
        node("Optional", "a", "o"),
        node("OptionalGetElement", "o", "y"),
    ]
    calibration = job(toys.model(nodes, X, ["y"], {"zero": np.int64(0)}))
    assert calibration.prepared.plan.skipped == {"q": "not a tensor", "o": "not a tensor"}
    assert list(calibration.scales) == ["x", "a", "y"]


@pytest.mark.parametrize("elem_type", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_other_floats(elem_type: int) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(elem_type)
    model = toys.model(
        [node("MatMul", "x m", "c"), node("BatchNormalization", "c g b m1 v", "n"), node("Relu", "n", "y")],
        {"x": ["N", 4]},
        ["y"],
        {
            "m": W.reshape(4, 4).astype(dtype),
            **{k.replace("m", "m1"): v.astype(dtype) for k, v in ROWS.items()},
        },
        dtypes={"x": elem_type, "y": elem_type},
    )
    calibration = job(model, RANDOM.normal(size=(64, 4)))
    assert len(calibration.prepared.folds.folded) == 1
    assert {"x", "c", "n", "y"} <= set(calibration.scales)


def test_bfloat16() -> None:
    nodes = [node("Cast", "x", "h", to=TensorProto.BFLOAT16), node("Cast", "h", "y", to=TensorProto.FLOAT)]
    scales = job(toys.model(nodes, X, ["y"])).scales
    assert scales["h"].scale == scales["y"].scale


def test_functions_of_the_model_are_inlined_and_that_is_mentioned() -> None:
    model = toys.model([node("Block", "x w", "h", domain="mine"), node("Relu", "h", "y")], X, ["y"], {"w": W})
    model.opset_import.append(helper.make_opsetid("mine", 1))
    inside = [node("Conv", "a b", "t"), node("Relu", "t", "o")]
    model.functions.append(
        helper.make_function("mine", "Block", ["a", "b"], ["o"], inside, [helper.make_opsetid("", 17)])
    )
    listener = RecordingListener()
    prepare(model, CPU, listener)
    assert any("1 call of functions that the model defines inlined" in line for line in listener.said)
    found = job(model).scales
    assert {"x", "h", "y"} < set(found) and len(found) == 4
    plain = toys.model([conv(output="t"), node("Relu", "t", "h"), node("Relu", "h", "y")], X, ["y"], {"w": W})
    assert [found[name].scale for name in "xhy"] == [job(plain).scales[name].scale for name in "xhy"]


def test_floats_in_subgraphs_alone_are_nothing_to_calibrate() -> None:
    one = numpy_helper.from_array(np.float32([1]), "one")
    nodes = [node("Abs", "one", "a"), node("Cast", "a", "i", to=TensorProto.INT64)]
    end = helper.make_tensor_value_info("i", TensorProto.INT64, None)
    body = helper.make_graph(nodes, "body", [], [end], [one])
    model = toys.model(
        [node("If", "flag", "y", then_branch=body, else_branch=body)],
        {"flag": [1]},
        ["y"],
        dtypes={"flag": TensorProto.BOOL, "y": TensorProto.INT64},
    )
    with pytest.raises(ModelError, match="outside its If, Loop and Scan bodies"):
        prepare(model, CPU)


def test_a_model_that_is_quantized_throughout_has_nothing_left() -> None:
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")]
    model = toys.model(nodes, X, ["y"], {"s": np.float32(0.1), "z": np.int8(0)})
    with pytest.raises(ModelError, match="quantized already"):
        prepare(model, CPU)
    with pytest.raises(ModelError, match="nothing in the model is float any more"):
        prepare(model, replace(CPU, allow_quantized=True))


def plugin_model(*behind: onnx.NodeProto) -> onnx.ModelProto:
    """A convolution with its activation, a plugin that reads both, and what comes behind it."""
    nodes = [conv(), node("Relu", "c", "r"), node("Align", "r c", "p", domain="acme", name="align"), *behind]
    model = toys.model(nodes, X, [nodes[-1].output[0]], {"w": W})
    model.opset_import.append(helper.make_opsetid("acme", 1))
    return model


def test_a_plugin_at_the_end_leaves_every_scale_before_it() -> None:
    listener = RecordingListener()
    calibration = calibrate(plugin_model(), DATA, CPU, listener=listener)
    cut = toys.model([conv(), node("Relu", "c", "r")], X, ["r", "c"], {"w": W})
    assert calibration.scales == job(cut).scales
    assert not listener.warned
    assert any(
        "no kernel for 'align' (acme:Align)" in line and line.endswith(": p") for line in listener.said
    )
    assert calibration.provenance.skipped == {
        "p": "behind 'align' (acme:Align), which ONNX Runtime cannot run"
    }


def test_a_plugin_in_the_middle_is_named_with_the_two_ways_on() -> None:
    model = plugin_model(conv("p", "d"), node("Relu", "d", "y"))
    listener = RecordingListener()
    calibration = calibrate(model, DATA, CPU, listener=listener)
    (warning,) = listener.warned
    for words in ("'align' (acme:Align)", "p, d, y", "(d)", "--ort-custom-ops LIB", "--until c --until r"):
        assert words in warning
    assert set(calibration.scales) == {"x", "c", "r"}
    assert set(calibration.provenance.skipped) == {"p", "d", "y"}


def test_statistics_of_a_model_with_a_plugin_are_solved_without_running_it(monkeypatch) -> None:
    model = plugin_model(conv("p", "d"), node("Relu", "d", "y"))
    calibration = calibrate(model, DATA, CPU)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the model is loaded")

    monkeypatch.setattr("onnx_trtcal.graph.model.runnable.load_fault", never)
    again = solve(calibration.collection, model)
    assert again.scales == calibration.scales
    assert again.provenance == calibration.provenance


def test_until_cuts_the_graph_inside_a_group() -> None:
    model = toys.model([conv(), node("Relu", "c", "r"), conv("r", "y")], X, ["y"], {"w": W})
    listener = RecordingListener()
    options = replace(CPU, until=("c",))
    calibration = calibrate(model, DATA, options, listener=listener)
    assert calibration.scales == job(toys.model([conv()], X, ["c"], {"w": W})).scales
    assert any("ends at c, as --until says" in line for line in listener.said) and not listener.warned
    assert calibration.provenance.options["until"] == ["c"]
    assert "until" not in job(model).provenance.options
    assert solve(calibration.collection, model).scales == calibration.scales
    with pytest.raises(OptionError, match="did you mean 'c'"):
        calibrate(model, DATA, replace(CPU, until=("cc",)))


def test_the_whole_model_is_quantized_and_folded_whatever_part_of_it_runs(tmp_path) -> None:
    model = plugin_model(conv("p", "d"), node("Relu", "d", "y"))
    calibration = calibrate(model, DATA, CPU)
    calibration.write_folded(tmp_path / "folded.onnx")
    assert onnx.load(tmp_path / "folded.onnx") == model
    made = quantize_calibrated(calibration, QdqOptions(min_channels=1))
    assert [bool(layer.reason) for layer in made.layers] == [False, True]
    made.save(tmp_path / "int8.onnx")
    written = onnx.load(tmp_path / "int8.onnx")
    assert next(each for each in written.graph.node if each.domain == "acme") == model.graph.node[2]
    assert [value.name for value in written.graph.output] == ["y"]


@pytest.mark.parametrize("elem_type", [TensorProto.DOUBLE, TensorProto.BFLOAT16])
def test_types_that_the_cpu_has_no_kernels_for_run_as_float32(elem_type: int) -> None:
    kept = W.astype(helper.tensor_dtype_to_np_dtype(elem_type))
    types = dict.fromkeys("xy", elem_type)
    nodes = [conv(), node("Relu", "c", "y")]
    model = toys.model(nodes, X, ["y"], {"w": kept}, opset=22, ir_version=10, dtypes=types)
    single = {"w": kept.astype(np.float32)}
    plain = toys.model(nodes, X, ["y"], single, opset=22, ir_version=10)
    listener = RecordingListener()
    calibration = calibrate(model, DATA, CPU, listener=listener)
    assert calibration.scales == job(plain).scales
    assert any("runs in float32 instead" in line for line in listener.said)
    assert calibration.prepared.original.elem_types["c"] == elem_type
    assert solve(calibration.collection, model).scales == calibration.scales


def test_what_onnx_runtimes_optimizations_break_runs_without_them() -> None:
    # Its fusion of Pad into the convolution behind it takes away the Pad that makes the weight.
    pads = np.array([0, 0, 0, 0, 0, 0, 0, 0])
    nodes = [node("Pad", "w pads", "k"), node("Conv", "x k", "c"), node("Relu", "c", "y")]
    listener = RecordingListener()
    found = calibrate(toys.model(nodes, X, ["y"], {"w": W, "pads": pads}), DATA, CPU, listener=listener)
    plain = job(toys.model([conv(), node("Relu", "c", "y")], X, ["y"], {"w": W}))
    assert {name: found.scales[name].scale for name in "xcy"} == {n: plain.scales[n].scale for n in "xcy"}
    assert sum("graph optimizations break this model" in line for line in listener.said) == 1


def test_verbs_that_run_nothing_load_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    model = plugin_model(conv("p", "d"), node("Relu", "d", "y"))
    cache = calibrate(model, DATA, CPU).cache()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("ONNX Runtime is asked to load the model")

    monkeypatch.setattr("onnx_trtcal.graph.model.runnable.load_fault", refuse)
    monkeypatch.setattr("onnx_trtcal.graph.model.written.load_fault", refuse)
    monkeypatch.setattr("onnx_trtcal.run.session.open_session", refuse)
    assert {gap.tensor for gap in check(model, cache).gaps} == {"p", "d", "y"}
    made = quantize(model, cache, qdq=QdqOptions(min_channels=1))
    assert [layer.reason for layer in made.layers] == ["", "no scale for its input 'p'"]
    assert dict(dequantize(made.proto()).scales) == dict(cache.scales)
    assert lint(made.proto()) == ()


def test_what_is_compared_ends_at_the_plugin_as_well() -> None:
    model = plugin_model(conv("p", "d"), node("Relu", "d", "y"))
    listener = RecordingListener()
    qdq = QdqOptions(min_channels=1)
    result = evaluate(model, DATA, EvaluationOptions(options=CPU, qdq=qdq), listener=listener)
    assert {each.name for each in result.outputs} == {"c", "r"}
    assert any("compared: 'c', 'r'" in line for line in listener.said)
    request = SensitivityOptions(options=CPU, qdq=qdq)
    assert [group.name for group in sensitivity(model, DATA, request).ranked] == ["c"]
