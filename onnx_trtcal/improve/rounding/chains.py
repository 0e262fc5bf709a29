"""Both graphs of a model over the same samples: the float one says what is wanted, the quantized one is settled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.fidelity.blocks import BlockErrors, BlockFinder, mean_relative
from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.graph.ops import COMMUTES
from onnx_trtcal.graph.output_blocks import output_blocks
from onnx_trtcal.graph.view import kind
from onnx_trtcal.improve.rounding.chain import Chain, Step
from onnx_trtcal.improve.rounding.tensor_files import TensorFiles
from onnx_trtcal.search.outputs import comparable_outputs
from onnx_trtcal.search.subgraph import ExportedGraph

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from onnx_trtcal.improve.rounding.layer import RoundedLayer
    from onnx_trtcal.prepared import FoldedModel
    from onnx_trtcal.qdq.write.quantize_model import Quantized
    from onnx_trtcal.search.subgraph_runner import SessionOptions

__all__ = ["Chains"]


class Chains:
    """The float graph and the quantized one, run side by side.

    Args:
        float_model: the float model, folded.
        quantized: its quantized form, in float32.
        samples: one feed per sample.
        options: as for Session.
        folder: a temporary folder.

    Attributes:
        exact: the float graph.
        int8: the quantized one.
    """

    def __init__(
        self,
        float_model: FoldedModel,
        quantized: Quantized,
        samples: Sequence[Mapping[str, np.ndarray]],
        options: SessionOptions,
        folder: Path,
    ) -> None:
        for name in ("float", "quantized"):
            (folder / name).mkdir()
        self._files = [TensorFiles(folder / "float"), TensorFiles(folder / "quantized")]
        graphs = [
            ExportedGraph(float_model.folded, float_model.model),
            ExportedGraph(quantized.graph, quantized.model),
        ]
        self.exact, self.int8 = (
            Chain(graph, samples, files, options) for graph, files in zip(graphs, self._files, strict=True)
        )
        self._outputs = [name for name in comparable_outputs(graphs[0]) if self.int8.makes(name)]
        self._layouts = output_blocks(float_model.model, float_model.folded, self._outputs)
        self._tensors = quantized.graph.tensors()
        self._values = Constants(quantized.graph)

    def close(self) -> None:
        """Removes all files."""
        for files in self._files:
            files.close()

    def sweep(self) -> None:
        """Forgets what no node of either graph will read."""
        self.exact.sweep(self._outputs)
        self.int8.sweep(self._outputs)

    def reads(self, layer: RoundedLayer) -> list[str]:
        """What a layer and its kernel read of the rest of the quantized graph, weights left out."""
        nodes = self.int8.with_free([self.int8.position(name) for name in layer.nodes])
        return [name for name in self.int8.graph.boundary(nodes) if name not in self.int8.graph.inputs]

    def ordered(self, layers: Sequence[RoundedLayer]) -> Iterator[RoundedLayer]:
        """The layers, each behind those that make what it or its kernel's residual reads."""
        by_node = {self.int8.position(layer.name): layer for layer in layers}
        done: set[int] = set()

        def visit(layer: RoundedLayer) -> Iterator[RoundedLayer]:
            pending = [layer]
            while pending:
                at = self.int8.position(pending[-1].name)
                missing = [
                    by_node[each]
                    for each in self.int8.needed(self.reads(pending[-1]))
                    if each in by_node and each not in done and each != at
                ]
                if missing and at not in done:
                    pending.append(missing[0])
                    continue
                last = pending.pop()
                if at not in done:
                    done.add(at)
                    yield last

        for layer in layers:
            yield from visit(layer)

    def integers(self, layer: RoundedLayer, samples: Sequence[int]) -> Iterator[np.ndarray] | None:
        """What a layer reads in the quantized graph, as integers; None where that is not on one grid."""
        name = self.int8.graph.nodes[self.int8.position(layer.name)].input[layer.activation_slot]
        grid = self._grid(name)
        if grid is None:
            return None
        source, scale = grid
        arrays = (self.int8.feeds(sample)[source] for sample in samples)
        return (a if a.dtype == np.int8 else np.rint(a.astype(np.float32) / scale) for a in arrays)

    def output_errors(self, samples: Sequence[int]) -> tuple[float, float]:
        """Noise over signal power, the mean over the blocks of the outputs: with the nearest integers, and now."""
        exact, int8, names = self.exact, self.int8, self._outputs
        exact.advance(names)
        int8.advance(names)
        whole = Step(int8.graph, range(len(int8.graph.nodes)), names, int8.samples[0], int8.options)
        finder = BlockFinder(self._layouts)
        before, after = BlockErrors(self._layouts), BlockErrors(self._layouts)
        for sample in samples:
            for name, nearest in zip(names, whole.run(int8.samples[sample]), strict=True):
                wanted, rounded = exact.feeds(sample)[name], int8.feeds(sample)[name]
                if wanted.dtype.kind == "f" and wanted.shape == nearest.shape == rounded.shape:
                    finder.add(name, wanted)
                    before.add(name, wanted, nearest)
                    after.add(name, wanted, rounded)
        blocks = finder.blocks()
        return mean_relative(before.of(blocks)), mean_relative(after.of(blocks))

    def _grid(self, name: str) -> tuple[str, np.float32] | None:
        """What waits in files of a tensor that a layer reads, and the scale of its integers."""
        tensor = self._tensors[name]
        while tensor.inputs:
            node = tensor.inputs[0]
            if kind(node) == "DequantizeLinear":
                scale = self._values.value(node.inputs[1])
                source = node.inputs[0].name if tensor.name == name else name
                return None if scale is None else (source, np.float32(scale))
            if kind(node) not in COMMUTES:
                return None
            tensor = node.inputs[0]
        return None
