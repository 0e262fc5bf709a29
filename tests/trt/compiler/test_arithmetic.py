"""In which type a kernel multiplies: recorded kernels, and small changes to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from onnx_trtcal.trt.compiler.arithmetic import FLOAT, FP8, INT8, is_attention, is_product, precision, steps
from onnx_trtcal.trt.compiler.kernels import Kernel, Operand, parse_kernels

LOGS = Path(__file__).parent / "logs"


def recorded(log: str, name: str) -> Kernel:
    kernels = parse_kernels((LOGS / f"{log}.log").read_text(encoding="utf-8"))
    return next(kernel for kernel in kernels if kernel.name == name)


@pytest.mark.parametrize(
    ("log", "name", "type_"),
    [
        ("two_convs", "n_a", INT8),
        ("attention", "n_v+n_k+n_q", INT8),
        ("attention", "_gemm_mha_v2", INT8),
        ("attention", "n_out", INT8),
        ("packed", "__myl_CastMulFc", FLOAT),
        ("packed", "n_qk", FLOAT),
        ("packed", "n_pv", FLOAT),
        ("packed", "n_out", INT8),
        ("classifier", "__myl_ReshMulSum", FLOAT),
    ],
)
def test_recorded_products(log: str, name: str, type_: str) -> None:
    kernel = recorded(log, name)
    assert is_product(kernel)
    assert precision(kernel) == type_


@pytest.mark.parametrize(
    ("log", "name"),
    [
        ("two_convs", "__myl_MulMinMaxRounCast"),
        ("two_convs", "__myl_MulAddReluMulMinMaxRounCast"),
        ("packed", "__myl_MaxrSubExpSumDivMul"),
        ("classifier", "__myl_MulAddMoveMean"),
    ],
)
def test_recorded_kernels_that_do_not_multiply(log: str, name: str) -> None:
    assert not is_product(recorded(log, name))


def test_a_convolution_with_one_float_operand_multiplies_in_float() -> None:
    kernel = recorded("two_convs", "n_a")
    data, weights = kernel.inputs[0], kernel.constants[0]
    assert precision(replace(kernel, inputs=(replace(data, dtype="Float"),))) == FLOAT
    assert (
        precision(replace(kernel, constants=(replace(weights, dtype="Half"), *kernel.constants[1:]))) == FLOAT
    )
    both = replace(
        kernel,
        inputs=(replace(data, dtype="FP8"),),
        constants=(replace(weights, dtype="FP8"), *kernel.constants[1:]),
    )
    assert precision(both) == FP8


def test_scales_beside_a_single_output_channel_are_not_its_weights() -> None:
    kernel = recorded("two_convs", "n_a")
    weights = Operand("w", (1, 24, 1, 1), "Int8")
    scale = Operand("s", (1, 1, 1, 1), "Float")
    assert precision(replace(kernel, constants=(scale, weights))) == INT8


def test_two_activations_beside_a_bias() -> None:
    kernel = recorded("packed", "n_qk")
    int8 = tuple(replace(each, dtype="Int8") for each in kernel.inputs)
    bias = Operand("b", (1, 20), "Float")
    assert precision(replace(kernel, inputs=int8, constants=(bias,))) == INT8
    assert precision(replace(kernel, inputs=(int8[0], kernel.inputs[1]))) == FLOAT


def test_attention_is_int8_only_where_all_three_inputs_are() -> None:
    kernel = recorded("attention", "_gemm_mha_v2")
    assert is_attention(kernel)
    query, key, value = kernel.inputs
    assert precision(replace(kernel, inputs=(query, key, replace(value, dtype="Half")))) == FLOAT


def test_a_fused_kernel_is_int8_unless_it_dequantizes_before_the_product() -> None:
    kernel = recorded("two_convs", "n_a")
    fused = replace(kernel, kind="runtime_fusion", name="__myl_CorrMulAddRelu")
    assert is_product(fused) and precision(fused) == INT8
    assert precision(replace(fused, name="__myl_CastMulCorrAdd")) == FLOAT
    assert precision(replace(fused, name="__myl_CastDivCorr")) == FLOAT


def test_steps_are_read_off_generated_names_only() -> None:
    assert steps(recorded("classifier", "__myl_ReshMulSum")) == ("Resh", "Mul", "Sum")
    assert steps(recorded("two_convs", "n_a")) == ()
