"""In and out of graph-surgeon without loss."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from helpers import toys
from onnx import TensorProto, helper, numpy_helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.exporter import export_model, split_model
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import Model, load
from onnx_trtcal.graph.model.save import save_model


def same_bytes(proto: onnx.ModelProto) -> None:
    before = proto.SerializeToString(deterministic=True)
    model = load(proto)
    assert export_model(import_graph(model), model).SerializeToString(deterministic=True) == before
    assert proto.SerializeToString(deterministic=True) == before


def decorated() -> onnx.ModelProto:
    """A model with something of everything that is easily lost."""
    branch = [
        helper.make_graph(
            [toys.node("Mul", "h scale", f"o{i}")],
            f"branch{i}",
            [],
            [helper.make_tensor_value_info(f"o{i}", 1, None)],
        )
        for i in range(2)
    ]
    nodes = [
        toys.node("Relu", "x", "h", name="first"),
        toys.node("If", "flag", "z", then_branch=branch[0], else_branch=branch[1]),
        toys.node("Split", "z", ["", "q"], axis=1, num_outputs=2),
        toys.node("Clip", ["q", "", "limit"], "y"),
    ]
    constants = {
        "flag": np.array(True),
        "scale": np.float32(2),
        "limit": np.float32(3),
        "unused": np.ones(3, np.float32),
    }
    proto = toys.model(nodes, {"x": ("N", 4)}, ["y"], constants, opset=18)
    proto.opset_import.append(helper.make_opsetid("local", 1))
    proto.opset_import.append(helper.make_opsetid("never.used", 3))
    proto.functions.append(
        helper.make_function(
            "local",
            "NeverCalled",
            ["a"],
            ["b"],
            [toys.node("Add", "a a", "b")],
            [helper.make_opsetid("", 18)],
        )
    )
    proto.doc_string, proto.producer_name, proto.model_version = "doc", "producer", 7
    proto.graph.doc_string, proto.graph.node[0].doc_string = "graph doc", "node doc"
    proto.metadata_props.add(key="author", value="me")
    proto.graph.value_info.append(helper.make_tensor_value_info("h", 1, ["N", 4]))
    return proto


def test_everything_survives_a_round_trip():
    same_bytes(decorated())


def test_inputs_with_defaults_survive():
    proto = toys.model(
        [toys.node("Add", "x b", "y")], {"x": (2,), "b": (2,)}, ["y"], {"b": np.ones(2, np.float32)}
    )
    same_bytes(proto)


@pytest.mark.parametrize(
    "dtype", ["float16", "float64", "bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4", "bool"]
)
def test_values_of_every_type_are_exported_bit_for_bit(dtype):
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    values = np.arange(7).astype(kind)
    proto = toys.model([toys.node("Identity", "w", "y")], {"x": (1,)}, ["y"], opset=21, ir_version=10)
    proto.graph.initializer.append(numpy_helper.from_array(values, "w"))
    model = Model(None, proto, None, "", (), ("y",), {}, {})
    graph = import_graph(model)
    read = graph.nodes[0].inputs[0].values
    assert read.dtype == kind and read.tobytes() == values.tobytes() and not read.flags.writeable
    assert export_model(graph, model).graph.initializer[0] == proto.graph.initializer[0]
    graph.nodes[0].inputs[0] = gs.Constant("w2", values)
    exported = export_model(graph, model).graph.initializer
    assert [tensor.name for tensor in exported] == ["w2"]
    assert numpy_helper.to_array(exported[0]).tobytes() == values.tobytes()


def test_attributes_that_graph_surgeon_has_no_form_for_survive():
    node = helper.make_node("Odd", ["x"], ["y"], domain="acme")
    node.attribute.append(helper.make_attribute("blob", b"\xff\x00\xfe"))
    node.attribute.append(helper.make_attribute("nothing", [], attr_type=onnx.AttributeProto.INTS))
    node.attribute.append(helper.make_attribute("kind", helper.make_tensor_type_proto(1, [2])))
    node.attribute.append(helper.make_attribute("many", [numpy_helper.from_array(np.ones(2))]))
    proto = toys.model([node], {"x": (1,)}, ["y"])
    model = Model(None, proto, None, "", (), ("y",), {}, {})
    assert export_model(import_graph(model), model) == proto


def test_a_sparse_initializer_reads_densely_and_stays_sparse():
    values = numpy_helper.from_array(np.array([2, 3], np.float32), "w")
    for indices in (np.array([1, 5]), np.array([[0, 1], [1, 2]])):
        sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(indices), [2, 3])
        proto = toys.model([toys.node("MatMul", "x w", "y")], {"x": (1, 2)}, ["y"])
        proto.graph.sparse_initializer.append(sparse)
        model = Model(None, proto, None, "", (), ("y",), {}, {})
        graph = import_graph(model)
        np.testing.assert_array_equal(graph.nodes[0].inputs[1].values, [[0, 2, 0], [0, 0, 3]])
        assert export_model(graph, model) == proto


def test_subgraphs_share_outer_tensors_and_get_no_copy_of_them():
    model = load(decorated())
    graph = import_graph(model)
    inner = next(node for node in graph.nodes if node.op == "If").attrs["then_branch"].nodes[0]
    hidden = graph.nodes[0].outputs[0]
    assert inner.inputs[0] is hidden and any(reader is inner for reader in hidden.outputs)
    branch = next(n for n in export_model(graph, model).graph.node if n.op_type == "If").attribute[0].g
    assert not branch.initializer


def test_unsorted_nodes_come_out_sorted_and_sorted_ones_as_they_were():
    proto = decorated()
    nodes = list(proto.graph.node)
    order = [node.op_type for node in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes[::-1])
    model = Model(None, proto, None, "", (), ("y",), {}, {})
    assert [node.op for node in import_graph(model).nodes] == order


def test_changed_nodes_export_their_changes_and_keep_the_rest():
    proto = toys.model([toys.node("LeakyRelu", "x", "y", alpha=0.5, name="a")], {"x": (1,)}, ["y"])
    proto.graph.node[0].doc_string = "kept"
    model = load(proto)
    graph = import_graph(model)
    graph.nodes[0].attrs["alpha"] = 0.25
    node = export_model(graph, model).graph.node[0]
    assert helper.get_attribute_value(node.attribute[0]) == 0.25 and node.doc_string == "kept"


def test_node_names_used_twice_are_told_apart_for_the_runtime():
    proto = toys.model(
        [
            toys.node("Relu", "x", "h", name="n"),
            toys.node("Neg", "h", "k", name="n"),
            toys.node("Neg", "k", "y"),
        ],
        {"x": (1,)},
        ["y"],
    )
    proto.graph.node.add().CopyFrom(toys.node("Neg", "k", "z", name="n_2"))
    before = proto.SerializeToString()
    model = load(proto)
    graph = import_graph(model)
    assert [node.name for node in graph.nodes] == ["n", "n_3", "", "n_2"]
    np.testing.assert_array_equal(toys.run(export_model(graph, model), {"x": np.ones(1, np.float32)})[0], [1])
    assert proto.SerializeToString() == before


def test_new_outputs_are_typed_and_stale_values_go():
    proto = decorated()
    model = load(proto)
    graph = import_graph(model)
    graph.outputs.append(graph.nodes[0].outputs[0])
    exported = export_model(graph, model)
    assert exported.graph.output[-1].type.tensor_type.elem_type == TensorProto.FLOAT


@pytest.fixture
def external(tmp_path):
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.normal(size=(64, 512)).astype(np.float32),
        "v": rng.normal(size=(512, 64)).astype(np.float32),
    }
    proto = toys.model(
        [toys.node("MatMul", "x w", "h"), toys.node("MatMul", "h v", "y")],
        {"x": (2, 64)},
        {"y": (2, 64)},
        constants,
    )
    path = tmp_path / "in" / "a.onnx"
    path.parent.mkdir()
    onnx.save(proto, path, save_as_external_data=True, location="a.bin", size_threshold=0)
    return path, constants


def test_external_weights_are_mapped_and_stay_references(external):
    path, constants = external
    model = load(path)
    graph = import_graph(model)
    weight = graph.nodes[0].inputs[1]
    assert isinstance(weight.values, np.memmap)
    np.testing.assert_array_equal(weight.values, constants["w"])
    assert export_model(graph, model).SerializeToString() == model.proto.SerializeToString()


def test_a_session_takes_changed_weights_by_reference(external):
    import onnxruntime as ort

    path, constants = external
    model = load(path)
    graph = import_graph(model)
    changed = constants["v"] * 2
    graph.nodes[1].inputs[1] = gs.Constant("v2", changed)
    split = split_model(graph, model, inline_bytes=0)
    assert split.arrays["v2"] is changed and list(split.arrays) == ["v2"]
    assert not any(tensor.raw_data for tensor in split.proto.graph.initializer)
    options = ort.SessionOptions()
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(model.directory)
    )
    options.add_external_initializers(["v2"], [ort.OrtValue.ortvalue_from_numpy(changed)])
    session = ort.InferenceSession(
        split.proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    x = np.ones((2, 64), np.float32)
    np.testing.assert_allclose(
        session.run(None, {"x": x})[0], x @ constants["w"] @ changed, rtol=1e-3, atol=1e-3
    )


def test_a_saved_model_stands_alone_and_loses_dead_nodes(external, tmp_path):
    path, constants = external
    model = load(path)
    graph = import_graph(model)
    graph.nodes[1].inputs[0] = graph.inputs[0]
    graph.nodes[1].inputs[1] = gs.Constant("u", constants["w"] * 2)
    model.proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 512
    files = save_model(graph, model, tmp_path / "b.onnx")
    assert [file.name for file in files] == ["b.onnx", "b.onnx.data"]
    saved = onnx.load(tmp_path / "b.onnx")
    onnx.checker.check_model(saved)
    assert [node.op_type for node in saved.graph.node] == ["MatMul"]
    assert [tensor.name for tensor in saved.graph.initializer] == ["u"]
    x = np.ones((2, 64), np.float32)
    np.testing.assert_allclose(toys.run(saved, {"x": x})[0], x @ constants["w"] * 2, rtol=1e-3, atol=1e-3)


def test_a_small_model_is_saved_in_one_file_and_never_over_its_original(tmp_path):
    path = tmp_path / "a.onnx"
    onnx.save(decorated(), path)
    model = load(path)
    graph = import_graph(model)
    assert save_model(graph, model, tmp_path / "b.onnx") == (tmp_path / "b.onnx",)
    assert onnx.load(tmp_path / "b.onnx") == decorated()
    with pytest.raises(ModelError, match=r"never overwritten(.|\n)*path for the output"):
        save_model(graph, model, path)


def test_a_weight_that_took_a_former_nodes_name_is_saved(tmp_path):
    model = load(
        toys.model(
            [toys.node("Relu", "c", "h"), toys.node("Add", "x h", "y")],
            {"x": (2,)},
            ["y"],
            {"c": np.float32([-1, 2])},
        )
    )
    graph = import_graph(model)
    graph.nodes[0].outputs.clear()
    graph.nodes[1].inputs[1] = gs.Constant("h", np.float32([0, 2]))
    save_model(graph.cleanup(), model, tmp_path / "b.onnx")
    (y,) = toys.run(onnx.load(tmp_path / "b.onnx"), {"x": np.float32([1, 1])})
    assert y.tolist() == [1, 3]
