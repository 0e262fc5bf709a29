"""Labels by file, by index and from .npy; every way they can fail says where."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.small import RecordingListener

from onnx_trtcal.errors import DataError, OptionError
from onnx_trtcal.evaluation.labels import read_labels
from onnx_trtcal.evaluation.request import EvaluationOptions

if TYPE_CHECKING:
    from pathlib import Path


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
    assert labels.of(["b.png", "a.png"], range(2)) == ["cat", 3]


def test_folders_may_be_left_out(tmp_path):
    assert read_labels(write(tmp_path, "file,label\na.png,1\n")).of(["cats/a.png"], range(1)) == [1]


@pytest.mark.parametrize("text", ["index,label\n1,5\n0,4\n", "0,4\n1,5\n"])
def test_labels_by_position(tmp_path, text):
    labels = read_labels(write(tmp_path, text))
    assert labels.of(["x"], range(1, 2)) == [5] and labels.of(["x", "y"], range(2)) == [4, 5]


@pytest.mark.parametrize("values", [np.array([7, 8]), np.array(["a", "b"])])
def test_labels_from_npy(tmp_path, values):
    np.save(tmp_path / "labels.npy", values)
    assert read_labels(tmp_path / "labels.npy").of(["s", "t"], range(2)) == values.tolist()


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
        (f'"{"a" * 200_000}",1\n', "not a table: field larger"),
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
        labels.of(["image_l.png"], range(1))
    assert "image_1.png" in caught.value.fix
    with pytest.raises(DataError, match="sample 2"):
        read_labels(write(tmp_path, "index,label\n0,1\n")).of(["x[2]"], range(2, 3))


def labelled(path, samples, classes):
    labels = read_labels(path)
    return [
        labels.number(label, classes, name)
        for label, name in zip(labels.of(samples, range(len(samples))), samples, strict=True)
    ]


SAMPLES = ["n01/x 1.png", "n02/x2.png", "n02/x3.png"]


@pytest.mark.parametrize(
    "text",
    [
        "x 1.png 4\nx2.png 5\nx3.png 5\n",
        "n01/x 1.png\t4\nn02/x2.png\t5\nn02/x3.png\t5\n",
        "/data/val/n01/x 1.png,4\n/data/val/n02/x2.png,5\n/data/val/n02/x3.png,5\n",
        "x 1,4\nx2,5\nx3,5\n",
        "val/n01/x 1 4\r\nval/n02/x2 5\r\nval/n02/x3 5\r\n",
        "filename;class\nx 1.png;4\nx2.png;5\nx3.png;5\n",
        "# wnid class\nn01 4\nn02 5\n",
        "4\n5\n5\n",
    ],
)
def test_every_way_to_name_a_sample(tmp_path, text):
    assert labelled(write(tmp_path, text), SAMPLES, 6) == [4, 5, 5]


def test_a_sample_of_several_paths_finds_its_label_by_the_end_of_its_name(tmp_path):
    labels = read_labels(write(tmp_path, "a/1.png,3\nb/1.png,4\n"))
    assert labels.of(["../data/b/1.png", "/x/a/1.png"], range(2)) == [4, 3]
    with pytest.raises(DataError, match=r"several labels: those of a/1\.png, b/1\.png"):
        labels.of(["1.png"], range(1))


def test_names_are_numbered_in_sorted_order_where_all_classes_occur(tmp_path):
    path = write(tmp_path, "x 1.png,n02\nx2.png,n01\nx3.png,n03\n")
    assert labelled(path, SAMPLES, 3) == [1, 0, 2]
    with pytest.raises(
        DataError, match="'n02', not a class from 0 to 999: there are 3 different names"
    ) as caught:
        labelled(path, SAMPLES, 1000)
    assert "in sorted order" in caught.value.fix and caught.value.where == str(path)


def test_names_are_numbered_as_the_model_says(tmp_path):
    listener = RecordingListener()
    labels = read_labels(write(tmp_path, "a.png,dog\n")).for_model(["cat", "dog", "emu"], listener)
    assert labels.number("dog", 3, "a.png") == 1
    assert listener.said == ["labels: names, numbered as in the model's metadata"]


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_class_folders_in_torchvisions_order(tmp_path):
    root = put(tmp_path / "val", "n02/a.png", "n10/b.png", "n9/deep/c.png", "notes.txt", ".hidden/d.png")
    assert labelled(root, ["n02/a.png", "n10/b.png", "n9/deep/c.png", "c.png"], 3) == [0, 1, 2, 2]
    assert "numbered in sorted order: n02 = 0, n10 = 1, n9 = 2" in read_labels(root).note
    # A part of the classes: folders that are numbers name them.
    numbers = put(tmp_path / "digits", "3/a.png", "12/b.png")
    assert labelled(numbers, ["3/a.png", "12/b.png"], 20) == [3, 12]
    assert labelled(numbers, ["3/a.png", "12/b.png"], 2) == [1, 0]
    with pytest.raises(DataError, match="no sub-folder per class"):
        read_labels(put(tmp_path / "flat", "a.png"))


def test_annotations_of_several_classes_are_refused(tmp_path):
    yolo = tmp_path / "labels"
    put(yolo, "train/a.txt", "train/b.txt", "classes.txt")
    (yolo / "train/a.txt").write_text("7 .5 .5 .1 .1\n")
    assert read_labels(yolo).of(["images/train/a.jpg"], range(1)) == [7]
    (yolo / "train/b.txt").write_text("7 .5 .5 .1 .1\n8 .5 .5 .1 .1\n")
    with pytest.raises(DataError, match="'b' shows 2 classes: these are boxes of a detector") as caught:
        read_labels(yolo)
    assert "--metric" in caught.value.fix
    for damaged in (b"\xff 1 1 1 1", b"9" * 5000 + b" 1 1 1 1"):
        (yolo / "train/b.txt").write_bytes(damaged)
        with pytest.raises(DataError, match="the labels cannot be read"):
            read_labels(yolo)
    (yolo / "train/b.txt").write_text("some text\n")
    with pytest.raises(DataError, match="does not read `class x y width height`"):
        read_labels(yolo)
    coco = tmp_path / "coco.json"
    boxes = [{"image_id": 1, "category_id": 3}, {"image_id": 1, "category_id": 5}]
    coco.write_text(json.dumps({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": boxes}))
    with pytest.raises(DataError, match=r"'a\.jpg' shows 2 classes"):
        read_labels(coco)
    coco.write_text("[]")
    with pytest.raises(DataError, match="does not hold COCO annotations"):
        read_labels(coco)


@pytest.mark.parametrize(
    ("text", "classes", "fix"),
    [("a,1\nb,2\nc,3\n", 3, "subtract 1"), ("a,0\nb,2\nc,7\n", 3, "the model's class numbers")],
)
def test_a_label_out_of_range_is_named(tmp_path, text, classes, fix):
    labels = read_labels(write(tmp_path, text))
    (label,) = labels.of(["c.png"], range(1))
    with pytest.raises(DataError, match=rf"sample 'c.png' is {label}, not a class from 0 to 2") as caught:
        labels.number(label, classes, "c.png")
    assert fix in caught.value.fix and caught.value.where == labels.where


def test_the_label_of_another_numbered_image_is_not_suggested(tmp_path):
    labels = read_labels(write(tmp_path, "v/im_07.png,1\nv/im_08.png,1\n"))
    with pytest.raises(DataError, match=r"'v/im_09\.png' has no label") as caught:
        labels.of(["v/im_09.png"], range(1))
    assert "did you mean" not in caught.value.fix and "add a line" in caught.value.fix


def test_boxes_in_a_table_are_told_from_labels(tmp_path):
    with pytest.raises(DataError, match="no header") as caught:
        read_labels(write(tmp_path, "a.png,3,10,10,20,20\n"))
    assert "boxes are not labels of a classifier" in caught.value.fix


def test_more_labels_by_position_than_samples_are_a_warning(tmp_path):
    labels = read_labels(write(tmp_path, "4\n5\n5\n"))
    for samples, warned in ((2, 1), (3, 0), (None, 0)):
        listener = RecordingListener()
        labels.check_count(samples, listener)
        assert len(listener.warned) == warned
    assert read_labels(write(tmp_path, "a,4\nb,5\n")).check_count(1, listener) is None and not listener.warned


def test_a_label_of_thousands_of_digits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(f"file,label\na.png,{'9' * 5000}\nb.png,x\n")
    labels = read_labels(tmp_path / "l.csv")
    with pytest.raises(DataError, match="not a class from 0 to 4"):
        labels.number(labels.of(["a.png"], range(1))[0], 5, "a.png")


def test_an_array_is_not_labels():
    with pytest.raises(OptionError, match="labels is a ndarray, wanted the path"):
        EvaluationOptions(labels=np.zeros(3, int))
