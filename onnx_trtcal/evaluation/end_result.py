"""The look at the end result: a few samples of the data at hand, in FP32 and in simulated INT8.

Scales are chosen tensor by tensor, and a threshold that is good for a histogram may be the end of a network's
answers. So when the work is done, the samples that the run has kept are run through the float model and through what
TensorRT will run. A block of the outputs that is left with less than a third of its amplitude right ends in a warning.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from onnx_trtcal.calibration import Calibration
from onnx_trtcal.errors import CalibrationError, DataError, ModelError
from onnx_trtcal.evaluation.per_sample import is_float
from onnx_trtcal.fidelity.blocks import BlockError, BlockErrors, BlockFinder
from onnx_trtcal.graph.data_dependent import data_dependent
from onnx_trtcal.graph.model.exporter import export_model
from onnx_trtcal.graph.model.external import tensor_nbytes
from onnx_trtcal.graph.model.float32 import CONVERTED, to_float32
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.reach import restricted
from onnx_trtcal.graph.ops import COUNTS
from onnx_trtcal.graph.output_blocks import output_blocks
from onnx_trtcal.graph.probe import probe
from onnx_trtcal.graph.view import kind, link
from onnx_trtcal.qdq.export_target import with_opset
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.place.place import place
from onnx_trtcal.qdq.write.insert import quantize_graph
from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.run.session import Session
from onnx_trtcal.search.outputs import compared_outputs
from onnx_trtcal.support.memory import available_memory
from onnx_trtcal.support.progress import Listener, LoggingListener

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.prepared import Prepared
    from onnx_trtcal.quantization import Quantization

__all__ = ["FINE", "LEAST", "EndResult", "check_end_result"]

LEAST = 10.0
"""SQNR in dB under which a block is lost: the error then has about a third of its amplitude."""
FINE = 20.0
"""SQNR in dB of all blocks above which the first samples are enough."""

_FIRST = 4
_MOST_AHEAD_BYTES = 64 << 20  # of what the float model gives, before the quantized one runs
_A_SAMPLE = "a sample kept for the look at the end result"  # for error messages

# What a cache is for: TensorRT may run every layer in INT8, and each tensor has the scale that the cache gives it.
_FROM_CACHE = QdqOptions(gemv=True, weights="int8", share_concat=False)
# The float model and the quantized one are in memory together, as files and as ONNX Runtime's own copies.
_COPIES = 4


@dataclass(frozen=True)
class EndResult:
    """A look at what scales come to at the model's outputs.

    Attributes:
        samples: how many samples were run.
        blocks: the blocks of the float outputs, the worst first; those with too little power to be a verdict last.
    """

    samples: int
    blocks: tuple[BlockError, ...]

    @property
    def lost(self) -> tuple[BlockError, ...]:
        """The blocks that are left under 10 dB."""
        return tuple(each for each in self.blocks if each.verdict and each.sqnr < LEAST)


def check_end_result(result: Calibration | Quantization, *, listener: Listener | None = None) -> EndResult:
    """Compares the model in FP32 and in simulated INT8 on a few samples that the calibration has kept.

    Of a Calibration it is what TensorRT may make of its cache: every layer that can be quantized in INT8. Of a
    Quantization it is the Q/DQ model. The samples do not depend on the order or the batching of the data. The first
    four are enough where every block of the outputs has more than 20 dB on them.

        >>> from onnx_trtcal import Options, calibrate, check_end_result
        >>> calibration = calibrate("models/digits_mlp.onnx", "models/digits_calib.npy", Options(max_samples=16))
        >>> found = check_end_result(calibration)
        >>> [str(each.block) for each in found.blocks], found.samples, found.lost
        (['logits'], 4, ())

    Args:
        result: what `calibrate` or `quantize` came to, from data; `Options.check_samples` says how many samples are
            kept.
        listener: receives the progress.

    Raises:
        DataError: there are no samples, because the scales came from statistics or from a cache.
        ModelError: no layer can be quantized, or ONNX Runtime fails on the model.
        CalibrationError: there is too little memory.
    """
    calibration = result if isinstance(result, Calibration) else result.source.calibration
    if calibration is None or not calibration.kept:
        raise DataError(
            "there are no samples to run: scales from statistics or from a cache come without data",
            fix="run `onnx-trtcal evaluate` with data",
        )
    prepared, options = calibration.prepared, calibration.options
    _check_room(prepared)
    session = partial(
        Session,
        provider=choose_provider(options.provider),
        threads=options.threads,
        ort_custom_ops=options.ort_custom_ops,
    )
    wanted = compared_outputs(prepared)
    expected = probe(prepared.folded, prepared.model, wanted)
    floats = _FloatOutputs(
        partial(session, expected),
        calibration.kept,
        [_in_order(values, wanted) for values in calibration.kept_results],
        options.memory_limit,
    )
    with (
        (listener or LoggingListener()).progress(len(calibration.kept), "comparing") as advance,
        ThreadPoolExecutor(1, thread_name_prefix="calibration-look") as beside,
        closing(floats),
    ):
        ahead = beside.submit(floats.run_ahead)
        graph, model = _simulated(result, calibration)
        made = graph.tensors()
        both = tuple(name for name in wanted if name in made)
        look, simulated = _Look(calibration, both), probe(graph, model, both)
        ahead.result()
        quantized = session(simulated, float_qdq=True)
        for count, feeds in enumerate(calibration.kept, 1):
            fp32 = dict(zip(wanted, floats.outputs(count - 1), strict=True))
            look.take([fp32[name] for name in both], quantized.run(feeds, _A_SAMPLE))
            advance(1)
            if count == _FIRST and all(each.sqnr > FINE for each in look.blocks if each.verdict):
                break
    return EndResult(count, look.blocks)


def _simulated(result: Calibration | Quantization, calibration: Calibration) -> tuple[gs.Graph, Model]:
    """The quantized graph, as far as ONNX Runtime runs it, and what it is exported against."""
    prepared = calibration.prepared
    if isinstance(result, Calibration):
        # A scale of 0 says that nothing is known of the range.
        known = {name: item.scale for name, item in calibration.scales.items() if item.scale > 0}
        graph = prepared.folded.copy()
        placement = place(graph, prepared.groups, _FROM_CACHE, known)
        if not placement.quantized:
            raise ModelError("no layer of the model can be quantized")
        quantize_graph(graph, placement, known, _FROM_CACHE)
        return graph, with_opset(prepared.model, graph.opset)
    graph, model = result.quantized.graph, result.quantized.model
    if prepared.original is prepared.model:
        return graph, model
    model = replace(model, proto=export_model(graph, model))
    types = (prepared.original.elem_types, prepared.model.elem_types)
    before, after = ({each for each in of.values() if each in CONVERTED} for of in types)
    if before > after:
        model = to_float32(model)
    model, _ = restricted(model, prepared.options.until, dict.fromkeys(prepared.stops, ""))
    return import_graph(model), model


def _in_order(values: Mapping[str, np.ndarray], names: Sequence[str]) -> list[np.ndarray] | None:
    return [values[name] for name in names] if values.keys() >= set(names) else None


class _FloatOutputs:
    """The float model's outputs: as the calibration has kept them, or else computed.

    Those of the first samples are computed while the quantized model is made. The float model is freed in between: the
    two are in memory together only where more than the first samples are run.

    Args:
        opened: makes its session.
        samples: what it is fed.
        kept: for each of them its outputs; None where they are to be computed.
        memory_limit: bytes that the outputs of the first samples may take; None for no limit of the user's.
    """

    def __init__(
        self,
        opened: Callable[[], Session],
        samples: Sequence[Mapping[str, np.ndarray]],
        kept: Sequence[list[np.ndarray] | None],
        memory_limit: int | None,
    ) -> None:
        self._opened = opened
        self._samples = samples
        self._most_bytes = min(memory_limit or _MOST_AHEAD_BYTES, _MOST_AHEAD_BYTES)
        self._outputs = dict(enumerate(kept))
        self._session: Session | None = None
        self._closed = False

    def close(self) -> None:
        """Runs no further sample ahead: whoever is interrupted waits for one run at most."""
        self._closed = True

    def run_ahead(self) -> None:
        """Runs the first samples."""
        session, size = None, 0
        for at, feeds in enumerate(self._samples[:_FIRST]):
            if self._outputs.get(at) is not None:
                continue
            session = session or self._opened()
            if self._closed:
                return
            outputs = session.run(feeds, _A_SAMPLE)
            size += sum(array.nbytes for array in outputs)
            self._outputs[at] = outputs
            if size > self._most_bytes:
                return

    def outputs(self, at: int) -> list[np.ndarray]:
        """Those of the sample at this place."""
        found = self._outputs.get(at)
        if found is not None:
            return found
        self._session = self._session or self._opened()
        return self._session.run(self._samples[at], _A_SAMPLE)


class _Look:
    """What was found so far.

    Args:
        calibration: of the float model.
        wanted: the outputs that are compared.
    """

    def __init__(self, calibration: Calibration, wanted: Sequence[str]) -> None:
        prepared, feeding = calibration.prepared, calibration.feeding
        self._wanted = wanted
        layouts = output_blocks(prepared.model, prepared.folded, wanted)
        self._finder, self._errors = BlockFinder(layouts), BlockErrors(layouts)
        self._rowless = _rowless(prepared)
        # Rows of a fixed batch all hold the one sample; what is fed verbatim has none that are samples.
        self._rows = None if feeding is None or feeding.verbatim else feeding.batch or 1
        self._most_bytes = prepared.options.memory_limit

    @property
    def blocks(self) -> tuple[BlockError, ...]:
        """What was found so far, the worst first."""
        found = self._errors.of(self._finder.blocks())
        return tuple(sorted(found, key=lambda each: (not each.verdict, each.sqnr, each.block.name)))

    def take(self, fp32: Sequence[np.ndarray], int8: Sequence[np.ndarray]) -> None:
        """Adds the outputs of a sample; those that INT8 gives another size are left out."""
        if self._most_bytes is not None and 2 * sum(array.nbytes for array in fp32) > self._most_bytes:
            raise CalibrationError("the outputs of one sample take more than --memory-limit")
        for name, expected, got in zip(self._wanted, fp32, int8, strict=True):
            if is_float(expected) and expected.shape == got.shape:
                by_row = expected.ndim and expected.shape[0] == self._rows and name not in self._rowless
                self._finder.add(name, expected, 1 if by_row else None)
                self._errors.add(name, expected, got, 1 if by_row else None)


def _rowless(prepared: Prepared) -> frozenset[str]:
    """The tensors whose first axis counts something else than samples."""
    if not any(kind(node) in COUNTS for node in prepared.folded.nodes):
        return frozenset()
    return data_dependent(prepared.model, link(prepared.folded)).rowless


def _check_room(prepared: Prepared) -> None:
    """Refuses what would make the machine swap.

    Raises:
        CalibrationError: saying how much is needed.
    """
    weights = sum(tensor_nbytes(tensor) for tensor in prepared.model.proto.graph.initializer)
    free = available_memory()
    if free is not None and _COPIES * weights > free:
        raise CalibrationError(
            f"the float model and the quantized one need about {_COPIES * weights >> 20:,} MiB together, and "
            f"{free >> 20:,} MiB are free"
        )
