"""Constants: the values of what depends on no input, and their largest magnitudes."""

import ml_dtypes
import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from helpers import toys
from helpers.random_models import random_models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnx_trtcal.graph import constants, run_nodes
from onnx_trtcal.graph.constants import Constants, constant_amax, largest_magnitude
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.model.weights import Weight, WeightValues
from onnx_trtcal.graph.view import link


@pytest.mark.parametrize(
    ("values", "largest"),
    [
        ([1.0, -3.0], 3.0),
        ([], 0.0),
        ([-np.inf, 2.0], 2.0),
        ([np.nan, np.inf], 0.0),
        ([np.nan, -0.5], 0.5),
    ],
)
def test_the_largest_finite_magnitude(values, largest):
    for dtype in (np.float16, np.float32, np.float64, ml_dtypes.bfloat16):
        assert largest_magnitude(np.array(values, dtype)) == largest


def amax(nodes, wanted, constants, **kwargs):
    model = load(toys.model([*nodes, toys.node("Relu", "x", "y")], {"x": [1]}, ["y"], constants, **kwargs))
    return constant_amax(model, wanted)


def test_only_what_is_asked_for_is_computed():
    nodes = [toys.node("Mul", "k k", "a"), toys.node("Neg", "a", "b"), toys.node("Exp", "b", "c")]
    assert amax(nodes, ["b"], {"k": np.float32([2, -3])}) == {"b": 9.0}
    assert amax(nodes, [], {"k": np.float32([2, -3])}) == {}


def test_bfloat16_constants_count_too():
    cast = toys.node("Cast", "k", "a", to=TensorProto.BFLOAT16)
    assert amax([cast], ["a"], {"k": np.float32([2, -3])}) == {"a": 3.0}


def test_constants_from_external_files(tmp_path):
    nodes = [toys.node("Transpose", "k", "a"), toys.node("MatMul", "x a", "y")]
    proto = toys.model(nodes, {"x": [1, 8]}, ["y"], {"k": np.full((8, 8), -4, np.float32)})
    onnx.save_model(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w", size_threshold=0)
    assert constant_amax(load(tmp_path / "m.onnx"), ["a"]) == {"a": 4.0}


def test_what_cannot_be_computed_apart_is_left_out():
    assert amax([], ["x"], {}) == {}


def graph_of(nodes, constants=None, inputs=None, **kwargs):
    """The imported graph of toy nodes beside a Relu of `x`, and its constants."""
    relu = toys.node("Relu", "x", "relu_of_x")
    model = toys.model([*nodes, relu], {"x": [1], **(inputs or {})}, ["relu_of_x"], constants or {}, **kwargs)
    graph = import_graph(load(model))
    return graph.tensors(), Constants(graph)


def value_of(nodes, wanted, constants=None, **kwargs):
    tensors, known = graph_of(nodes, constants, **kwargs)
    return known.value(tensors[wanted])


MOVES = {
    "Identity": ({}, []),
    "Transpose": ({"perm": [2, 0, 1]}, []),
    "Flatten": ({"axis": 2}, []),
    "Reshape": ({}, [np.array([0, -1])]),
    "Squeeze": ({}, [np.array([1])]),
    "Unsqueeze": ({}, [np.array([0, 4])]),
}


@pytest.mark.parametrize("op", MOVES)
def test_moved_constants_are_what_the_runtime_computes(op):
    attributes, parameters = MOVES[op]
    values = np.arange(24, dtype=np.float32).reshape(4, 1, 6)
    constants = {"c": values} | {f"p{index}": value for index, value in enumerate(parameters)}
    node = toys.node(op, list(constants), "y", **attributes)
    model = toys.model([node], {"x": [1]}, ["y"], constants)
    graph = gs.import_onnx(model)
    moved = next(node for node in graph.nodes if node.op == op).outputs[0]
    wanted = toys.run(model, {"x": np.zeros(1, np.float32)})[0]
    np.testing.assert_array_equal(Constants(graph).value(moved), wanted)
    assert Constants(graph).shape(moved) == wanted.shape


def test_what_depends_on_an_input_is_not_a_constant():
    model = toys.model([toys.node("Reshape", "x shape", "y")], {"x": [4]}, ["y"], {"shape": np.array([2, 2])})
    graph = gs.import_onnx(model)
    assert not Constants(graph).is_constant(graph.outputs[0])
    assert Constants(graph).value(graph.outputs[0]) is None
    assert Constants(graph).shape(graph.outputs[0]) is None


@pytest.mark.parametrize(
    ("attribute", "value", "wanted"),
    [
        ("value", numpy_helper.from_array(np.float16([1, 2])), np.float16([1, 2])),
        ("value_float", 2.5, np.float32(2.5)),
        ("value_floats", [2.5, 3.5], np.float32([2.5, 3.5])),
        ("value_int", 7, np.int64(7)),
        ("value_ints", [7, 8], np.int64([7, 8])),
        (
            "sparse_value",
            helper.make_sparse_tensor(
                numpy_helper.from_array(np.float32([5])), numpy_helper.from_array(np.int64([1])), [3]
            ),
            np.float32([0, 5, 0]),
        ),
    ],
)
def test_every_form_of_a_constant_node_has_a_value(attribute, value, wanted):
    found = value_of([toys.node("Constant", [], "k", **{attribute: value})], "k")
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    np.testing.assert_array_equal(found, wanted)


def test_scalars_are_read_from_initializers_constant_nodes_and_computations_alike():
    nodes = [
        toys.node("Constant", [], "k", value_float=2.5),
        toys.node("Constant", [], "t", value=helper.make_tensor("t", TensorProto.BOOL, [], [1])),
        toys.node("Neg", "k", "computed"),
        toys.node("Relu", "two", "pair"),
    ]
    tensors, known = graph_of(nodes, {"w": np.array(3, np.float32), "two": np.ones(2, np.float32)})
    tensors["w"] = gs.Constant("w", np.array(3, np.float32))
    found = {name: known.scalar(tensors[name]) for name in ("k", "t", "w", "computed", "pair", "x")}
    assert found == {"k": 2.5, "t": 1, "w": 3, "computed": -2.5, "pair": None, "x": None}


def test_whether_a_tensor_is_constant_is_answered_without_its_values():
    class Unread(WeightValues):
        def load(self):
            raise AssertionError("read")

    stored = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    weight, turned = Weight("w", Unread(stored, None)), gs.Variable("t")
    graph = gs.Graph([gs.Node("Transpose", "n", {}, [weight], [turned])])
    known = Constants(graph)
    assert known.is_constant(turned) and known.is_constant(weight)
    assert known.shape(weight) == (2, 3) and known.scalar(weight) is None
    with pytest.raises(AssertionError, match="read"):
        known.value(turned)


def random_body():
    noise = toys.node("RandomNormal", [], "noise", shape=[2])
    return helper.make_graph([noise], "body", [], [helper.make_tensor_value_info("noise", 1, [2])])


def body_of(name, source):
    node = toys.node("Neg", source, name)
    return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, 1, None)])


def test_random_generators_make_no_constants_wherever_they_stand():
    nodes = [
        toys.node("RandomUniform", [], "r", shape=[2]),
        toys.node("If", "yes", "i", then_branch=random_body(), else_branch=random_body()),
    ]
    tensors, known = graph_of(nodes, {"yes": np.array(True)})
    for name in ("r", "i"):
        assert not known.is_constant(tensors[name]) and known.value(tensors[name]) is None


def test_subgraphs_are_constant_where_all_they_capture_is():
    def found(source):
        branches = {"then_branch": body_of("p", source), "else_branch": body_of("q", "k")}
        nodes = [toys.node("Abs", "k", "made"), toys.node("If", "yes", "z", **branches)]
        return value_of(nodes, "z", {"k": np.float32([-2, 3]), "yes": np.array(True)})

    np.testing.assert_array_equal(found("made"), [-2, -3])
    np.testing.assert_array_equal(found("k"), [2, -3])
    assert found("x") is None


def test_what_no_runtime_here_can_run_is_not_known():
    graph = gs.Graph(opset=17)
    made = gs.Variable("y")
    graph.nodes.append(
        gs.Node("Mystery", "n", {}, [gs.Constant("k", np.ones(2, np.float32))], [made], domain="com.example")
    )
    known = Constants(graph)
    assert known.is_constant(made)
    assert known.value(made) is None and known.shape(made) is None and known.value(made) is None


@pytest.mark.parametrize("last", [[], [toys.node("ReduceMax", "big", "y", keepdims=0)]])
def test_what_would_take_too_much_memory_is_not_computed(last):
    nodes = [toys.node("ConstantOfShape", "dims", "big"), *last]
    wanted = "y" if last else "big"
    assert value_of(nodes, wanted, {"dims": np.int64([1 << 20, 1 << 14])}) is None


def test_a_small_result_of_large_tensors_is_computed():
    nodes = [
        toys.node("ConstantOfShape", "dims", "big"),
        toys.node("ReduceMax", "big", "y", keepdims=0),
    ]
    assert value_of(nodes, "y", {"dims": np.int64([1 << 10, 1 << 10])}) == 0


def test_types_without_kernels_in_onnx_runtime_are_computed_by_the_reference():
    nodes = [
        toys.node("Cast", "k", "narrow", to=TensorProto.BFLOAT16),
        toys.node("Mul", "narrow narrow", "y"),
    ]
    graph = gs.import_onnx(toys.model(nodes, {"x": [1]}, ["y"], {"k": np.float32([1.5, -3])}))
    found = Constants(graph).value(graph.outputs[0])
    assert found.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(found.astype(np.float32), [2.25, 9])


def test_computed_values_are_kept_up_to_a_limit(monkeypatch):
    runs = []
    run = run_nodes._run
    monkeypatch.setattr(run_nodes, "_run", lambda *given: runs.append(0) or run(*given))
    nodes = [toys.node("Neg", "k", "a"), toys.node("Abs", "a", "b")]
    tensors, known = graph_of(nodes, {"k": np.ones(4, np.float32)})
    for name in ("a", "b", "a", "b"):
        known.value(tensors[name])
    assert len(runs) == 2
    monkeypatch.setattr(constants, "_KEPT_BYTES", 16)
    tensors, known = graph_of(nodes, {"k": np.ones(4, np.float32)})
    for name in ("a", "b", "a"):
        known.value(tensors[name])
    assert len(runs) == 5


def test_values_asked_for_at_once_survive_the_limit(monkeypatch):
    monkeypatch.setattr(constants, "_KEPT_BYTES", 16)
    nodes = [toys.node("Neg", "k", "a"), toys.node("Abs", "k", "b")]
    tensors, known = graph_of(nodes, {"k": np.ones(4, np.float32)})
    known.value(tensors["a"])  # kept, until b takes its room
    found = known.values([tensors["a"], tensors["b"]])
    np.testing.assert_array_equal(found, [[-1] * 4, [1] * 4])


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(random_models())
def test_the_view_and_the_evaluator_agree_on_what_is_constant(proto):
    graph = import_graph(load(proto))
    links, known = link(graph), Constants(graph)
    tensors = graph.tensors()
    assert links.constants == {name for name, tensor in tensors.items() if known.is_constant(tensor)}


EIGHTHS = st.integers(-16, 16).map(lambda k: k / 8)
EXACT = [
    "Neg",
    "Abs",
    "Relu",
    "Identity",
    "Transpose",
    "Flatten",
    "Unsqueeze",
    "Squeeze",
    "ReduceMax",
    "Cast",
]
ROUNDED = [
    "Exp",
    "Sigmoid",
    "Tanh",
    "Softmax",
    "ReduceL2",
    "ReduceMean",
    "HardSigmoid",
    "LeakyRelu",
    "CumSum",
]
PARTS = ["Slice", "Split", "Gather", "Expand", "Tile", "Pad", "Reshape", "Resize"]
PAIRS = ["Add", "Sub", "Mul", "Max", "Concat", "MatMul", "Where"]
NUMBERS = ["Div", "Pow", "Clip"]


class Drawn:
    """A growing graph of constants, its values computed node by node by onnx's reference evaluator."""

    def __init__(self, first):
        self.values = {"k": first}
        self.stored = {"k": first}
        self.nodes = []

    def store(self, values):
        name = f"s{len(self.stored)}"
        self.stored[name] = self.values[name] = np.asarray(values)
        return name

    def add(self, op, inputs, count=1, **attributes):
        outputs = [f"t{len(self.values) + k}" for k in range(count)]
        node = toys.node(op, inputs, outputs, **attributes)
        feeds = {name: self.values[name] for name in inputs if name}
        domain = helper.make_opsetid("", 17)
        types = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for n, v in feeds.items()
        ]
        made = helper.make_graph([node], "g", types, [onnx.ValueInfoProto(name=name) for name in outputs])
        model = helper.make_model(made, opset_imports=[domain])
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, feeds)
        self.values |= {name: np.asarray(value) for name, value in zip(outputs, results, strict=True)}
        self.nodes.append(node)


@st.composite
def constant_graphs(draw):
    shape = draw(st.lists(st.integers(1, 4), min_size=2, max_size=3))
    numbers = draw(st.lists(EIGHTHS, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    drawn = Drawn(np.array(numbers, np.float32).reshape(shape))
    for _ in range(draw(st.integers(1, 7))):
        floats = [name for name, value in drawn.values.items() if value.dtype.kind == "f" and value.ndim > 1]
        name = draw(st.sampled_from(floats[-3:]))
        value = drawn.values[name]
        if value.size > 500 or not np.isfinite(value).all() or np.abs(value).max(initial=0) > 100:
            break
        op = draw(st.sampled_from([*EXACT, *ROUNDED, *PARTS, *PAIRS, *NUMBERS]))
        grow(draw, drawn, op, name, value)
    return drawn


def grow(draw, drawn, op, name, value):
    """Adds a node that reads a tensor, with whatever other inputs it needs."""
    axis = draw(st.integers(0, value.ndim - 1))
    attributes, inputs, count = {}, [name], 1
    if op == "Transpose":
        attributes["perm"] = draw(st.permutations(range(value.ndim)))
    elif op in ("Flatten", "Softmax"):
        attributes["axis"] = axis
    elif op in ("Unsqueeze", "CumSum"):
        inputs.append(drawn.store(np.int64([axis]) if op == "Unsqueeze" else np.int64(axis)))
    elif op in ("ReduceMax", "ReduceL2", "ReduceMean"):
        attributes |= {"axes": [axis], "keepdims": 1}
    elif op == "Cast":
        attributes["to"] = draw(st.sampled_from([TensorProto.DOUBLE, TensorProto.FLOAT]))
    elif op in PARTS:
        inputs, attributes, count = part(draw, drawn, op, name, value, axis)
    elif op in PAIRS:
        inputs, attributes = pair(drawn, op, name, value, axis)
    elif op in ("Div", "Pow"):
        inputs.append(drawn.store(np.array(draw(st.sampled_from([2, 3])), value.dtype)))
    elif op == "Clip":
        inputs += [drawn.store(np.array(-1, value.dtype)), drawn.store(np.array(1, value.dtype))]
    drawn.add(op, inputs, count, **attributes)


def part(draw, drawn, op, name, value, axis):
    length = value.shape[axis]
    if op == "Slice":
        bounds = ([0], [draw(st.integers(1, length))], [axis])
        return [name, *(drawn.store(np.int64(each)) for each in bounds)], {}, 1
    if op == "Split":
        first = draw(st.integers(0, length - 1))
        sizes = [length] if not first else [first, length - first]
        return [name, drawn.store(np.int64(sizes))], {"axis": axis}, len(sizes)
    if op == "Gather":
        rows = draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=3))
        return [name, drawn.store(np.int64(rows))], {"axis": axis}, 1
    if op == "Expand":
        return [name, drawn.store(np.int64([2, *value.shape]))], {}, 1
    if op == "Tile":
        return [name, drawn.store(np.int64([2] * value.ndim))], {}, 1
    if op == "Pad":
        return [name, drawn.store(np.int64([1] * 2 * value.ndim))], {}, 1
    if op == "Reshape":
        return [name, drawn.store(np.int64([-1, value.shape[-1]]))], {}, 1
    scales = drawn.store(np.float32([1] * (value.ndim - 1) + [2]))
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return [name, "", scales], nearest, 1


def pair(drawn, op, name, value, axis):
    if op == "Concat":
        return [name, name], {"axis": axis}
    if op == "Where":
        condition = drawn.store(np.arange(value.shape[-1]) % 2 == 0)
        return [condition, name, drawn.store(np.array(0.5, value.dtype))], {}
    if op == "MatMul":
        other = np.arange(value.shape[-1] * 2).reshape(value.shape[-1], 2) / 8
        return [name, drawn.store(other.astype(value.dtype))], {}
    return [name, drawn.store((np.arange(value.shape[-1]) / 4).astype(value.dtype))], {}


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(constant_graphs())
def test_whatever_is_computed_from_constants_has_the_value_onnx_defines(drawn):
    relu = toys.node("Relu", "x", "y")
    graph = gs.import_onnx(toys.model([*drawn.nodes, relu], {"x": [1]}, ["y"], drawn.stored))
    known = Constants(graph)
    for node in graph.nodes[:-1]:
        for tensor in node.outputs:
            found, wanted = known.value(tensor), drawn.values[tensor.name]
            assert found.dtype == wanted.dtype and known.shape(tensor) == wanted.shape
            tolerance = 1e-4 * max(1.0, float(np.abs(wanted).max(initial=0)))
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=tolerance)
