"""Verdicts on layers, from recorded kernels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from onnx_trtcal.trt.compiler.kernels import Kernel, parse_kernels
from onnx_trtcal.trt.compiler.layers import Layer, find_layers
from onnx_trtcal.trt.compiler.model_layers import ModelLayer

LOGS = Path(__file__).parent / "logs"


def recorded(log: str) -> tuple[Kernel, ...]:
    return parse_kernels((LOGS / f"{log}.log").read_text(encoding="utf-8"))


def stated(name: str, **fields: object) -> ModelLayer:
    plain = ModelLayer(name, name, True, "MatMul", None, None, "", "", False)
    return replace(plain, **fields)


def verdict(log: str, one: ModelLayer) -> Layer:
    return find_layers([one], recorded(log))[0]


def test_own_kernels_merged_kernels_and_attention() -> None:
    assert verdict("two_convs", stated("n_a", op="Conv")).kernels == ("n_a",)
    assert verdict("attention", stated("n_k")).kernels == ("n_v+n_k+n_q",)
    assert verdict("attention", stated("n_qk")).kernels == ("_gemm_mha_v2",)
    assert all(verdict("attention", stated(name)).int8 for name in ("n_k", "n_qk", "n_out"))


def test_dequantized_first() -> None:
    layer = verdict("packed", stated("n_qkv"))
    assert layer.lost and layer.why == "dequantized first: __myl_CastMulFc reads Int8 and Float"


def test_fused_into_a_generated_kernel() -> None:
    layer = verdict("classifier", stated("n_y", op="Gemm"))
    assert layer.lost
    assert (
        layer.why == "fused with nothing else: __myl_ReshMulSum dequantizes and multiplies in floating point"
    )


def test_attention_in_float() -> None:
    kernels = recorded("attention")
    mha = next(kernel for kernel in kernels if kernel.name == "_gemm_mha_v2")
    half = replace(mha, inputs=tuple(replace(each, dtype="Half") for each in mha.inputs))
    (layer,) = find_layers([stated("n_qk")], [half])
    assert layer.why.startswith("attention: fused with n_pv, p_DequantizeLinear") and layer.why.endswith(
        "in Half"
    )


def test_missing_pairs_and_faults_come_before_what_the_kernel_says() -> None:
    assert verdict("packed", stated("n_qk", lacking="its input 'a'")).why == "no Q/DQ pair on its input 'a'"
    assert not verdict("packed", stated("n_qk", lacking="its input 'a'")).lost
    assert verdict("packed", stated("n_qk", fault="the scale is odd")).why == "the scale is odd"
    assert "no INT8 kernel for ConvTranspose" in verdict("packed", stated("n_qk", op="ConvTranspose")).why


def test_layers_that_no_kernel_names() -> None:
    gone = verdict("two_convs", stated("gone"))
    assert gone.precision == "float" and gone.why == "no kernel is made from it" and gone.kernels == ()
    constant = verdict("two_convs", stated("gone", constant=True))
    assert constant.precision == "constant" and not constant.lost


def test_two_nodes_of_one_name_are_int8_only_together() -> None:
    first, *_ = (kernel for kernel in recorded("two_convs") if kernel.name == "n_a")
    other = replace(first, name="n_a_0", inputs=tuple(replace(each, dtype="Float") for each in first.inputs))
    both = stated("n_a", op="Conv", unique=False)
    assert not find_layers([both], [first, other])[0].int8
    assert find_layers([replace(both, unique=True)], [first, other])[0].int8


def test_multiply_adds_by_the_kernel_where_shapes_are_unknown() -> None:
    assert verdict("two_convs", stated("n_a", op="Conv", depth=24 * 9)).macs == 16 * 30 * 24 * 9
    assert verdict("two_convs", stated("n_a", op="Conv")).macs is None
    assert verdict("attention", stated("n_k", depth=32)).macs is None  # its kernel does two others, too
