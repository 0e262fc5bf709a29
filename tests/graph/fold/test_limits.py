"""What must not fold, what hides its constants, and what is decomposed into arithmetic."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from helpers import toys
from helpers.fold_helpers import batchnorm, check, data, folded, operators, parameters
from onnx import helper, numpy_helper

from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.graph.fold.affine import batchnorm as parse

CONV = toys.node("Conv", "x w", "c")
SHAPE = (1, 2, 5, 5)


def model(nodes, outputs=("y",), inputs=None, opset=17, ir_version=8, **changed):
    constants = {"w": data(3, 2, 3, 3), **parameters(3), **changed}
    return toys.model(
        nodes, {"x": SHAPE, **(inputs or {})}, list(outputs), constants, opset=opset, ir_version=ir_version
    )


def left(proto, feeds=None) -> str:
    """The reason why the model's one BatchNormalization stays."""
    report, result = check(proto, {"x": data(*SHAPE), **(feeds or {})})
    assert "BatchNormalization" in operators(result) and not report.folded
    return report.left[0][1]


def test_training_mode_stays():
    node = toys.node("BatchNormalization", "c gamma beta mean var", "y rm rv", training_mode=1)
    assert "training" in left(model([CONV, node]))


def test_extra_outputs_mean_training():
    # Before opset 14 the outputs alone say so; ONNX Runtime itself refuses to load such a node.
    outputs = [gs.Variable(name) for name in ("y", "mean", "var", "saved_mean", "saved_var")]
    node = gs.Node("BatchNormalization", outputs=outputs)
    assert parse(node, 3, Constants(gs.Graph())) == "it is in training mode"


def test_parameters_that_are_fed_stay():
    proto = toys.model(
        [CONV, batchnorm("c", "y")],
        {"x": SHAPE, "gamma": (3,)},
        ["y"],
        {name: value for name, value in {"w": data(3, 2, 3, 3), **parameters(3)}.items() if name != "gamma"},
    )
    assert "'gamma' is not a constant" in left(proto, {"gamma": np.ones(3, np.float32)})


def test_an_inner_tensor_that_is_an_output_or_read_elsewhere_stays():
    nodes = [CONV, batchnorm("c", "y")]
    assert "graph output" in left(model(nodes, ["y", "c"]))
    assert "other nodes" in left(model([*nodes, toys.node("Relu", "c", "z")], ["y", "z"]))


def test_a_reader_inside_a_subgraph_counts():
    branches = [
        helper.make_graph(
            [toys.node(op, "c", f"o{op}")], op, [], [helper.make_tensor_value_info(f"o{op}", 1, None)]
        )
        for op in ("Relu", "Neg")
    ]
    choose = toys.node("If", "flag", "z", then_branch=branches[0], else_branch=branches[1])
    proto = model([CONV, batchnorm("c", "y"), choose], ["y", "z"], flag=np.array(True))
    assert "other nodes" in left(proto)


@pytest.mark.parametrize("name", ["gamma", "beta", "mean", "var"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_parameters_that_are_not_finite_stay(name, bad):
    changed = parameters(3)[name].copy()
    changed[1] = bad
    nodes = [CONV, batchnorm("c", "n")]
    report, result = folded(model(nodes, ["n"], **{name: changed}))
    assert "NaN or infinity" in report.left[0][1]
    assert operators(result) == ["Conv", "BatchNormalization"]


def test_a_variance_of_zero_without_epsilon_stays_and_one_with_epsilon_folds():
    zero = np.zeros(3, np.float32)
    report, _ = folded(model([CONV, batchnorm("c", "y", epsilon=0.0)], var=zero))
    assert "not positive" in report.left[0][1]
    report, _ = check(model([CONV, batchnorm("c", "y")], var=zero), {"x": data(*SHAPE)})
    assert report.left == ()


def test_a_fold_that_overflows_float16_stays():
    half = {name: value.astype(np.float16) for name, value in parameters(3).items()}
    half["gamma"] = np.full(3, 60000, np.float16)
    kind = onnx.TensorProto.FLOAT16
    proto = toys.model(
        [CONV, batchnorm("c", "y")],
        {"x": SHAPE},
        ["y"],
        {"w": data(3, 2, 3, 3).astype(np.float16) * np.float16(100), **half},
        dtypes={"x": kind, "y": kind},
    )
    report, _ = folded(proto)
    assert "float16" in report.left[0][1]


def test_a_gamma_of_zero_folds_to_the_shift():
    report, _ = check(model([CONV, batchnorm("c", "y")], gamma=np.zeros(3, np.float32)), {"x": data(*SHAPE)})
    assert len(report.folded) == 1


def test_weights_that_are_not_constant_stay():
    nodes = [toys.node("Conv", "x v", "c"), batchnorm("c", "y")]
    proto = toys.model(nodes, {"x": SHAPE, "v": (3, 2, 3, 3)}, ["y"], parameters(3))
    assert "not a constant" in left(proto, {"v": data(3, 2, 3, 3)})


@pytest.mark.parametrize("shape", [(2,), (6,), (1, 3), ()])
def test_a_bias_of_another_size_than_the_channels_stays(shape):
    nodes = [toys.node("Conv", "x w b", "c"), batchnorm("c", "y")]
    report, _ = folded(model(nodes, b=data(*shape)))
    assert "bias of the Conv before it does not fit its channels" in report.left[0][1]


def constant(name: str, values: np.ndarray) -> onnx.NodeProto:
    return toys.node("Constant", "", name, value=numpy_helper.from_array(values))


W = data(3, 2, 3, 3)
SCALES = np.array([0.1, 0.2, 0.05], np.float32)
HIDDEN = {
    "Constant": [constant("v", W)],
    "Identity": [constant("k", W), toys.node("Identity", "k", "v")],
    "Reshape": [
        constant("k", W.reshape(3, 18)),
        constant("s", np.array([0, 2, 3, -1])),
        toys.node("Reshape", "k s", "v"),
    ],
    "Transpose": [constant("k", W.transpose(3, 2, 1, 0)), toys.node("Transpose", "k", "v")],
    "Cast": [constant("k", W.astype(np.float64)), toys.node("Cast", "k", "v", to=1)],
    "ConstantOfShape": [
        constant("s", np.array([3, 2, 3, 3])),
        toys.node("ConstantOfShape", "s", "v", value=numpy_helper.from_array(np.array([0.3], np.float32))),
    ],
    "DequantizeLinear": [
        constant("q", np.arange(54, dtype=np.int8).reshape(3, 2, 3, 3) - np.int8(20)),
        constant("qs", SCALES),
        constant("qz", np.array([1, 0, -3], np.int8)),
        toys.node("DequantizeLinear", "q qs qz", "v", axis=0),
    ],
}


@pytest.mark.parametrize("kind", HIDDEN)
def test_weights_behind_a_chain_of_constants(kind):
    nodes = [*HIDDEN[kind], toys.node("Conv", "x v", "c"), batchnorm("c", "y")]
    report, result = check(model(nodes), {"x": data(*SHAPE)})
    assert report.left == () and "BatchNormalization" not in operators(result)


ARITHMETIC = {
    "Mul+Add": [("Mul", "c s"), ("Add", "0 t")],
    "constant first": [("Mul", "s c"), ("Add", "t 0")],
    "Sub+Div": [("Sub", "c t"), ("Div", "0 s")],
    "reversed Sub": [("Sub", "t c"), ("Mul", "0 s")],
    "Mul": [("Mul", "c s")],
    "Add": [("Add", "c t")],
}


@pytest.mark.parametrize("form", ARITHMETIC)
@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose", "Gemm", "MatMul"])
def test_spelled_out_forms(form, kind):
    flat = kind in ("Gemm", "MatMul")
    along = (4,) if flat else (1, 4, 1, 1)
    constants = {"s": data(*along, seed=2), "t": data(*along, seed=3)}
    constants["w"] = {"Conv": data(4, 2, 3, 3), "ConvTranspose": data(2, 4, 3, 3)}.get(kind, data(2, 4))
    nodes, last = [toys.node(kind, "x w", "c")], "c"
    for index, (op, inputs) in enumerate(ARITHMETIC[form]):
        nodes.append(toys.node(op, inputs.replace("0", last), f"a{index}"))
        last = f"a{index}"
    nodes.append(toys.node("Relu", last, "y"))
    shape = (3, 2) if flat else SHAPE
    report, result = check(toys.model(nodes, {"x": shape}, ["y"], constants), {"x": data(*shape)})
    assert operators(result) == ([kind, "Add", "Relu"] if kind == "MatMul" else [kind, "Relu"])
    assert last not in report.vanished


@pytest.mark.parametrize(
    "operand", [data(1), data(1, 4, 5, 5), data(5), data(1, 1, 4, 1, 1), data(2, 4, 1, 1)]
)
@pytest.mark.parametrize("op", ["Mul", "Add"])
def test_arithmetic_that_is_not_per_channel_stays(op, operand):
    nodes = [toys.node("Conv", "x w", "c"), toys.node(op, "c s", "a"), toys.node("Relu", "a", "y")]
    proto = toys.model(nodes, {"x": (1, 2, 5, 5)}, ["y"], {"w": data(4, 2, 1, 1), "s": operand})
    report, _ = check(proto, {"x": data(1, 2, 5, 5)})
    assert report.folded == () and report.left == ()


def test_division_by_zero_stays():
    nodes = [toys.node("Conv", "x w", "c"), toys.node("Div", "c s", "y")]
    zero = np.array([1, 0, 2], np.float32).reshape(1, 3, 1, 1)
    assert folded(model(nodes, s=zero))[0].folded == ()


def test_initializers_that_are_also_inputs_are_constants_in_every_ir_version():
    for version in (3, 8):
        proto = model([CONV, batchnorm("c", "y")], opset=9, ir_version=version)
        proto.graph.input.extend(
            helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in proto.graph.initializer
        )
        report, result = check(proto, {"x": data(*SHAPE)})
        assert report.left == ()
        declared = {value.name for value in result.graph.input}
        kept = {tensor.name for tensor in result.graph.initializer}
        assert declared == ({"x", *kept} if version == 3 else {"x"})
