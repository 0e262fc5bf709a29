"""Which execution provider runs the model, and why: CUDA where it really works, else the CPU."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from onnx_trtcal.errors import ProviderError
from onnx_trtcal.support.cuda_driver import driver_loads

__all__ = ["CUDA_FIX", "Provider", "choose_provider", "find_cuda_fault"]

CUDA_FIX = (
    "on a machine with an NVIDIA driver, pip install 'onnx_trtcal[cuda]' (in a clone: '.[cuda]'); "
    "or use --provider cpu"
)


@dataclass(frozen=True)
class Provider:
    """An execution provider that was tried and works.

    Attributes:
        name: `cuda` or `cpu`.
        reason: why this one, in a few words.
    """

    name: str
    reason: str

    @property
    def ort_names(self) -> list[str]:
        """ONNX Runtime's names, in order of preference: ops that CUDA lacks run on the CPU."""
        return (
            ["CUDAExecutionProvider", "CPUExecutionProvider"]
            if self.name == "cuda"
            else ["CPUExecutionProvider"]
        )

    def __str__(self) -> str:
        return f"execution provider: {self.name.upper()} ({self.reason})"


def choose_provider(asked: str) -> Provider:
    """The provider for `auto`, `cuda` or `cpu`.

    Raises:
        ProviderError: when `cuda` is asked for and cannot run; the message says what is missing.
    """
    if asked == "cpu":
        return Provider("cpu", "as asked")
    fault = find_cuda_fault()
    if not fault:
        return Provider("cuda", "an NVIDIA GPU is usable")
    if asked == "cuda":
        raise ProviderError(f"CUDA is not usable here: {fault}", fix=CUDA_FIX)
    return Provider("cpu", f"no CUDA: {fault}")


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
        session = ort.InferenceSession(
            _one_node_model(), _silent_options(), providers=["CUDAExecutionProvider"]
        )
        if "CUDAExecutionProvider" not in session.get_providers():
            return (
                "ONNX Runtime cannot load its CUDA libraries (CUDA or cuDNN of the right version is missing)"
            )
        session.run(None, {})
    except Exception as error:  # ONNX Runtime raises its own and RuntimeError types, none of them public
        return str(error).splitlines()[0][:200]
    return ""


def _silent_options() -> object:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    # ONNX Runtime would fold the node away on the CPU, and nothing would have been tried.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


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
