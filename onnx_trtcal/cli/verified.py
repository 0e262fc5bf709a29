"""What `quantize --verify` prints: which quantized layers NVIDIA's compiler does not run in INT8, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.support.printable import shell_word

if TYPE_CHECKING:
    from onnx_trtcal.audit.verification import Verification
    from onnx_trtcal.cli.console import Console
    from onnx_trtcal.trt.compiler.layers import Layer

__all__ = ["print_verification", "verification_fields"]

_MOST_NAMES = 5


def print_verification(found: Verification, console: Console) -> None:
    """The verdict, and every layer that is not in INT8 although it was quantized."""
    made = found.compilation
    console.line()
    count = len(found.int8) + len(found.lost) + len(found.undecided) + len(found.absent)
    if not made.built:
        console.result(f"not verified: NVIDIA's compiler does not build it for {made.gpu.upper()}")
        for problem in made.problems:
            node = f"{problem.op} {problem.node}".strip()
            console.result(f"  {problem.stage} [{problem.rule}]{f' {node}' if node else ''}: {problem.what}")
            console.result(f"    to fix: {problem.fix}")
        return
    kernels = f", {made.summary.kernels} kernels" if made.summary else ""
    by = f"by the compiler of TensorRT for RTX {made.version} for {made.gpu.upper()}{kernels}"
    console.result(
        f"{'verified' if found.holds else 'not verified'}: "
        f"{len(found.int8)} of {count} quantized layers run in INT8, {by}"
    )
    for layer in found.lost:
        console.result(f"  {layer.op} {layer.name}: {layer.why}")
    for name in found.absent:
        console.result(f"  {name}: the written model has no layer of this name")
    if found.lost:
        flags = " ".join(f"--exclude {shell_word(layer.name)}" for layer in found.lost[:_MOST_NAMES])
        more = " …" if len(found.lost) > _MOST_NAMES else ""
        console.line(f"to leave them in floating point, add {flags}{more}")
    for layer in found.undecided:
        console.line(f"  {layer.op} {layer.name}: {layer.why}; that of TensorRT may have one (see --target)")


def verification_fields(found: Verification) -> dict[str, object]:
    """The verdict for `--json`."""
    made = found.compilation
    return {
        "holds": found.holds,
        "built": made.built,
        "compiler": made.version,
        "gpu": made.gpu,
        "problems": [f"{problem.node}: {problem.what}" for problem in made.problems],
        "int8": [layer.name for layer in found.int8],
        "lost": _with_reasons(found.lost),
        "absent": list(found.absent),
        "undecided": _with_reasons(found.undecided),
    }


def _with_reasons(layers: tuple[Layer, ...]) -> list[dict[str, str]]:
    return [{"name": layer.name, "op": layer.op, "why": layer.why} for layer in layers]
