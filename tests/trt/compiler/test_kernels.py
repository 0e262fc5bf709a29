"""Reading kernels off logs that TensorRT for RTX 1.7 wrote for the models in `helpers.compiler`."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnx_trtcal.errors import CalibrationError
from onnx_trtcal.trt.compiler.kernels import Kernel, Operand, parse_kernels

LOGS = Path(__file__).parent / "logs"


def recorded(name: str) -> dict[str, Kernel]:
    kernels = parse_kernels((LOGS / f"{name}.log").read_text(encoding="utf-8"))
    found = {kernel.name: kernel for kernel in kernels}
    assert len(found) == len(kernels) or name in ("attention", "branches", "packed")
    return found


def test_a_library_kernel() -> None:
    assert recorded("two_convs")["n_a"] == Kernel(
        name="n_a",
        kind="correlation",
        inputs=(Operand("__mye248a_before_bias.1_2_myl0", (1, 24, 5, 6), "Int8"),),
        constants=(
            Operand("__mye430dconst_myl0", (16, 24, 3, 3), "Int8"),
            Operand("__mye435dconst_myl0", (1, 16, 1, 1), "Float"),
            Operand("__mye440dconst_myl0", (1, 16, 1, 1), "Float"),
        ),
        outputs=(Operand("__myln_k_arg__bb1_3_myl0", (1, 16, 5, 6), "Float"),),
        tactic="__myelin_CASK_STUB",
        nodes=("n_a", "x_DequantizeLinear", "w_a_DequantizeLinear"),
    )


def test_all_kernels_in_order_and_their_sizes() -> None:
    kernels = recorded("two_convs")
    assert [kernel.kind for kernel in kernels.values()] == [
        "kgen",
        "correlation",
        "kgen",
        "correlation",
        "kgen",
    ]
    assert [kernel.inputs[0].nbytes for kernel in kernels.values()] == [2880, 720, 1920, 480, 1920]
    assert kernels["__myl_MulAddMove"].outputs == (Operand("c", (1, 16, 5, 6), "Float"),)
    assert all(kernel.runs for kernel in kernels.values())


def test_a_kernel_without_inputs_or_without_a_tactic() -> None:
    kernels = recorded("packed")
    prepares = kernels["__myl_CastMulCastReshTranReshSlicSlicSlicConc"]
    assert prepares.inputs == () and [each.dtype for each in prepares.constants] == ["Float", "Int8"]
    fused = kernels["__myl_CastMulFc"]
    assert (fused.kind, fused.constants, fused.tactic) == ("runtime_fusion", (), "")
    assert fused.nodes == ("n_qkv", "x_DequantizeLinear")


def test_bodies_of_an_if_and_jumps() -> None:
    kernels = parse_kernels((LOGS / "branches.log").read_text(encoding="utf-8"))
    convolutions = [kernel for kernel in kernels if kernel.kind == "correlation"]
    assert [kernel.nodes for kernel in convolutions] == [("n_if", "n_yes"), ("n_if", "n_no")]
    jumps = [kernel for kernel in kernels if kernel.kind in ("cjmp", "jmp")]
    assert len(jumps) == 3 and not any(kernel.runs for kernel in jumps)


def test_names_with_the_logs_own_punctuation() -> None:
    line = (LOGS / "two_convs.log").read_text(encoding="utf-8").split("\n")[1]
    odd = parse_kernels(line.replace("n_a", "a [x], b: {1} | c"))
    assert odd[0].name == "a [x], b: {1} | c"
    assert odd[0].nodes[0] == "a [x], b: {1} | c"


def test_other_lines_of_the_log_are_passed_over() -> None:
    line = (LOGS / "two_convs.log").read_text(encoding="utf-8").split("\n")[1]
    log = (
        f"Layers:\n{line}\n\nI/O Tensors:\n Name: x, IOMode: Input, DataType: Float\nName: x, IOMode: Input\n"
    )
    assert [kernel.name for kernel in parse_kernels(log)] == ["n_a"]
    assert parse_kernels("") == ()


@pytest.mark.parametrize("change", [("TacticName", "Tactic"), ("Datatype: Int8", "Datatype: {Int8}")])
def test_an_unknown_form_is_not_guessed_at(change: tuple[str, str]) -> None:
    line = (LOGS / "two_convs.log").read_text(encoding="utf-8").split("\n")[1]
    with pytest.raises(CalibrationError, match="kernel line of an unknown form"):
        parse_kernels(line.replace(*change))


@pytest.mark.parametrize(
    ("dtype", "size"), [("Float", 60), ("Half", 30), ("Int8", 15), ("FP8", 15), ("Int4", 8)]
)
def test_bytes_by_type(dtype: str, size: int) -> None:
    assert Operand("t", (3, 5), dtype).nbytes == size
