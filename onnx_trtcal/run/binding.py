"""Running a session with its outputs left on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_trtcal.support.device_array import DeviceArray

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.support.device_array import Activation

__all__ = ["run_on_device"]

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}


def run_on_device(session: Any, feeds: Mapping[str, np.ndarray], device: str) -> list[Activation]:
    """The outputs of a run; floats that lie on the device stay there, everything else comes to the host.

    Args:
        session: an ONNX Runtime session.
        feeds: an array of numbers, C-contiguous, for every input.
        device: ONNX Runtime's name of the device.
    """
    # Made anew for every run: a binding that ran before would give its outputs' memory to the next run, which
    # fails when a shape differs, and overwrites what is still to be counted when it does not.
    binding = session.io_binding()
    for name, array in feeds.items():
        binding.bind_cpu_input(name, array)
    for output in session.get_outputs():
        binding.bind_output(output.name, device)
    session.run_with_iobinding(binding)
    # ONNX Runtime computes on a stream of its own; the reader of the outputs may use another.
    binding.synchronize_outputs()
    return [_activation(value, device) for value in binding.get_outputs()]


def _activation(value: Any, device: str) -> Activation:
    dtype = _dtype(value.data_type())
    # An output that was computed on the CPU may be left there.
    if dtype is None or (value.device_name() == "cpu" and device != "cpu"):
        return np.asarray(value.numpy())
    return DeviceArray(value.data_ptr(), tuple(value.shape()), dtype, value)


def _dtype(name: str) -> np.dtype | None:
    if name == "tensor(bfloat16)":
        import ml_dtypes

        brain: np.dtype = np.dtype(ml_dtypes.bfloat16)
        return brain
    return np.dtype(_DTYPES[name]) if name in _DTYPES else None
