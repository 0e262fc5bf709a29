from __future__ import annotations

from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.small import network, samples

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.probe import Probe, probe
from onnx_trtcal.run.provider import Provider
from onnx_trtcal.run.session import Session

if TYPE_CHECKING:
    from pathlib import Path

ON_CPU = Provider("cpu", "as asked")


def probed(proto: onnx.ModelProto | Path, *tensors: str) -> Probe:
    model = load(proto)
    return probe(import_graph(model), model, tensors)


def test_gives_the_observed_tensors_in_their_order() -> None:
    feeds = {"x": np.stack(samples(3))}
    session = Session(probed(network(), "x", "relu", "y"), ON_CPU, threads=1)
    assert session.outputs == ("x", "relu", "y")
    x, relu, y = session.run(feeds, "s0")
    assert np.array_equal(x, feeds["x"])
    wanted = onnx.ModelProto()
    wanted.CopyFrom(network())
    wanted.graph.output.append(onnx.ValueInfoProto(name="relu"))
    for got, want in zip((relu, y), toys.run(wanted, feeds, ["relu", "y"]), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_weights_beside_the_model_are_found(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    proto = toys.model([toys.node("MatMul", "x w", "y")], {"x": ["n", 64]}, {"y": ["n", 64]}, {"w": weight})
    onnx.save(proto, str(tmp_path / "m.onnx"), save_as_external_data=True, location="w.bin", size_threshold=0)
    session = Session(probed(tmp_path / "m.onnx", "y"), ON_CPU)
    rows = np.eye(64, dtype=np.float32)
    np.testing.assert_allclose(session.run({"x": rows}, "s")[0], weight, rtol=1e-6)


def test_weights_in_memory_are_handed_over() -> None:
    weight = np.arange(4, dtype=np.float32).reshape(2, 2)
    given = probed(
        toys.model([toys.node("MatMul", "x w", "y")], {"x": ["n", 2]}, {"y": ["n", 2]}, {"w": weight}), "y"
    )
    proto = onnx.ModelProto.FromString(given.model_bytes)
    (tensor,) = proto.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="in memory")
    session = Session(Probe(proto.SerializeToString(), {"w": weight.copy()}, None, ("y",)), ON_CPU)
    assert np.array_equal(session.run({"x": np.eye(2, dtype=np.float32)}, "s")[0], weight)


def test_types_that_numpy_lacks_come_out_as_themselves() -> None:
    proto = toys.model(
        [toys.node("Cast", "x", "y", to=onnx.TensorProto.FLOAT16)],
        {"x": ["n", 2]},
        {"y": ["n", 2]},
        dtypes={"y": onnx.TensorProto.FLOAT16},
    )
    (value,) = Session(probed(proto, "y"), ON_CPU).run({"x": np.array([[1, 2]], np.float32)}, "s")
    assert value.dtype == np.float16 and value.dtype != ml_dtypes.bfloat16


class TestFailures:
    def test_a_batch_that_fails_names_its_sample_and_shapes(self) -> None:
        proto = toys.model(
            [toys.node("MatMul", "x w", "y")], {"x": ["n", "k"]}, ["y"], {"w": np.eye(3, dtype=np.float32)}
        )
        session = Session(probed(proto, "y"), ON_CPU)
        with pytest.raises(ModelError, match="fails on this batch") as failure:
            session.run({"x": np.ones((2, 4), np.float32)}, "img7.png")
        assert failure.value.where == "sample img7.png; fed x [2, 4]" and "--batch-size" in failure.value.fix

    def test_a_model_that_does_not_load(self) -> None:
        with pytest.raises(ModelError, match="cannot load the observed model"):
            Session(Probe(b"no model", {}, None, ("y",)), ON_CPU)

    def test_a_library_that_is_none(self, tmp_path: Path) -> None:
        library = tmp_path / "ops.so"
        library.write_bytes(b"no library")
        with pytest.raises(ModelError, match="cannot load the custom-operator library") as failure:
            Session(probed(network(), "y"), ON_CPU, ort_custom_ops=[str(library)])
        assert failure.value.where == str(library)


def test_a_size_that_does_not_fit_the_strides_is_named_with_the_flag() -> None:
    """Two branches, one of which is halved and doubled again, fit only at even sizes."""
    nodes = [
        toys.node("MaxPool", "x", "half", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        toys.node("Resize", ["half", "", "scales"], "up"),
        toys.node("Add", "x up", "y"),
    ]
    scales = {"scales": np.array([1, 1, 2, 2], np.float32)}
    proto = toys.model(nodes, {"x": ["n", 3, "h", "w"]}, {"y": None}, scales)
    session = Session(probed(proto, "y"), ON_CPU)
    assert session.run({"x": np.ones((1, 3, 6, 8), np.float32)}, "even")[0].shape == (1, 3, 6, 8)
    with pytest.raises(ModelError, match="fails on this batch") as caught:
        session.run({"x": np.ones((1, 3, 7, 9), np.float32)}, "odd.png")
    assert "up to 2, and 7x9 is not a multiple" in caught.value.fix and "--size 8,10" in caught.value.fix
    assert caught.value.where.startswith("sample odd.png")


def test_an_input_that_is_observed_is_what_was_fed_however_long_that_lives() -> None:
    session = Session(probed(network(), "x", "y"), ON_CPU, threads=1)
    wanted = np.stack(samples(3))
    x, _ = session.run({"x": wanted.copy()}, "s0")
    others = [np.full_like(wanted, number) for number in range(8)]
    assert np.array_equal(x, wanted)
    assert others
