"""The error in each block of a model's outputs, for one quantized model or for many variants of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.evaluation.interfaces import tensor_outputs
from onnx_trtcal.evaluation.per_sample import is_float, rows_of
from onnx_trtcal.fidelity.blocks import BlockErrors, BlockFinder
from onnx_trtcal.fidelity.row_sets import paired_rows
from onnx_trtcal.graph.ops import FLOATS
from onnx_trtcal.graph.output_blocks import OutputBlocks, output_blocks
from onnx_trtcal.graph.picked_rows import picked_rows
from onnx_trtcal.graph.view import link

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    import onnx_graphsurgeon as gs

    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.fidelity.blocks import BlockError
    from onnx_trtcal.graph.data_dependent import DataDependent
    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.graph.view import Links

__all__ = ["OutputErrors", "compared_tensors"]


class OutputErrors:
    """Compares outputs block by block, see `fidelity.blocks`.

    Outputs whose number of rows depends on values, and those that list what a TopK or an NMS has picked, are compared
    as sets of rows. Of a model whose outputs are all chosen, such as class numbers, what they are chosen from is
    compared.

    Args:
        model: the float model.
        graph: its graph, or one that was made from it, as by folding.
        counted: the outputs whose size depends on values.

    Attributes:
        compared: the tensors that are compared: the float outputs, or what the others are chosen from.
        listed: the outputs that are compared as sets of rows.
        resized: the outputs of which a variant changed the size for some sample.
    """

    def __init__(self, model: Model, graph: gs.Graph, counted: DataDependent) -> None:
        links = link(graph)
        self.compared = compared_tensors(model, links)
        rows = {name: _row_axis(model, name) for name in counted.tensors}
        self._row_axes = {**picked_rows(model, links), **rows}
        self.listed = frozenset(self._row_axes)
        # Rows come and go: along an axis that counts them, or may do, nothing stays.
        one = OutputBlocks(whole=True)
        self._layouts = {
            name: one if name in self.listed and layout.axis is None else layout
            for name, layout in output_blocks(model, graph, self.compared).items()
        }
        self._counted = counted
        self.resized: set[str] = set()
        self.start(())

    def start(self, variants: Iterable[str]) -> None:
        """Begins with some variants of the quantized model, forgetting all that was added."""
        self.resized.clear()
        self._finder = BlockFinder(self._layouts)
        self._errors = {name: BlockErrors(self._layouts) for name in variants}

    def expect(self, batch: Batch, fp32: Mapping[str, np.ndarray]) -> None:
        """Adds what the float model makes of a batch: tensor -> values, of which those in `compared` count."""
        for name in self.compared:
            array = fp32.get(name)
            if array is not None and is_float(array):
                rows = rows_of(array, batch, rowless=name in self._counted.rowless)
                self._finder.add(name, array, rows)

    def compare(
        self,
        variant: str,
        batch: Batch,
        fp32: Mapping[str, np.ndarray],
        int8: Mapping[str, np.ndarray],
    ) -> None:
        """Adds what the float model and a variant make of a batch."""
        errors = self._errors[variant]
        for name in self.compared:
            expected, got = fp32.get(name), int8.get(name)
            if expected is None or got is None or not is_float(expected):
                continue
            rows = rows_of(expected, batch, rowless=name in self._counted.rowless)
            if expected.shape == got.shape and name not in self.listed:
                errors.add(name, expected, got, rows)
                continue
            if expected.shape != got.shape:
                self.resized.add(name)
            self._add_sets(errors, name, (expected, got), rows)

    def of(self, variant: str) -> tuple[BlockError, ...]:
        """The error in each block of the float outputs."""
        return self._errors[variant].of(self._finder.blocks())

    def _add_sets(
        self, errors: BlockErrors, name: str, both: tuple[np.ndarray, np.ndarray], rows: int | None
    ) -> None:
        expected, got = both
        axis = self._row_axes.get(name, 0)
        if expected.ndim == got.ndim:
            changed = (at for at in range(expected.ndim) if expected.shape[at] != got.shape[at])
            axis = next(changed, axis)
        by_row = rows is not None and axis > 0 and len(got) == len(expected)
        for sample in range(rows or 0) if by_row else (...,):
            one, other = expected[sample], got[sample]
            pair = None
            if one.ndim == other.ndim and one.ndim > 0:
                pair = paired_rows(one, other, axis - 1 if by_row else axis)
            if pair is None:
                # Nothing tells which values belong together: all of them are lost.
                pair = (one, one * 0)
            shaped = tuple(each[None] for each in pair) if by_row else pair
            errors.add(name, shaped[0], shaped[1], 1 if by_row else None)


def compared_tensors(model: Model, links: Links) -> tuple[str, ...]:
    """The float outputs of a model; where it has none, the float tensors that its outputs are chosen from.

    Args:
        model: for the types of its tensors.
        links: its graph, or one that was made from it.
    """
    outputs = tensor_outputs(model)
    floats = tuple(name for name in outputs if model.elem_types.get(name, 0) in (0, *FLOATS))
    return floats or tuple(
        dict.fromkeys(source for name in outputs if (source := _source(model, links, name)))
    )


def _source(model: Model, links: Links, name: str) -> str:
    """The nearest float tensor up the first inputs, as ArgMax, Cast and NonMaxSuppression have it; empty for none."""
    node = links.maker(name)
    while node is not None and node.inputs and model.elem_types.get(name, 0) not in FLOATS:
        name = node.inputs[0].name
        node = links.maker(name)
    return name if node is not None and model.elem_types.get(name, 0) in FLOATS else ""


def _row_axis(model: Model, name: str) -> int:
    """The first axis of a tensor whose length is neither a number nor an axis of the model's inputs."""
    named = {dim for spec in model.inputs for dim in spec.shape}
    shape = model.shapes.get(name) or ()
    return next((at for at, dim in enumerate(shape) if not isinstance(dim, int) and dim not in named), 0)
