"""The look at the end result: a few samples of the data at hand, in FP32 and in simulated INT8.

Scales are chosen tensor by tensor, and a threshold that is good for a histogram may be the end of a network's
answers. So when the work is done, the samples that the run has kept are run through the float model and through what
TensorRT will run. A block of the outputs that is left with less than a third of its amplitude right ends in a warning.
"""

from __future__ import annotations

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
from onnx_trtcal.search.outputs import DISCRETE, comparable_outputs
from onnx_trtcal.search.subgraph import ExportedGraph
from onnx_trtcal.support.memory import available_memory
from onnx_trtcal.support.progress import Listener, LoggingListener

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    prepared = calibration.prepared
    _check_room(prepared)
    with (listener or LoggingListener()).progress(len(calibration.kept), "comparing") as advance:
        look = _Look(calibration, *_simulated(result, calibration))
        for count, feeds in enumerate(calibration.kept, 1):
            look.take(feeds)
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


class _Look:
    """Both models, and what was found so far.

    Args:
        calibration: of the float model.
        graph: the quantized graph.
        model: what it is exported against.
    """

    def __init__(self, calibration: Calibration, graph: gs.Graph, model: Model) -> None:
        prepared, feeding = calibration.prepared, calibration.feeding
        options = prepared.options
        made = graph.tensors()
        self._wanted = tuple(name for name in _comparable(prepared) if name in made)
        layouts = output_blocks(prepared.model, prepared.folded, self._wanted)
        self._finder, self._errors = BlockFinder(layouts), BlockErrors(layouts)
        self._rowless = _rowless(prepared)
        # Rows of a fixed batch all hold the one sample; what is fed verbatim has none that are samples.
        self._rows = None if feeding is None or feeding.verbatim else feeding.batch or 1
        self._most_bytes = options.memory_limit
        session = partial(
            Session,
            provider=choose_provider(options.provider),
            threads=options.threads,
            ort_custom_ops=options.ort_custom_ops,
        )
        self._fp32 = session(probe(prepared.folded, prepared.model, self._wanted))
        self._int8 = session(probe(graph, model, self._wanted), float_qdq=True)

    @property
    def blocks(self) -> tuple[BlockError, ...]:
        """What was found so far, the worst first."""
        found = self._errors.of(self._finder.blocks())
        return tuple(sorted(found, key=lambda each: (not each.verdict, each.sqnr, each.block.name)))

    def take(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Adds a sample; outputs that INT8 gives another size are left out."""
        fp32, int8 = self._fp32.run(feeds, _A_SAMPLE), self._int8.run(feeds, _A_SAMPLE)
        if self._most_bytes is not None and 2 * sum(array.nbytes for array in fp32) > self._most_bytes:
            raise CalibrationError("the outputs of one sample take more than --memory-limit")
        for name, expected, got in zip(self._wanted, fp32, int8, strict=True):
            if is_float(expected) and expected.shape == got.shape:
                by_row = expected.ndim and expected.shape[0] == self._rows and name not in self._rowless
                self._finder.add(name, expected, 1 if by_row else None)
                self._errors.add(name, expected, got, 1 if by_row else None)


def _comparable(prepared: Prepared) -> tuple[str, ...]:
    """The outputs, or what comes before a choice that has no distance or goes into a sequence."""
    outputs = tuple(tensor.name for tensor in prepared.folded.outputs)
    tensors = all(prepared.model.elem_types.get(name) for name in outputs)
    if tensors and not any(kind(node) in DISCRETE for node in prepared.folded.nodes):
        return outputs
    return comparable_outputs(ExportedGraph(prepared.folded, prepared.model))


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
