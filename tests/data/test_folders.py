from __future__ import annotations

import os
import sys

import numpy as np
import pytest
from onnx import numpy_helper
from PIL import Image

from onnx_trtcal.data.sources import open_source
from onnx_trtcal.errors import DataError
from onnx_trtcal.options import Preprocess
from onnx_trtcal.support.input_spec import InputSpec

FLOAT = np.dtype(np.float32)
IMAGE = (InputSpec("image", FLOAT, ("N", 3, 4, 4)),)
VECTOR = (InputSpec("x", FLOAT, ("N", 2)),)
PAIR = (InputSpec("a/x:0", FLOAT, ("N", 2)), InputSpec("mask", np.dtype(np.int64), ("N", 3)))


def put(path, array=(1.0, 2.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.asarray(array)
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".pb":
        path.write_bytes(numpy_helper.from_array(array).SerializeToString())
    else:
        Image.fromarray(np.full((4, 4, 3), int(array.flat[0]), np.uint8)).save(path)


def names(data, inputs, **options):
    return [sample.name for sample in open_source(data, inputs, **options)]


def failure(data, inputs):
    with pytest.raises(DataError) as caught:
        list(open_source(data, inputs))
    return caught.value


def test_natural_order_in_class_folders_with_others_skipped_and_counted(tmp_path):
    for name in ("b/img10.png", "b/img2.JPG", "a10/x.png", "a9/x.png", "img1.png"):
        put(tmp_path / name)
    for name in ("labels.csv", "README.md", "b/Thumbs.db", ".DS_Store"):
        (tmp_path / name).write_text("no image")
    put(tmp_path / "__MACOSX" / "b" / "img2.png")
    put(tmp_path / ".cache" / "img3.png")
    source = open_source(tmp_path, IMAGE)
    assert [sample.name for sample in source] == [
        "a9/x.png",
        "a10/x.png",
        "b/img2.JPG",
        "b/img10.png",
        "img1.png",
    ]
    assert source.description == (
        "5 image files in natural order",
        "4 other files skipped: .DS_Store, README.md, b/Thumbs.db and 1 more",
        "images: RGB, no resize, *1/255, NCHW",
    )
    assert source.count == 5


def test_the_folder_named_after_the_input_is_the_data(tmp_path):
    put(tmp_path / "image" / "1.png")
    put(tmp_path / "masks" / "1.png")
    assert names(tmp_path, IMAGE) == ["image/1.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="making links takes privileges there")
def test_links_to_folders_are_followed_once(tmp_path):
    put(tmp_path / "real" / "1.npy")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "data", target_is_directory=True)
    assert names(tmp_path / "data", VECTOR) == ["link/1.npy"]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "it is empty"),
        ({"a.bin": "x", "b.bin": "x", "labels.csv": "x", ".hidden": "x"}, "found 2 .bin, 1 .csv, 1 .hidden"),
    ],
)
def test_nothing_usable_says_what_was_found(tmp_path, files, reason):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    error = failure(tmp_path, IMAGE)
    assert reason in error.what
    assert error.where == str(tmp_path)


def test_missing_path_suggests_its_neighbour(tmp_path):
    put(tmp_path / "calib" / "1.npy")
    assert "did you mean 'calib'?" in failure(tmp_path / "calb", VECTOR).fix


def test_an_unknown_kind_of_file(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"12")
    assert ".bin file is not calibration data" in failure(tmp_path / "a.bin", VECTOR).what


def test_images_and_arrays_mixed_are_ambiguous(tmp_path):
    put(tmp_path / "1.png")
    put(tmp_path / "labels.npy")
    assert "1 image and 1 array file (labels.npy)" in failure(tmp_path, IMAGE).what


def test_single_files(tmp_path):
    put(tmp_path / "one.npy")
    put(tmp_path / "many.npy", np.ones((3, 2)))
    put(tmp_path / "tensor.pb", np.ones((1, 2), np.float32))
    np.savez(tmp_path / "by_key.npz", x=np.ones((2, 2)), label=np.ones(2))
    np.savez(tmp_path / "nameless.npz", np.ones(2))
    assert names(tmp_path / "one.npy", VECTOR) == ["one.npy"]
    assert names(tmp_path / "many.npy", VECTOR) == ["many.npy[0]", "many.npy[1]", "many.npy[2]"]
    assert names(tmp_path / "tensor.pb", VECTOR) == ["tensor.pb"]
    assert names(tmp_path / "by_key.npz", VECTOR) == ["by_key.npz[0]", "by_key.npz[1]"]
    assert names(tmp_path / "nameless.npz", VECTOR) == ["nameless.npz"]
    source = open_source(tmp_path, VECTOR, Preprocess(preset="raw"))
    assert source.count == 8
    assert source.description[-1] == "image preprocessing flags do nothing here: arrays are fed as they are"
    assert open_source(tmp_path, VECTOR, max_samples=2).count == 2
    assert names(tmp_path, VECTOR, max_samples=3) == ["by_key.npz[0]", "by_key.npz[1]", "many.npy[0]"]


def test_several_inputs_by_key_with_names_as_files_spell_them(tmp_path):
    np.savez(tmp_path / "s.npz", a_x_0=np.ones((2, 2)), mask=np.zeros((2, 3), np.int32))
    first, second = open_source(tmp_path, PAIR)
    assert (first.name, second.name) == ("s.npz[0]", "s.npz[1]")
    assert {name: (array.shape, array.dtype) for name, array in first.arrays.items()} == {
        "a/x:0": ((2,), np.float32),
        "mask": ((3,), np.int64),
    }


def test_a_wrong_key_suggests_the_right_one(tmp_path):
    np.savez(tmp_path / "s.npz", **{"a/x:0": np.ones((2, 2)), "masks": np.zeros((2, 3))})
    error = failure(tmp_path, PAIR)
    assert "no key for the model's input 'mask': found 'a/x:0', 'masks'" in error.what
    assert error.where.endswith("s.npz")
    assert error.fix == "'mask': did you mean 'masks'?"


def test_several_inputs_by_sub_folder(tmp_path):
    for stem in ("s2", "s10"):
        put(tmp_path / "a_x_0" / f"{stem}.npy")
        put(tmp_path / "mask" / f"{stem}.npy", np.zeros(3, np.int64))
    (tmp_path / "notes.txt").write_text("")
    source = open_source(tmp_path, PAIR)
    assert [sample.name for sample in source] == ["s2", "s10"]
    assert source.description == (
        "2 samples from sub-folders 'a_x_0', 'mask'",
        "1 other file skipped: notes.txt",
    )
    put(tmp_path / "mask" / "s3.npy", np.zeros(3, np.int64))
    assert "input 'a/x:0' lacks 1 sample that other inputs have: s3" in failure(tmp_path, PAIR).what
    put(tmp_path / "a_x_0" / "s3.npy")
    put(tmp_path / "a_x_0" / "s3.pb")
    assert "two files are sample 's3' of input 'a/x:0'" in failure(tmp_path, PAIR).what


def test_a_missing_sub_folder_is_named(tmp_path):
    put(tmp_path / "a_x_0" / "1.npy")
    (tmp_path / "Mask").mkdir()
    error = failure(tmp_path, PAIR)
    assert "no sub-folder for the model's input 'mask': found 'Mask', 'a_x_0'" in error.what
    assert "did you mean 'Mask'?" in error.fix


def test_images_for_two_inputs_of_different_size(tmp_path):
    pair = (InputSpec("z", FLOAT, (1, 3, 4, 4)), InputSpec("x", FLOAT, (1, 3, 8, 8)))
    put(tmp_path / "z" / "1.png", [255])
    put(tmp_path / "x" / "1.jpg", [255])
    source = open_source(tmp_path, pair, Preprocess(resize="stretch"))
    (sample,) = source
    assert {name: array.shape for name, array in sample.arrays.items()} == {"z": (3, 4, 4), "x": (3, 8, 8)}
    assert source.description[1:] == (
        "images for 'z': RGB, stretched to 4x4 (bilinear), *1/255, NCHW",
        "images for 'x': RGB, stretched to 8x8 (bilinear), *1/255, NCHW",
    )


def test_an_image_beside_a_scalar_is_fed_with_its_batch_axis(tmp_path):
    inputs = (*IMAGE, InputSpec("threshold", FLOAT, ()))
    put(tmp_path / "image" / "1.png", [255])
    put(tmp_path / "threshold" / "1.npy", np.float64(0.5))
    (sample,) = open_source(tmp_path, inputs)
    assert sample.arrays["image"].shape == (1, 3, 4, 4)
    assert sample.arrays["threshold"] == np.float32(0.5)


def test_a_file_per_input_is_a_stack(tmp_path):
    put(tmp_path / "a_x_0.npy", np.arange(6.0).reshape(3, 2))
    put(tmp_path / "mask.npy", np.zeros((3, 3), np.int64))
    samples = list(open_source(tmp_path, PAIR))
    assert [sample.arrays["a/x:0"].tolist() for sample in samples] == [[0, 1], [2, 3], [4, 5]]
    (tmp_path / "mask.npy").unlink()
    assert "no file for the model's input 'mask'" in failure(tmp_path, PAIR).what


def test_the_model_zoos_folders(tmp_path):
    for index in (0, 1):
        folder = tmp_path / f"test_data_set_{index}"
        put(folder / "input_0.pb", np.full((1, 2), index, np.float32))
        put(folder / "input_1.pb", np.full((1, 3), index, np.int64))
        put(folder / "output_0.pb", np.zeros(9, np.float32))
    samples = list(open_source(tmp_path, PAIR))
    assert [sample.name for sample in samples] == ["test_data_set_0", "test_data_set_1"]
    assert samples[1].arrays["a/x:0"].tolist() == [1, 1]
    assert samples[1].arrays["mask"].tolist() == [1, 1, 1]
    assert names(tmp_path / "test_data_set_0", PAIR) == ["data"]
    (tmp_path / "test_data_set_1" / "input_1.pb").unlink()
    assert "the model has 2 inputs, the folder 1: input_0.pb" in failure(tmp_path, PAIR).what


def test_zoo_folders_of_a_model_with_one_input(tmp_path):
    put(tmp_path / "test_data_set_0" / "input_0.pb", np.ones((1, 2), np.float32))
    put(tmp_path / "test_data_set_0" / "output_0.pb", np.ones(7, np.float32))
    assert names(tmp_path, VECTOR) == ["test_data_set_0/input_0.pb"]


def test_tensors_that_carry_the_inputs_names(tmp_path):
    for index, (name, array) in enumerate((("mask", np.zeros((1, 3), np.int64)), ("a/x:0", np.ones((1, 2))))):
        data = numpy_helper.from_array(array, name).SerializeToString()
        (tmp_path / f"input_{index}.pb").write_bytes(data)
    (sample,) = open_source(tmp_path, PAIR)
    assert sample.arrays["a/x:0"].tolist() == [1, 1]


def test_loose_files_for_several_inputs_say_what_would_do(tmp_path):
    put(tmp_path / "sample1.npy")
    error = failure(tmp_path, PAIR)
    assert "2 inputs: 'a/x:0', 'mask'" in error.what
    assert ".npz" in error.fix


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse file names that are no text")
def test_names_are_printable_whatever_the_file_system_holds(tmp_path):
    put(tmp_path / "京A.npy")
    np.save(tmp_path / "b.npy", np.ones(2))
    os.rename(tmp_path / "b.npy", os.fsencode(tmp_path) + b"/b\xff.npy")
    assert names(tmp_path, VECTOR) == ["b\\xff.npy", "京A.npy"]


def test_an_input_with_a_slash_may_be_a_folder_in_a_folder(tmp_path):
    pair = (InputSpec("cam/left", FLOAT, ("N", 2)), InputSpec("/cam/right:0", FLOAT, ("N", 2)))
    for folder in ("cam/left", "_cam_right_0"):
        for stem in ("s1", "sub/s2"):
            put(tmp_path / folder / f"{stem}.npy")
    source = open_source(tmp_path, pair)
    assert [sample.name for sample in source] == ["s1", "sub/s2"]
    assert source.description == ("2 samples from sub-folders 'cam/left', '_cam_right_0'",)
    nested = tmp_path / "nested"
    put(nested / "cam" / "left" / "1.npy", [1, 2])
    put(nested / "cam" / "right:0" / "1.npy", [3, 4])
    (sample,) = open_source(nested, pair)
    assert sample.arrays["/cam/right:0"].tolist() == [3, 4]


def test_the_error_says_how_files_spell_an_input(tmp_path):
    pair = (InputSpec("cam/left", FLOAT, ("N", 2)), InputSpec("cam/right:0", FLOAT, ("N", 2)))
    put(tmp_path / "l" / "1.npy")
    put(tmp_path / "r" / "1.npy")
    assert "a sub-folder per input: cam_left, cam_right_0" in failure(tmp_path, pair).fix
    put(tmp_path / "cam" / "left" / "1.npy")
    error = failure(tmp_path, pair)
    assert "no sub-folder for the model's input 'cam/right:0'" in error.what
    assert "cam_right_0" in error.fix
