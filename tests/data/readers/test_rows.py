"""Files of rows and tensors by name, in every format; what is damaged or cannot be read says so."""

from __future__ import annotations

import base64
import io
import json
import sys
import types

import numpy as np
import pytest

from onnx_trtcal.data.sources import open_source
from onnx_trtcal.errors import DataError
from onnx_trtcal.support.input_spec import InputSpec

INPUTS = (
    InputSpec("ids", np.dtype(np.int64), ("N", "length")),
    InputSpec("mask/0", np.dtype(np.float32), ("N", "length")),
)
ROWS = [{"ids": [[1, 2, 3]], "mask/0": [[1.0, 0.5, 0]]}, {"ids": [[4]], "mask/0": [[1]]}]


def values(path, inputs=INPUTS):
    return [
        {name: array.tolist() for name, array in sample.arrays.items()}
        for sample in open_source(path, inputs)
    ]


WANTED = [{name: value[0] for name, value in row.items()} for row in ROWS]


def polygraphy(array, **marks):
    file = io.BytesIO()
    np.save(file, np.asarray(array))
    return {"array": base64.b64encode(file.getvalue()).decode(), **(marks or {"polygraphy_class": "ndarray"})}


def failure(path, inputs=INPUTS):
    with pytest.raises(DataError) as caught:
        values(path, inputs)
    return caught.value


def test_jsonl(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text("\n\n".join(json.dumps({**row, "label": "x"}) for row in ROWS), encoding="utf-8-sig")
    assert values(path) == WANTED
    assert [sample.name for sample in open_source(path, INPUTS)] == ["r.jsonl[0]", "r.jsonl[1]"]
    path.write_text("[1, 2]\n[3, 4]\n")
    vector = (InputSpec("x", np.dtype(np.float32), ("N", 2)),)
    assert values(path, vector) == [{"x": [1, 2]}, {"x": [3, 4]}]
    path.write_text("[1, 2]\n[3, \n")
    error = failure(path, vector)
    assert "the line is not JSON" in error.what and error.where == f"{path}, line 2"
    path.write_text("[1, [2]]\n")
    assert failure(path, vector).where == f"{path}, line 1"
    path.write_text("\n")
    assert "holds no samples" in failure(path, vector).what


@pytest.mark.parametrize("marks", [{"polygraphy_class": "ndarray"}, {"__polygraphy_encoded_ndarray": "__t"}])
def test_the_inputs_that_polygraphy_saves(tmp_path, marks):
    rows = [{name: polygraphy(value, **marks) for name, value in row.items()} for row in ROWS]
    path = tmp_path / "inputs.json"
    for content in (rows, {"lst": rows}):
        path.write_text(json.dumps(content))
        assert values(path) == WANTED
    # One folder with a file per iteration, as its newer versions write them.
    path.unlink()
    for number, row in enumerate(rows):
        (tmp_path / f"000{number}.json").write_text(json.dumps(row))
    assert values(tmp_path) == WANTED


def test_json_that_is_something_else(tmp_path):
    path = tmp_path / "x.json"
    for text, said in (
        ('{"lst": []}', "holds no samples"),
        ('{"lst": [["runner", []]]}', "results of runs, not inputs"),
        ('{"images": [], "annotations": []}', "COCO"),
        ('[{"ids": {"array": "!!", "polygraphy_class": "ndarray"}}]', "is not JSON"),
        ('[{"ids": {"tensor": "", "polygraphy_class": "Tensor"}}]', "PyTorch tensors"),
        ("{", "is not JSON"),
        ('[{"ids": [[1]]}]', "no key for the model's input 'mask/0'"),
    ):
        path.write_text(text)
        assert said in failure(path).what, text


def test_json_beside_images_and_arrays_is_not_data(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(2))
    for name in ("annotations.json", "metadata.jsonl", "best.pt", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    source = open_source(tmp_path, (InputSpec("x", np.dtype(np.float32), ("N", 2)),))
    assert [sample.name for sample in source] == ["a.npy"]
    assert source.description[-1].startswith("4 other files skipped")


def test_parquet(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "r.parquet"
    flat = [{name: value[0] for name, value in row.items()} | {"label": 3} for row in ROWS] * 20
    parquet.write_table(arrow.Table.from_pylist(flat), path)
    assert values(path) == WANTED * 20
    path.write_bytes(b"PAR1")
    assert "not Parquet" in failure(path).what


def test_safetensors(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "r.safetensors"
    tensors = {
        "ids": np.arange(6).reshape(3, 2),
        "mask_0": np.eye(3, 2, dtype=np.float16),
        "other": np.ones(1),
    }
    numpy.save_file(tensors, path)
    assert values(path) == [
        {"ids": [0, 1], "mask/0": [1, 0]}, {"ids": [2, 3], "mask/0": [0, 1]}, {"ids": [4, 5], "mask/0": [0, 0]}
    ]  # fmt: skip
    assert open_source(path, INPUTS).count == 3
    path.write_bytes(b"\xff" * 20)
    assert "not safetensors" in failure(path).what


def test_what_torch_saved(tmp_path, monkeypatch):
    path = tmp_path / "r.pt"
    path.touch()
    asked = []

    def saved(content):
        def load(where, **options):
            asked.append(options)
            return content

        monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(load=load))

    for content in (ROWS, tuple(ROWS)):
        saved(content)
        assert values(path) == WANTED
    saved({"ids": np.array([[4]]), "mask/0": np.array([[1.0]])})
    assert values(path) == WANTED[1:]
    assert all(options == {"map_location": "cpu", "weights_only": True} for options in asked)
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace())
    assert "does not hold plain tensors" in failure(path).what


@pytest.mark.parametrize("name", ["r.parquet", "r.safetensors", "r.pt"])
def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes(b"")
    for module in ("torch", "safetensors", "pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    error = failure(tmp_path / name)
    package = {"r.pt": "torch", "r.parquet": "pyarrow", "r.safetensors": "safetensors"}[name]
    assert f"needs the package {package}" in error.what and f"pip install {package}" in error.fix
