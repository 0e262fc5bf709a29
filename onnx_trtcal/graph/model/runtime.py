"""What ONNX Runtime says of a model: whether it loads, and the types its own inference finds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import onnx

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.inference import Shape, skeleton, with_outputs
from onnx_trtcal.support.cuda_driver import driver_loads
from onnx_trtcal.support.ort_message import plain_message
from onnx_trtcal.support.ort_options import session_options
from onnx_trtcal.support.ort_session import open_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["explain", "load_fault", "runtime_types"]


def load_fault(
    model: Path | bytes, ort_custom_ops: Sequence[str], directory: Path | None = None, *, gpu: bool = True
) -> str:
    """Loads a model in ONNX Runtime, with optimizations off and no weight repacked.

    Args:
        model: the model file, or a serialised model.
        ort_custom_ops: shared libraries that define custom operators.
        directory: where a serialised model's external weights are.
        gpu: whether the model may run on a GPU, which has kernels that the CPU lacks.

    Returns:
        What ONNX Runtime objects to, in its own words; an empty string when it loads the model.

    Raises:
        ModelError: when a custom-operator library cannot be loaded.
    """
    fault = _fault(model, ort_custom_ops, directory)
    # Some types, bfloat16 above all, run on a GPU only.
    if "NOT_IMPLEMENTED" in fault and gpu and driver_loads():
        return _fault(model, ort_custom_ops, directory, gpu=True)
    return fault


def _fault(
    model: Path | bytes, ort_custom_ops: Sequence[str], directory: Path | None, *, gpu: bool = False
) -> str:
    try:
        _session(model, ort_custom_ops, directory, gpu=gpu)
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 (ONNX Runtime's own exception types are not public)
        return str(error) or type(error).__name__
    return ""


def runtime_types(
    proto: onnx.ModelProto, names: Sequence[str], directory: Path | None, ort_custom_ops: Sequence[str]
) -> Mapping[str, tuple[int, Shape | None]]:
    """The element types (0 for what is not a tensor) and shapes that ONNX Runtime infers for the named tensors.

    They are read off the outputs of a session made for that purpose: of the model without its weights,
    or of the whole model where some operator insists on constant weights. Empty when neither loads.
    """
    for candidate in (skeleton, lambda whole: whole):
        try:
            session = _session(with_outputs(candidate(proto), names), ort_custom_ops, directory)
        except Exception:  # noqa: BLE001 (ONNX Runtime's own exception types are not public)
            continue
        wanted = set(names)
        return {
            value.name: (_elem_type(value.type), _shape(value.type, value.shape))
            for value in session.get_outputs()
            if value.name in wanted
        }
    return {}


def _session(
    model: Path | bytes, custom_ops: Sequence[str], directory: Path | None = None, *, gpu: bool = False
) -> Any:
    import onnxruntime as ort

    options = session_options(threads=1, custom_ops=custom_ops, weights_folder=directory, optimize=False)
    options.add_session_config_entry("session.disable_prepacking", "1")
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider") if gpu else ("CPUExecutionProvider",)
    available = ort.get_available_providers()
    return open_session(model, options, [name for name in wanted if name in available])


def _elem_type(text: str) -> int:
    match = re.fullmatch(r"tensor\((\w+)\)", text)
    kinds = dict(onnx.TensorProto.DataType.items())
    return int(kinds.get(match.group(1).upper(), 0)) if match else 0


def _shape(text: str, shape: Sequence[int | str | None]) -> Shape | None:
    # ONNX Runtime gives [] both for a scalar and for a tensor whose rank it does not know.
    if not text.startswith("tensor(") or not shape:
        return None
    return tuple(None if isinstance(dim, str) and dim.startswith("unk__") else dim for dim in shape)


# What ONNX Runtime writes, what happened in plainer words, and what to do about it.
_EXPLANATIONS: tuple[tuple[str, str, str], ...] = (
    (
        r"(?:No Op registered for |Fatal error: )(?:(?P<domain>[^\s:]*):)?(?P<op>\w+)(?:\(|\s)",
        "ONNX Runtime does not know the operator {op}",
        "pass the library of custom operators that defines it with --ort-custom-ops LIB; a TensorRT plugin has none",
    ),
    (
        r"(?:Could not find an implementation for |NOT_IMPLEMENTED : .*?)(?P<op>\w+)\(\d+\)",
        "ONNX Runtime has no CPU implementation of the operator {op} for these types",
        "export the model with float32 inputs to that operator, or with other operators",
    ),
    (
        r"models stamped with official|Opset \d+ is under development",
        "the model is newer than this ONNX Runtime understands",
        "upgrade onnxruntime, or export the model with a lower opset",
    ),
    (
        r"External data path|external data|GetExtDataFromTensorProto",
        "ONNX Runtime cannot read the model's external weights",
        "keep the weight files in the folder of the model file, as they were exported",
    ),
    (
        r"Protobuf parsing failed|ModelProto does not have a graph|model_format",
        "this is not a whole ONNX model",
        "copy or export the file again",
    ),
)


def explain(message: str, name: str) -> ModelError:
    """ONNX Runtime's own message as a ModelError: what, in which file and node, and what to do.

    Args:
        message: the text of the exception that ONNX Runtime raised.
        name: the model's file, or another name for it.
    """
    node = re.search(r"[Nn]ode,? ?\(\"?([^\",)]*)|[Nn]ode with name '([^']*)'|[Nn]ode:([^\s,]+)", message)
    label = next((group for group in node.groups() if group), "") if node else ""
    where = f"{name}, node {label!r}" if label else name
    for pattern, what, fix in _EXPLANATIONS:
        match = re.search(pattern, message)
        if match:
            found = match.groupdict()
            if found.get("domain"):
                found["op"] = f"{found['domain']}:{found['op']}"
            return ModelError(f"{what.format(**found)} ({plain_message(message)})", where=where, fix=fix)
    return ModelError(
        f"ONNX Runtime cannot load the model: {plain_message(message)}",
        where=where,
        fix="make the model run in ONNX Runtime first; calibration runs it there",
    )
