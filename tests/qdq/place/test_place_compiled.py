"""What NVIDIA's compiler makes of placements: which layers run in INT8, and how many bytes stay float."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx.numpy_helper
import pytest
from helpers import toys
from helpers.compiler import Pattern, attention, needs_compiler, pooled_classifier, quantized, values

from onnx_trtcal.trt.compiler.compile_model import Compilation, compile_model
from onnx_trtcal.trt.compiler.options import CompileOptions

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = [needs_compiler, pytest.mark.slow]


def built(model: onnx.ModelProto, **options: object) -> Compilation:
    made = compile_model(quantized(model, **options), CompileOptions())
    assert made.built, made.problems
    return made


def float_bytes(made: Compilation) -> int:
    assert made.summary is not None
    return made.summary.float_bytes


def kernels(made: Compilation) -> int:
    assert made.summary is not None
    return made.summary.kernels


def assert_all_int8(made: Compilation) -> None:
    assert {layer.name: layer.why for layer in made.layers if not layer.int8} == {}


def gated() -> onnx.ModelProto:
    """A tensor that one Conv and a Relu read, whose results are multiplied."""
    pattern = Pattern()
    pattern.conv("x", "a", 24, 40)
    pattern.op("Relu", "a", "r")
    pattern.conv("a", "b", 40, 40, kernel=1)
    pattern.op("Sigmoid", "b", "s")
    pattern.op("Mul", "r s", "m")
    return pattern.model(pattern.conv("m", "c", 40, 16))


def three_branches() -> onnx.ModelProto:
    """RepVGG before its branches are merged: a 3x3 and a 1x1 Conv and the input itself are added."""
    pattern = Pattern()
    pattern.conv("x", "a", 24, 24)
    pattern.conv("x", "b", 24, 24, kernel=1)
    pattern.op("Add", "a b", "ab")
    pattern.op("Add", "ab x", "s")
    pattern.op("Relu", "s", "r")
    return pattern.model(pattern.conv("r", "c", 24, 32))


def pooled_branch() -> onnx.ModelProto:
    """A feature map that the next Conv reads, and an average of it that is normalized in floating point."""
    pattern = Pattern()
    pattern.conv("x", "a", 24, 40)
    pattern.op("Relu", "a", "r")
    pattern.conv("r", "b", 40, 24)
    pattern.op("AveragePool", "r", "p", kernel_shape=[5, 7], strides=[5, 7])
    pattern.op("Softmax", "p", "n", axis=1)
    pattern.op("AveragePool", "b", "q", kernel_shape=[5, 7], strides=[5, 7])
    pattern.op("Concat", "n q", "j", axis=1)
    return pattern.model(pattern.conv("j", "c", 64, 16, kernel=1))


def two_ranges(small: float) -> onnx.ModelProto:
    """Two branches, the second `small` times as large, joined for a layer; the second is read by another, too."""
    pattern = Pattern()
    pattern.conv("x", "a", 24, 16)
    pattern.conv("x", "b", 24, 16)
    pattern.store("w_b", pattern.constants["w_b"] * np.float32(small))
    pattern.store("b_b", pattern.constants["b_b"] * np.float32(small))
    pattern.op("Relu", "a", "ar")
    pattern.op("Relu", "b", "br")
    pattern.op("Concat", "ar br", "c", axis=1)
    pattern.conv("c", "d", 32, 16)
    pattern.conv("br", "e", 16, 16)
    return pattern.model(pattern.op("Add", "d e", "s"))


def few_channels() -> onnx.ModelProto:
    pattern = Pattern()
    pattern.conv("x", "a", 24, 6)
    pattern.op("Relu", "a", "r")
    pattern.conv("r", "b", 6, 10)
    pattern.op("Relu", "b", "t")
    return pattern.model(pattern.conv("t", "c", 10, 24))


def computed_weights() -> onnx.ModelProto:
    """Weights as weight normalization exports them, and such as were stored in half precision."""
    pattern = Pattern()
    pattern.store("v", values(40, 24, 3, 3))
    pattern.store("g", values(40, 1, 1, 1, seed=1))
    pattern.op("Mul", "v g", "w")
    pattern.op("Conv", "x w", "a", pads=[1] * 4)
    pattern.op("Relu", "a", "r")
    pattern.store("half", values(16, 40, 1, 1, seed=2).astype(np.float16))
    pattern.op("Cast", "half", "w_half", to=1)
    pattern.op("Conv", "r w_half", "b")
    return pattern.model("b")


def upsampler(group: int = 1) -> onnx.ModelProto:
    pattern = Pattern()
    pattern.conv("x", "a", 24, 32)
    pattern.store("w", values(32, 24 // group, 2, 2))
    pattern.op("ConvTranspose", "a w", "u", kernel_shape=[2, 2], strides=[2, 2], group=group)
    return pattern.model(pattern.conv("u", "c", 24, 16))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(
    "make", [lambda: attention(packed=True, heads=3, width=48), attention, computed_weights, few_channels]
)
def test_every_layer_runs_in_int8(make: Callable[[], onnx.ModelProto], precision: str) -> None:
    assert_all_int8(built(make(), high_precision=precision))


def test_weights_of_a_packed_qkv_stored_as_int8_lose_int8() -> None:
    model = attention(packed=True, heads=3, width=48)
    assert [layer.name for layer in built(model, weights="int8").lost] == ["n_qkv"]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_attention_in_int8_takes_fewer_kernels_and_bytes(precision: str) -> None:
    model = attention(heads=3, width=48)
    quick, slow = (built(model, attention=each, high_precision=precision) for each in ("int8", "float"))
    assert float_bytes(quick) < float_bytes(slow) and kernels(quick) < kernels(slow)


@pytest.mark.parametrize("make", [gated, three_branches])
def test_no_tensor_between_convolutions_is_written_twice(make: Callable[[], onnx.ModelProto]) -> None:
    made = built(make())
    assert_all_int8(made)
    for kernel in made.kernels:
        assert len({operand.dtype for operand in kernel.outputs}) < 2, kernel


def test_average_pools_read_and_write_int8() -> None:
    made = built(pooled_branch())
    assert_all_int8(made)
    (pool,) = [kernel for kernel in made.kernels if kernel.kind == "avgpool" and "n_p" in kernel.nodes]
    assert {each.dtype for each in (*pool.inputs, *pool.outputs)} == {"Int8"}


def test_a_pool_that_is_reshaped_for_a_product_runs_in_int8() -> None:
    pattern = Pattern()
    pattern.conv("x", "a", 24, 32)
    pattern.op("AveragePool", "a", "p", kernel_shape=[9, 7])
    pattern.store("rows", np.array([2, 32], np.int64))
    pattern.op("Reshape", "p rows", "f")
    made = built(pattern.model(pattern.linear("f", "y", 32, 40), (2, 24, 9, 7)))
    assert_all_int8(made)
    (pool,) = [kernel for kernel in made.kernels if kernel.kind == "avgpool"]
    assert {each.dtype for each in (*pool.inputs, *pool.outputs)} == {"Int8"}


@pytest.mark.parametrize(("middle", "left"), [(3, ["n_e"]), (6, [])])
def test_what_squeezes_to_a_few_values_is_in_int8_as_far_as_there_are_kernels(
    middle: int, left: list[str]
) -> None:
    pattern = Pattern()
    pattern.conv("x", "a", 24, 24)
    pattern.op("GlobalAveragePool", "a", "g")
    pattern.conv("g", "s", 24, middle, kernel=1)
    pattern.op("Relu", "s", "r")
    pattern.conv("r", "e", middle, 24, kernel=1)
    pattern.op("Sigmoid", "e", "gate")
    pattern.op("Mul", "a gate", "m")
    made = built(pattern.model(pattern.conv("m", "y", 24, 16)))
    assert made.lost == ()
    assert [layer.name for layer in made.layers if not layer.int8] == left


def test_few_channels_move_fewer_float_bytes_in_int8() -> None:
    assert float_bytes(built(few_channels())) < float_bytes(built(few_channels(), min_channels=16))


def test_a_classifier_is_in_int8_whether_its_batch_is_open_or_one() -> None:
    assert_all_int8(built(pooled_classifier()))
    assert_all_int8(built(pooled_classifier(rows=4)))


def test_a_conv_transpose_costs_a_kernel_unless_the_target_is_rtx() -> None:
    made = built(upsampler(), target="rtx")
    assert made.lost == ()
    assert [layer.name for layer in made.layers if not layer.int8] == ["n_u"]
    assert [layer.name for layer in built(upsampler()).lost] == ["n_u"]
    assert kernels(made) < kernels(built(upsampler()))
    assert built(upsampler(group=4)).lost == ()


def test_a_round_trip_through_float_weights_is_exact() -> None:
    from onnx_trtcal import dequantize

    model = attention(packed=True)
    back = dequantize(quantized(model))
    data = {"x": values(1, 20, 32, seed=3, spread=1.0)}
    np.testing.assert_allclose(toys.run(back.proto(), data)[0], toys.run(model, data)[0], atol=2e-2, rtol=0)


def test_branches_with_scales_of_their_own_cost_no_kernel_and_no_bytes() -> None:
    tied, own = (quantized(two_ranges(small)) for small in (1.0, 0.01))
    for model, count in ((tied, 1), (own, 2)):
        pairs = {
            node.input[0]: node.input[1] for node in model.graph.node if node.op_type == "QuantizeLinear"
        }
        values = {t.name: float(onnx.numpy_helper.to_array(t)) for t in model.graph.initializer if not t.dims}
        assert len({values[pairs[name]] for name in ("br", "c")}) == count
    one, other = (compile_model(model, CompileOptions()) for model in (tied, own))
    assert_all_int8(one)
    assert_all_int8(other)
    assert (kernels(one), float_bytes(one)) == (kernels(other), float_bytes(other))
