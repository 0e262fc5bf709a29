"""One ONNX Runtime session over the observed model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx_trtcal.errors import ModelError
from onnx_trtcal.run.arena import share_arena
from onnx_trtcal.run.binding import run_on_device
from onnx_trtcal.run.blocked_outputs import Origin
from onnx_trtcal.run.blocked_session import BlockedSession, open_blocked
from onnx_trtcal.run.float_weights import float_weights
from onnx_trtcal.run.half_qdq import half_qdq_in_float32
from onnx_trtcal.support.channel_blocks import ChannelBlocks
from onnx_trtcal.support.ort_message import plain_message
from onnx_trtcal.support.ort_options import session_options
from onnx_trtcal.support.ort_session import open_session
from onnx_trtcal.support.progress import Listener, LoggingListener

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from onnx_trtcal.graph.probe import Probe
    from onnx_trtcal.run.provider import Provider
    from onnx_trtcal.support.device_array import Activation

__all__ = ["Session"]


class Session:
    """The observed model, ready to run.

    Args:
        probe: the model with its observed tensors as outputs.
        provider: the execution provider to run on.
        threads: CPU threads inside an op; None for one per core.
        ort_custom_ops: shared libraries with custom ops.
        float_qdq: compute Q and DQ as they stand, in float; otherwise ONNX Runtime runs what lies between them
            in integer kernels of its own, which round in other places than TensorRT's.
        any_order: the order of the values within a row of axis 0 is of no importance, so that outputs may be given
            as they lie in ONNX Runtime's memory, where that saves a copy. The values are the same.
        listener: receives a line when the model loads only without graph optimizations.

    Raises:
        ModelError: when ONNX Runtime cannot load the model.
    """

    def __init__(
        self,
        probe: Probe,
        provider: Provider,
        threads: int | None = None,
        ort_custom_ops: Sequence[str] = (),
        *,
        float_qdq: bool = False,
        any_order: bool = False,
        listener: Listener | None = None,
    ) -> None:
        self.outputs = probe.outputs
        model_bytes = probe.model_bytes
        if float_qdq:
            model_bytes = float_weights(half_qdq_in_float32(model_bytes))
        self._stride = probe.stride
        # The session reads these arrays where they lie: they must live as long as it does.
        self._weights = list(probe.external.values())

        def options(*, optimize: bool, weights_folder: Path | None = None) -> Any:
            made = session_options(
                threads=threads,
                custom_ops=ort_custom_ops,
                weights_folder=weights_folder or probe.directory,
                optimize=optimize,
            )
            _leave_room(made)
            if probe.many_convs:
                made.add_session_config_entry("optimization.disable_specified_optimizers", "NchwcTransformer")
            if float_qdq:
                made.add_session_config_entry("session.disable_quant_qdq", "1")
                made.add_session_config_entry("session.disable_double_qdq_remover", "1")
            if probe.external and weights_folder is None:
                made.add_external_initializers(
                    list(probe.external), [_ort_value(array) for array in self._weights]
                )
            return made

        self._blocked: BlockedSession | None = None
        if any_order and provider.device is None and not probe.many_convs:
            self._blocked = open_blocked(
                model_bytes, lambda folder: options(optimize=folder is None, weights_folder=folder)
            )
        fault = ""
        if self._blocked:
            self._session, self._origins = self._blocked.session, self._blocked.origins
            self._weights = []  # it has its own
        else:
            self._session, fault = _first_that_opens(
                lambda optimize: open_session(model_bytes, options(optimize=optimize), provider.ort_names)
            )
            self._origins = tuple(map(Origin, range(len(probe.outputs))))
        # An output that is an input is given as it was fed: up to 1.23 at least, what ONNX Runtime gives for it lies
        # in the memory that was fed, which may be another array's by then.
        self._names = [output.name for output in self._session.get_outputs()]
        if fault:
            (listener or LoggingListener()).say(
                f"ONNX Runtime's graph optimizations break this model, which runs without them: {fault}"
            )

    def run(self, feeds: Mapping[str, np.ndarray], sample: str) -> list[np.ndarray]:
        """One array per observed tensor, in the order of `outputs`.

        Args:
            feeds: an array for every input.
            sample: name of the batch's first sample, for the error message.

        Raises:
            ModelError: when ONNX Runtime fails on these feeds.
        """
        values = self._values(feeds, sample)
        return [value.plain() if isinstance(value, ChannelBlocks) else value for value in values]

    def run_to_count(
        self, feeds: Mapping[str, np.ndarray], sample: str, device: str | None = None
    ) -> Sequence[Activation]:
        """Like `run`, but nothing is copied that need not be: activations stay where and as they were computed.

        Args:
            feeds: as for `run`.
            sample: as for `run`.
            device: ONNX Runtime's name of the device, such as `cuda`, where floats that are computed there stay for
                as long as their array lives; None for the host.

        Raises:
            ModelError: when ONNX Runtime fails on these feeds.
        """
        # ONNX Runtime binds numbers only.
        if device is None or not all(array.dtype.kind in "biuf" for array in feeds.values()):
            return self._values(feeds, sample)
        try:
            return run_on_device(self._session, feeds, device)
        except Exception as error:
            raise self._failure(error, feeds, sample) from error

    def _values(self, feeds: Mapping[str, np.ndarray], sample: str) -> list[np.ndarray | ChannelBlocks]:
        try:
            found = self._session.run(None, dict(feeds))
        except Exception as error:
            raise self._failure(error, feeds, sample) from error
        given = [feeds.get(name, array) for name, array in zip(self._names, found, strict=True)]
        return [origin.values(given[origin.place]) for origin in self._origins]

    def _failure(self, error: Exception, feeds: Mapping[str, np.ndarray], sample: str) -> ModelError:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())
        stride = self._stride
        odd = next((size for array in feeds.values() if (size := _odd_size(array.shape, stride))), None)
        fix = "check that the model runs on this input; a smaller --batch-size needs less memory"
        if odd:
            near = [-(-side // stride) * stride for side in odd]
            fix = (
                f"the model reduces height and width by up to {stride}, and {odd[0]}x{odd[1]} is not a multiple of "
                f"that: bring images to one that is, as {near[0]}x{near[1]}: --resize letterbox (or stretch) "
                f"--size {near[0]},{near[1]}"
            )
        return ModelError(
            f"ONNX Runtime fails on this batch: {plain_message(str(error)) or type(error).__name__}",
            where=f"sample {sample}; fed {shapes}",
            fix=fix,
        )


def _first_that_opens(opened: Callable[[bool], Any]) -> tuple[Any, str]:
    """A session with graph optimizations, or without them and what went wrong with them.

    Raises:
        ModelError: when neither opens, or a custom-operator library cannot be loaded.
    """
    faults: list[Exception] = []
    for optimize in (True, False):
        try:
            return opened(optimize), plain_message(str(faults[0])) if faults else ""
        except ModelError:
            raise  # a custom-operator library that does not load
        except Exception as error:  # noqa: BLE001 (ONNX Runtime's own exception types are not public)
            faults.append(error)
    raise ModelError(
        f"ONNX Runtime cannot load the observed model: {plain_message(str(faults[0]))}",
        fix="check that ONNX Runtime runs the model as it is; custom ops need --ort-custom-ops LIB",
    ) from faults[0]


def _leave_room(options: Any) -> None:
    """Leaves cores and memory to the work around the session: decoding samples, counting activations."""
    # Threads that spin while they wait would take the cores that decode samples and count histograms.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Patterns and doubling blocks both reserve far more than a batch of activations needs.
    options.enable_mem_pattern = False
    share_arena(options)


def _odd_size(shape: Sequence[int], stride: int) -> tuple[int, int] | None:
    """Height and width of an image whose sides are not multiples of the stride."""
    if len(shape) != 4 or stride < 2:
        return None
    height, width = shape[1:3] if shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4) else shape[2:]
    return (height, width) if height % stride or width % stride else None


def _ort_value(array: np.ndarray) -> Any:
    import onnxruntime as ort
    from onnx import helper

    if array.dtype.isbuiltin == 1:
        return ort.OrtValue.ortvalue_from_numpy(array)
    # NumPy knows bfloat16 and its like only through ml_dtypes; ONNX Runtime takes them by ONNX's type number.
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(
        array, helper.np_dtype_to_tensor_dtype(array.dtype)
    )
