"""The bundled models and data keep what models/README.md promises."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_digits

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
SHAPES = {"digits_resnet": (1, 8, 8), "digits_mlp": (64,)}

both = pytest.mark.parametrize("name", SHAPES)


@pytest.fixture(scope="module")
def tool():
    """The packages of the tool that need no JAX: the networks as built, and the split."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from digits import data, networks
    finally:
        sys.path.pop(0)
    return {"networks": networks, "data": data}


def load(name: str) -> onnx.ModelProto:
    return onnx.load(MODELS / f"{name}.onnx")


def images(folder: str) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)) for path in sorted((MODELS / folder).glob("*.png"))}


def labels(path: Path, column: str) -> dict[str, int]:
    with path.open(newline="") as file:
        return {row[column]: int(row["label"]) for row in csv.DictReader(file)}


def row_and_digit(file: str) -> tuple[int, int]:
    row, digit = Path(file).stem.split("_digit")
    return int(row), int(digit)


def predict(name: str, batch: np.ndarray) -> np.ndarray:
    import onnxruntime as ort

    session = ort.InferenceSession(str(MODELS / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"input": batch})
    return logits


def test_resnet_has_every_structure_that_calibration_must_handle():
    graph = load("digits_resnet").graph
    count = Counter(node.op_type for node in graph.node)
    assert count == {
        "Conv": 9,
        "BatchNormalization": 9,
        "Relu": 8,
        "Add": 2,
        "Concat": 1,
        "MaxPool": 1,
        "GlobalAveragePool": 1,
        "Flatten": 1,
        "Gemm": 1,
    }
    producer = {node.output[0]: node for node in graph.node}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    groups = {helper.get_node_attr_value(node, "group") for node in convolutions}
    assert groups == {1, 16}
    assert {len(node.input) for node in convolutions} == {2, 3}, "one Conv with a bias, others without"
    for add in (node for node in graph.node if node.op_type == "Add"):
        kinds = {producer[tensor].op_type for tensor in add.input}
        assert kinds in ({"BatchNormalization", "Relu"}, {"BatchNormalization"})


def test_mlp_has_both_kinds_of_linear_layer_before_batchnorm():
    graph = load("digits_mlp").graph
    kinds = ["Gemm", "BatchNormalization", "Relu", "MatMul", "Add", "BatchNormalization", "Relu", "Gemm"]
    assert [node.op_type for node in graph.node] == kinds
    for before, after in zip(graph.node, graph.node[1:], strict=False):
        assert before.output[0] in after.input


@both
def test_batchnorm_statistics_are_trained(name):
    graph = load(name).graph
    values = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    for node in graph.node:
        if node.op_type != "BatchNormalization":
            continue
        gain, offset, mean, variance = (values[tensor] for tensor in node.input[1:])
        assert np.ptp(gain) > 0.05 and np.ptp(offset) > 0.05
        assert np.abs(mean).max() > 0.1
        assert (variance > 0).all() and np.abs(variance - 1).max() > 0.1


@both
def test_any_batch_size_gives_the_same_logits(name):
    stack = np.load(MODELS / "digits_calib.npy").reshape(-1, *SHAPES[name])
    whole = predict(name, stack)
    assert whole.shape == (128, 10)
    np.testing.assert_allclose(predict(name, stack[5:6]), whole[5:6], rtol=1e-4, atol=1e-4)


def test_resnet_reads_97_percent_of_the_test_images():
    wanted = labels(MODELS / "digits_test" / "labels.csv", "file")
    pixels = images("digits_test")
    assert list(pixels) == list(wanted)
    batch = np.stack(list(pixels.values()))[:, None].astype(np.float32) / 255
    right = predict("digits_resnet", batch).argmax(1) == np.array(list(wanted.values()))
    assert right.mean() >= 0.97


def test_mlp_reads_97_percent_of_the_test_stack():
    stack = np.load(MODELS / "digits_test.npy")
    wanted = labels(MODELS / "digits_test_labels.csv", "index")
    assert list(wanted) == [str(row) for row in range(len(stack))]
    right = predict("digits_mlp", stack).argmax(1) == np.array(list(wanted.values()))
    assert right.mean() >= 0.97


@pytest.mark.parametrize("name", ["digits_calib", "digits_test"])
def test_images_and_stack_hold_the_same_numbers(name):
    stack = np.load(MODELS / f"{name}.npy")
    pixels = np.stack(list(images(name).values()))
    assert pixels.dtype == np.uint8 and pixels.shape[1:] == (8, 8)
    assert stack.dtype == np.float32
    np.testing.assert_array_equal(stack, pixels.reshape(-1, 64).astype(np.float32) * np.float32(1 / 255))


def test_every_image_is_the_digit_its_name_and_label_say():
    source = load_digits()
    stated = labels(MODELS / "digits_test" / "labels.csv", "file")
    for file, pixels in (images("digits_calib") | images("digits_test")).items():
        row, digit = row_and_digit(file)
        assert source.target[row] == digit == stated.get(file, digit)
        np.testing.assert_array_equal(pixels, np.rint(source.images[row] / 16 * 255))


def test_calibration_and_test_share_no_sample():
    calibration, test = images("digits_calib"), images("digits_test")
    assert len(calibration) == 128
    assert not {row_and_digit(file)[0] for file in calibration} & {row_and_digit(file)[0] for file in test}
    assert not {value.tobytes() for value in calibration.values()} & {
        value.tobytes() for value in test.values()
    }
    assert {row_and_digit(file)[1] for file in calibration} == set(range(10))


def test_everything_is_small():
    files = [path for path in MODELS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2_000_000
    assert len(files) < 500


def test_readme_states_the_sizes():
    readme = (MODELS / "README.md").read_text()
    for entry in MODELS.iterdir():
        if entry.name != "README.md":
            files = entry.iterdir() if entry.is_dir() else [entry]
            size = sum(path.stat().st_size for path in files)
            assert any(f"`{entry.name}" in line and f"| {size:,} |" in line for line in readme.splitlines())


@both
def test_the_tool_still_builds_these_graphs(tool, name):
    built, kept = getattr(tool["networks"], name)().graph, load(name).graph
    assert list(built.node) == list(kept.node)
    assert list(built.input) == list(kept.input) and list(built.output) == list(kept.output)
    shapes = [{item.name: tuple(item.dims) for item in graph.initializer} for graph in (built, kept)]
    assert shapes[0] == shapes[1]


def test_the_tool_still_draws_these_digits(tool):
    training, calibration, test = tool["data"].split_digits()
    assert [f"{stem}.png" for stem in calibration.stems()] == list(images("digits_calib"))
    assert [f"{stem}.png" for stem in test.stems()] == list(images("digits_test"))
    assert set(calibration.rows) <= set(training.rows)
    assert not set(training.rows) & set(test.rows)
