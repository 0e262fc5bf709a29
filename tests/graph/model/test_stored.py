"""What a model stores is checked before anything of it is read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.read import read_model

if TYPE_CHECKING:
    from pathlib import Path

NUMPY_TYPES = (
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)


def model(*initializers: TensorProto, sparse: onnx.SparseTensorProto | None = None) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "stored",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        initializers,
        sparse_initializer=[sparse] if sparse else None,
    )
    return helper.make_model(graph)


def external(file: str, **fields: str) -> TensorProto:
    tensor = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[2, 3], data_location=TensorProto.EXTERNAL
    )
    for key, value in {"location": file, **fields}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def saved(folder: Path, *initializers: TensorProto) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "model.onnx"
    path.write_bytes(model(*initializers).SerializeToString())
    return path


def refusal(given_model: onnx.ModelProto | Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_model(given_model)
    return str(caught.value)


def changed(**fields: object) -> TensorProto:
    tensor = numpy_helper.from_array(WEIGHTS, "w")
    for name, value in fields.items():
        if name == "dims":
            del tensor.dims[:]
            tensor.dims.extend(value)  # type: ignore[arg-type]
        else:
            setattr(tensor, name, value)
    return tensor


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        (changed(data_type=0), "element type 0"),
        (changed(data_type=99), "element type 99"),
        (changed(dims=[-2, -3]), "its shape is [-2, -3]"),
        (changed(dims=[2, 4]), "needs 32 bytes, and it holds 24"),
        (changed(dims=[1 << 40, 1 << 40]), "larger than any memory"),
        (changed(raw_data=b"123"), "needs 24 bytes, and it holds 3"),
        (TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], float_data=[1]), "needs 2 values"),
        (
            TensorProto(name="w", data_type=TensorProto.COMPLEX64, dims=[2], float_data=[1, 2]),
            "needs 4 values",
        ),
        (TensorProto(name="w", data_type=TensorProto.INT4, dims=[3], int32_data=[1]), "needs 2 values"),
        (TensorProto(name="w", data_type=TensorProto.STRING, dims=[1], raw_data=b"a"), "strings as raw data"),
    ],
)
def test_a_tensor_that_cannot_be_what_it_says_is_named(tensor: TensorProto, what: str) -> None:
    text = refusal(model(tensor))
    assert what in text
    assert "tensor 'w'" in text


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(NUMPY_TYPES),
    st.lists(st.integers(0, 4), max_size=3),
    st.booleans(),
)
def test_whatever_onnx_stores_passes(dtype: str, shape: list[int], raw: bool) -> None:
    values = np.ones(shape, dtype)
    kind = helper.np_dtype_to_tensor_dtype(values.dtype)
    made = helper.make_tensor("w", kind, shape, values.tobytes() if raw else values.ravel().tolist(), raw=raw)
    read_model(model(made))


@pytest.mark.parametrize("kind", ["FLOAT8E4M3FN", "BFLOAT16", "INT4", "UINT4", "FLOAT4E2M1"])
def test_narrow_types_pass(kind: str) -> None:
    read_model(model(helper.make_tensor("w", getattr(TensorProto, kind), [3], [1, 0, 1])))


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"offset": "abc"}, "not told in whole numbers"),
        ({"length": "1e3"}, "not told in whole numbers"),
        ({"offset": "-4"}, "said to be at -4"),
        ({"offset": "9" * 30}, "said to be at 999"),
        ({"length": "8"}, "needs 24 bytes, and 8 are said to be stored"),
    ],
)
def test_a_place_that_cannot_be_is_refused(tmp_path: Path, fields: dict[str, str], what: str) -> None:
    assert what in refusal(saved(tmp_path, external("w.bin", **fields)))


@pytest.mark.parametrize(
    "told", ["../secret.bin", "a/../../secret.bin", "link.bin", "linked/secret.bin", "absolute"]
)
def test_weights_outside_the_folder_are_not_read(tmp_path: Path, told: str) -> None:
    (tmp_path / "secret.bin").write_bytes(WEIGHTS.tobytes())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a").mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "linked").symlink_to(tmp_path)
    name = str(tmp_path / "secret.bin") if told == "absolute" else told
    assert "outside the model's folder" in refusal(saved(folder, external(name)))


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "pipe.bin")
    assert "not in an ordinary file" in refusal(saved(tmp_path, external("pipe.bin")))


def test_a_folder_of_links_to_files_side_by_side_is_as_good_as_the_files(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    snapshot.mkdir()
    path = saved(blobs, external("w.bin"))
    (blobs / "0123").write_bytes(WEIGHTS.tobytes())
    (snapshot / "model.onnx").symlink_to(path)
    (snapshot / "w.bin").symlink_to(blobs / "0123")
    assert read_model(snapshot / "model.onnx").sha256()


@pytest.mark.parametrize(
    ("indices", "dims", "what"),
    [
        ([7], [6], "leave its shape"),
        ([-1], [6], "leave its shape"),
        ([0], [1 << 40], "takes 4,398,046,511,104 bytes"),
        ([0, 1], [6], "1 values and indices of shape [2]"),
    ],
)
def test_a_sparse_tensor_is_checked(indices: list[int], dims: list[int], what: str) -> None:
    sparse = onnx.SparseTensorProto(
        values=numpy_helper.from_array(np.ones(1, np.float32), "s"),
        indices=numpy_helper.from_array(np.array(indices, np.int64), "i"),
        dims=dims,
    )
    assert what in refusal(model(sparse=sparse))


@pytest.mark.parametrize("indices", [[4], [[1, 1]]])
def test_a_sparse_tensor_in_either_form_passes(indices: list[object]) -> None:
    sparse = onnx.SparseTensorProto(
        values=numpy_helper.from_array(np.ones(1, np.float32), "s"),
        indices=numpy_helper.from_array(np.array(indices, np.int64), "i"),
        dims=[2, 3],
    )
    read_model(model(sparse=sparse))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_flipped_bytes_end_in_an_error_of_ours_or_in_a_model(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(model(numpy_helper.from_array(WEIGHTS, "w"), external("w.bin")).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "flipped.onnx"
    path.write_bytes(bytes(content))
    try:
        read_model(path)
    except ModelError as error:
        assert str(error)
