"""Which execution provider runs the model, and why: an accelerator that really works, else the CPU."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.errors import ProviderError
from onnx_trtcal.support.cuda_driver import driver_loads
from onnx_trtcal.support.ort_install import clash
from onnx_trtcal.support.ort_options import session_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Provider", "choose_provider", "find_cuda_fault"]


@dataclass(frozen=True)
class Provider:
    """An execution provider that was tried and works.

    Attributes:
        name: what `--provider` calls it, such as `cuda` or `cpu`.
        reason: why this one, in a few words.
    """

    name: str
    reason: str

    @property
    def ort_names(self) -> list[str]:
        """ONNX Runtime's names, in order of preference: ops that an accelerator lacks run on the CPU."""
        cpu = ["CPUExecutionProvider"]
        return [_ACCELERATORS[self.name].ort_name, *cpu] if self.name in _ACCELERATORS else cpu

    @property
    def device(self) -> str | None:
        """ONNX Runtime's name of the device that can keep outputs; None where they lie in the host's memory."""
        return _ACCELERATORS[self.name].device if self.name in _ACCELERATORS else None

    def __str__(self) -> str:
        return f"execution provider: {self.name.upper()} ({self.reason})"


def choose_provider(asked: str) -> Provider:
    """The provider for `auto`, `cpu` or an accelerator's name.

    Raises:
        ProviderError: when an accelerator is asked for and cannot run; the message says what is missing.
    """
    twofold = clash()
    if asked == "cpu":
        return _named("cpu", "as asked", twofold)
    faults = []
    for name, accelerator in _ACCELERATORS.items():
        if asked not in ("auto", name):
            continue
        fault = accelerator.find_fault()
        if not fault:
            return _named(name, accelerator.reason, twofold)
        if asked == name:
            raise ProviderError(f"{name.upper()} is not usable here: {fault}", fix=twofold or accelerator.fix)
        faults.append(f"no {name.upper()}: {fault}")
    return _named("cpu", "; ".join(faults), twofold)


def _named(name: str, reason: str, twofold: str) -> Provider:
    return Provider(name, f"{reason}; {twofold}" if twofold else reason)


@functools.cache
def find_cuda_fault() -> str:
    """What keeps CUDA from running, or an empty string when a one-node model just ran on it."""
    if not driver_loads():
        return "no NVIDIA driver found"
    import onnxruntime as ort

    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return f"the installed ONNX Runtime {ort.__version__} is built without CUDA"
    # Finds the CUDA and cuDNN libraries in pip's nvidia packages; without them the system's are used.
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls(directory="")
    try:
        # ONNX Runtime would fold the node away on the CPU, and nothing would have been tried.
        options = session_options(optimize=False)
        session = ort.InferenceSession(_one_node_model(), options, providers=["CUDAExecutionProvider"])
        if "CUDAExecutionProvider" not in session.get_providers():
            return (
                "ONNX Runtime cannot load its CUDA libraries (CUDA or cuDNN of the right version is missing)"
            )
        session.run(None, {})
    except Exception as error:  # noqa: BLE001 (ONNX Runtime's own exception types are not public)
        return str(error).splitlines()[0][:200]
    return ""


@dataclass(frozen=True)
class _Accelerator:
    """An execution provider other than the CPU's.

    Attributes:
        ort_name: ONNX Runtime's name of it.
        device: ONNX Runtime's name of its memory; `stats` has a folder of that name, which counts there.
        find_fault: says what keeps it from running; an empty string when it runs.
        reason: why it is chosen, when it is.
        fix: what to do when it is asked for and does not run.
    """

    ort_name: str
    device: str
    find_fault: Callable[[], str]
    reason: str
    fix: str


# By the name that --provider knows, in the order in which `auto` tries them.
_ACCELERATORS: Mapping[str, _Accelerator] = {
    "cuda": _Accelerator(
        "CUDAExecutionProvider",
        "cuda",
        find_cuda_fault,
        "an NVIDIA GPU is usable",
        "on a machine with an NVIDIA driver, pip install 'onnx_trtcal[cuda]' (in a clone: '.[cuda]'); "
        "or use --provider cpu",
    ),
}


def _one_node_model() -> bytes:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    # A Conv, because it needs cuDNN as well as the CUDA runtime.
    image = numpy_helper.from_array(np.ones((1, 1, 4, 4), np.float32), "image")
    weight = numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "weight")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight"], ["out"])],
        "probe",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 1, 2, 2])],
        [image, weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())
