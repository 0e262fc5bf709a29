"""Labels by file, by index and from .npy; every way they can fail says where."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_trtcal.errors import DataError
from onnx_trtcal.evaluation.labels import read_labels


def write(tmp_path, text: str):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    ["file,label\na.png,3\nb.png,cat\n", "label,x,file\n3,?,a.png\ncat,?,b.png\n", "a.png,3\nb.png,cat\n"],
)
def test_labels_by_file(tmp_path, text):
    labels = read_labels(write(tmp_path, text))
    assert labels.of(["b.png", "a.png"], 0) == ["cat", 3]


def test_folders_may_be_left_out(tmp_path):
    assert read_labels(write(tmp_path, "file,label\na.png,1\n")).of(["cats/a.png"], 0) == [1]


@pytest.mark.parametrize("text", ["index,label\n1,5\n0,4\n", "0,4\n1,5\n"])
def test_labels_by_position(tmp_path, text):
    labels = read_labels(write(tmp_path, text))
    assert labels.of(["x"], 1) == [5] and labels.of(["x", "y"], 0) == [4, 5]


@pytest.mark.parametrize("values", [np.array([7, 8]), np.array(["a", "b"])])
def test_labels_from_npy(tmp_path, values):
    np.save(tmp_path / "labels.npy", values)
    assert read_labels(tmp_path / "labels.npy").of(["s", "t"], 0) == values.tolist()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no labels"),
        ("file,label\na.png\n", "has 1 columns"),
        ("file,label\na,1\na,2\n", "two labels"),
        ("name,label\na,1\n", "name,label"),
        ("index,label\nx,1\n", "not a whole number"),
        ("a.png,3,cat\nb.png,1,dog\n", "3 columns, and no header"),
        ("a.png,3\nb.png,1,dog\n", "3 columns, and no header"),
    ],
)
def test_a_bad_file_is_told(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        read_labels(write(tmp_path, text))


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        read_labels(tmp_path / "none.csv")


def test_an_array_of_another_kind_is_told(tmp_path):
    np.save(tmp_path / "labels.npy", np.zeros((2, 2)))
    with pytest.raises(DataError, match=r"float64 of shape \(2, 2\)"):
        read_labels(tmp_path / "labels.npy")


def test_a_sample_without_label_is_named(tmp_path):
    labels = read_labels(write(tmp_path, "file,label\nimage_1.png,1\n"))
    with pytest.raises(DataError, match=r"image_l\.png") as caught:
        labels.of(["image_l.png"], 0)
    assert "image_1.png" in caught.value.fix
    with pytest.raises(DataError, match="sample 2"):
        read_labels(write(tmp_path, "index,label\n0,1\n")).of(["x[2]"], 2)
