"""Outputs left on a device, with the host's memory as the device: ONNX Runtime binds to it in the same way."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from helpers.toys import model, node
from onnx import TensorProto

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.probe import probe
from onnx_trtcal.run import binding
from onnx_trtcal.run.provider import Provider
from onnx_trtcal.run.session import Session
from onnx_trtcal.support.device_array import DeviceArray


def session_of(proto: object, *observed: str) -> Session:
    loaded = load(proto)  # type: ignore[arg-type]
    return Session(probe(import_graph(loaded), loaded, observed), Provider("cpu", "in tests"))


def content(array: object) -> np.ndarray:
    assert isinstance(array, DeviceArray)
    values = np.frombuffer(ctypes.string_at(array.address, array.nbytes), array.dtype)
    return values.reshape(array.shape)


def types_model() -> object:
    nodes = [
        node("Cast", "x", "half", to=TensorProto.FLOAT16),
        node("Cast", "x", "double", to=TensorProto.DOUBLE),
        node("Cast", "x", "brain", to=TensorProto.BFLOAT16),
        node("Relu", "x", "y"),
    ]
    dtypes = {"half": TensorProto.FLOAT16, "double": TensorProto.DOUBLE, "brain": TensorProto.BFLOAT16}
    return model(
        nodes, {"x": ["N", 3]}, {"half": None, "double": None, "brain": None, "y": None}, dtypes=dtypes
    )


def test_device_arrays_hold_what_a_run_gives() -> None:
    session = session_of(types_model(), "x", "half", "double", "brain", "y")
    for rows in (2, 5, 1):
        feeds = {"x": np.linspace(-2, 3, rows * 3, dtype=np.float32).reshape(rows, 3)}
        arrays = session.run_to_count(feeds, "s", "cpu")
        for array, expected in zip(arrays, session.run(feeds, "s"), strict=True):
            assert array.dtype == expected.dtype
            np.testing.assert_array_equal(content(array), expected)


def test_memory_is_kept_while_an_array_lives() -> None:
    session = session_of(types_model(), "y", "half")
    ones = {"x": np.ones((64, 3), np.float32)}
    first = session.run_to_count(ones, "s", "cpu")
    for k in range(2, 12):
        session.run_to_count({"x": ones["x"] * k}, "s", "cpu")
    assert (content(first[0]) == 1).all()
    assert (content(first[1]) == 1).all()


def test_strings_are_fed_without_a_binding() -> None:
    proto = model(
        [node("Equal", "text text", "same"), node("Cast", "same", "y", to=TensorProto.FLOAT)],
        {"text": ["N"]}, {"y": None}, dtypes={"text": TensorProto.STRING}, opset=19, ir_version=9,
    )  # fmt: skip
    (array,) = session_of(proto, "y").run_to_count({"text": np.array(["a", "b"], object)}, "s", "cpu")
    np.testing.assert_array_equal(array, [1, 1])


def test_a_failing_run_names_sample_and_shapes() -> None:
    session = session_of(model([node("Relu", "x", "y")], {"x": ["N", 3]}, {"y": None}), "y")
    with pytest.raises(ModelError, match="fails on this batch") as caught:
        session.run_to_count({"x": np.ones((2, 4), np.float32)}, "cat.png", "cpu")
    assert caught.value.where == "sample cat.png; fed x [2, 4]"


class Value:
    """An output that ONNX Runtime left somewhere."""

    def __init__(self, device: str, kind: str) -> None:
        self.device, self.kind = device, kind

    def device_name(self) -> str:
        return self.device

    def data_type(self) -> str:
        return self.kind

    def data_ptr(self) -> int:
        return 4096

    def shape(self) -> list[int]:
        return [2, 3]

    def numpy(self) -> np.ndarray:
        return np.zeros((2, 3))


class Bound:
    """A binding and its session, which notes what it is told."""

    def __init__(self, values: list[Value]) -> None:
        self.values = values
        self.told: list[object] = []

    def io_binding(self) -> Bound:
        return self

    def get_outputs(self) -> list[Value]:
        return self.values

    def bind_cpu_input(self, name: str, array: np.ndarray) -> None:
        self.told.append(("in", name))

    def bind_output(self, name: str, device: str) -> None:
        self.told.append(("out", name, device))

    def run_with_iobinding(self, binding: Bound) -> None:
        self.told.append("run")

    def synchronize_outputs(self) -> None:
        self.told.append("wait")


def test_what_cuda_leaves_where() -> None:
    values = [
        Value("cuda", "tensor(float)"),
        Value("cpu", "tensor(float)"),
        Value("cuda", "tensor(bfloat16)"),
    ]
    values.append(Value("cuda", "tensor(int64)"))
    for number, value in enumerate(values):
        value.name = f"y{number}"  # type: ignore[attr-defined]
    bound = Bound(values)
    arrays = binding.run_on_device(bound, {"x": np.ones(2)}, "cuda")
    assert bound.told == [("in", "x"), *(("out", f"y{i}", "cuda") for i in range(4)), "run", "wait"]
    there = [array.dtype.name if isinstance(array, DeviceArray) else None for array in arrays]
    assert there == ["float32", None, "bfloat16", None]
    assert isinstance(arrays[0], DeviceArray)
    assert (arrays[0].address, arrays[0].shape, arrays[0].owner) == (4096, (2, 3), values[0])
