"""A model made ready: loaded, folded, grouped, planned, and with a method for every tensor. Resolved once.

Everything behind this asks the values below; nothing imports the graph, folds it, looks for groups or assigns
methods again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.fold.affine_nodes import FoldReport, fold
from onnx_trtcal.graph.groups.fuse import Group, find_groups
from onnx_trtcal.graph.model.spill import spill
from onnx_trtcal.graph.model.surgeon import import_graph
from onnx_trtcal.graph.ops import QUANTIZED
from onnx_trtcal.graph.view import kind
from onnx_trtcal.methods.assign import assign_methods

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.graph.plan.plan import Plan
    from onnx_trtcal.methods import Method
    from onnx_trtcal.options import Options

__all__ = ["FoldedModel", "Prepared", "check_not_quantized", "fold_model", "quantized_ops"]


@dataclass(frozen=True)
class FoldedModel:
    """A model, its graph with BatchNorm folded, and what TensorRT fuses in that graph.

    Attributes:
        model: the model as it was loaded; never changed.
        folded: the graph with BatchNorm folded.
        folds: what was folded and what was left, with reasons.
        groups: the fused groups of `folded`.
    """

    model: Model
    folded: gs.Graph
    folds: FoldReport
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Prepared(FoldedModel):
    """A folded model with all that is decided before any data is read.

    Attributes:
        observed: the graph that runs: the folded one, or the original under `observe="all"`.
        plan: which tensors are measured, and which of them owns the scale of every other.
        options: the options that this was prepared under.
        methods: per observed tensor, what solves it.
    """

    observed: gs.Graph
    plan: Plan
    options: Options
    methods: Mapping[str, Method]

    @property
    def ties(self) -> tuple[tuple[str, ...], ...]:
        """Sets of observed tensors that share a scale, and therefore a histogram."""
        return self.plan.merged

    def with_options(self, options: Options) -> Prepared:
        """The same plan with the methods of other options.

        Raises:
            OptionError: when a method does not exist or a `method_for` pattern matches no tensor.
            ValueError: when the plan would be another one under these options.
        """
        for name in ("observe", "tie_concat"):
            if getattr(options, name) != getattr(self.options, name):
                raise ValueError(f"the plan depends on {name}: prepare the model again")
        return replace(self, options=options, methods=assign_methods(options, self.plan.op_types))


def fold_model(model: Model) -> FoldedModel:
    """Folds a loaded model and finds its fused groups; `model` itself stays as it is.

    Large weights that folding makes are kept in a temporary file, see `spill`.
    """
    graph = import_graph(model)
    folds = fold(graph)
    spill(graph, model)
    return FoldedModel(model, graph, folds, find_groups(graph, model.shapes))


def quantized_ops(graph: gs.Graph) -> list[str]:
    """The op types in a graph that show that it is quantized already, sorted."""
    return sorted({kind(node) for node in graph.nodes} & QUANTIZED)


def check_not_quantized(found: Sequence[str], model: Model, options: Options) -> None:
    """Refuses a model that is already quantized, unless the options allow it.

    Args:
        found: op types that show it.
        model: the model, for its path.
        options: `allow_quantized`.

    Raises:
        ModelError: naming the op types.
    """
    if found and not options.allow_quantized:
        raise ModelError(
            f"the model is quantized already: it holds {', '.join(found)}",
            where=str(model.path or "the model in memory"),
            fix="build it as it is (TensorRT takes its scales from the Q/DQ nodes), convert it back with "
            "onnx-trtcal dequantize, or calibrate what is still float with --allow-quantized",
        )
