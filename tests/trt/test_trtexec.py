from __future__ import annotations

import shlex

import numpy as np

from onnx_trtcal.data.seen_shapes import SeenShapes
from onnx_trtcal.support.input_spec import InputSpec
from onnx_trtcal.trt.trtexec import dynamic_shapes, explicit_line, trtexec_line


def seen(*shapes: tuple[int, ...], item_axis: int | None = None) -> SeenShapes:
    noted = SeenShapes(item_axis=item_axis)
    for shape in shapes:
        noted.add(shape)
    return noted


def test_static_inputs_need_no_shapes() -> None:
    assert trtexec_line("m.onnx", "m.cache", (10, 3), {}) == "trtexec --onnx=m.onnx --int8 --calib=m.cache"


def test_tensorrt_7_needs_an_explicit_batch() -> None:
    assert trtexec_line("m.onnx", "m.cache", (7, 2), {}).endswith(" --explicitBatch")
    assert "--explicitBatch" not in trtexec_line("m.onnx", "m.cache", (8, 0), {})


def test_a_dynamic_item_axis_begins_at_one() -> None:
    inputs = [InputSpec("x", np.dtype("f4"), ("N", 3, "W")), InputSpec("y", np.dtype("f4"), ("N",))]
    shapes = dynamic_shapes(
        inputs, {"x": seen((8, 3, 4), (2, 3, 9), item_axis=0), "y": seen((8,), item_axis=0)}
    )
    line = trtexec_line("m", "c", (8, 6), shapes)
    assert "--minShapes=x:1x3x4,y:1" in line
    assert "--optShapes=x:8x3x9,y:8 --maxShapes=x:8x3x9,y:8" in line
    state = [InputSpec("s", np.dtype("f4"), (2, "B", 5))]
    shapes = dynamic_shapes(state, {"s": seen((2, 8, 5), item_axis=1)})
    assert "--minShapes=s:2x1x5" in trtexec_line("m", "c", (8, 6), shapes)


def test_a_fixed_first_axis_stays_as_it_is() -> None:
    inputs = [
        InputSpec("input", np.dtype("f4"), ("batch", "sequence")),
        InputSpec("state", np.dtype("f4"), (2, "batch", 128)),
        InputSpec("sr", np.dtype("i8"), ()),
    ]
    shapes = dynamic_shapes(inputs, {"input": seen((1, 512)), "state": seen((2, 1, 128)), "sr": seen(())})
    assert shapes == {"input": seen((1, 512)), "state": seen((2, 1, 128))}


def test_paths_and_names_are_quoted() -> None:
    words = shlex.split(trtexec_line("my model.onnx", "c", (10, 0), {"in:0": seen((1, 2)), "s": seen(())}))
    assert words[1] == "--onnx=my model.onnx"
    assert words[4] == "--minShapes='in:0':1x2,s:"


def test_a_qdq_model_needs_no_cache() -> None:
    assert explicit_line("q.onnx", 11, {}, float32=True) == "trtexec --onnx=q.onnx"
    assert explicit_line("q.onnx", 10, {}, float32=True).endswith("--int8 --fp16")
    assert explicit_line("q.onnx", 10, {}, float32=False).endswith("--stronglyTyped")
