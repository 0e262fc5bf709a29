"""An engine in numbers, on recorded logs and on the compiler itself."""

from __future__ import annotations

from pathlib import Path

from onnx_trtcal.trt.compiler.kernels import parse_kernels
from onnx_trtcal.trt.compiler.layers import FOLDED, Layer
from onnx_trtcal.trt.compiler.summary import only_converts, summarize

LOGS = Path(__file__).parent / "logs"
QDQ = {
    f"{name}_{suffix}": suffix
    for name in ("x", "r", "w_a", "w_c", "w_qkv", "all_heads")
    for suffix in ("QuantizeLinear", "DequantizeLinear")
}


def layer(name: str, precision: str, macs: int | None) -> Layer:
    return Layer(name, "Conv", precision, "", has_pairs=True, macs=macs, kernels=(name,))


def test_bytes_and_kernels() -> None:
    kernels = parse_kernels((LOGS / "two_convs.log").read_text(encoding="utf-8"))
    count = summarize(kernels, [layer("n_a", "INT8", 100), layer("n_c", "float", 300)], QDQ)
    values = 5 * 6
    assert (count.kernels, count.converting) == (5, 1)
    # x is read and c is written in float; what the convolutions hand to their epilogues stands apart.
    assert count.float_bytes == 4 * values * (24 + 16)
    assert count.accumulator_bytes == 4 * values * 2 * (16 + 16)
    assert count.int8_bytes == values * 2 * (24 + 16)
    assert count.bytes_moved == count.float_bytes + count.int8_bytes
    assert (count.layers, count.int8_layers, count.int8_share) == (2, 1, 0.25)


def test_layers_computed_at_build_time_and_unknown_shapes_do_not_count() -> None:
    layers = [layer("a", "INT8", None), layer("b", FOLDED, 50), layer("c", "INT8", 20)]
    count = summarize((), layers, {})
    assert (count.layers, count.int8_layers, count.macs, count.int8_macs) == (2, 2, 20, 20)
    assert summarize((), (), {}).int8_share == 0


def test_a_result_with_several_readers_is_no_accumulator() -> None:
    kernels = parse_kernels((LOGS / "attention.log").read_text(encoding="utf-8"))
    count = summarize(kernels, (), {})
    sides = 4 * 20 * 32
    # x, the products of q, k and v together, which three kernels read, and out; only out's product has one reader.
    assert count.float_bytes == sides + 2 * 3 * sides + sides
    assert count.accumulator_bytes == 2 * sides


def test_kernels_that_only_convert() -> None:
    converting = {
        log: [
            kernel.name
            for kernel in parse_kernels((LOGS / f"{log}.log").read_text(encoding="utf-8"))
            if only_converts(kernel, QDQ)
        ]
        for log in ("two_convs", "packed", "branches", "classifier")
    }
    assert converting == {
        "two_convs": ["__myl_MulMinMaxRounCast"],
        # The weights are dequantized and rearranged in every inference; the last Q goes along with the Transpose.
        "packed": ["__myl_CastMulCastReshTranReshSlicSlicSlicConc", "__myl_MulMinMaxRounCast"],
        "branches": ["__myl_Move", "__myl_Tran", "__myl_Move", "__myl_Tran"],
        "classifier": ["__myl_MulMinMaxRounCast"],
    }
