"""A model made ready: loaded, folded, grouped, planned, and with a method for every tensor. Resolved once.

Everything behind this asks the values below; nothing imports the graph, folds it, looks for groups or assigns
methods again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnx_trtcal.errors import ModelError, OptionError, listed
from onnx_trtcal.graph.fold.fold import FoldReport, fold
from onnx_trtcal.graph.groups.group import Group, find_groups
from onnx_trtcal.graph.model.functions import count_function_calls
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import Model, load
from onnx_trtcal.graph.model.reach import layers_behind, reads_of
from onnx_trtcal.graph.model.runnable import Runnable, find_runnable, runnable_up_to
from onnx_trtcal.graph.model.spill import spill
from onnx_trtcal.graph.ops import FLOATS
from onnx_trtcal.graph.plan.parser_names import with_helpers, with_parser_names
from onnx_trtcal.graph.plan.plan import Plan, plan
from onnx_trtcal.graph.plan.products import add_products, typed_products
from onnx_trtcal.methods.assign import assign_methods
from onnx_trtcal.support.printable import shell_word
from onnx_trtcal.support.progress import Listener, LoggingListener
from onnx_trtcal.support.wording import many
from onnx_trtcal.trt.cache import check_name
from onnx_trtcal.trt.compiler.network import read_network
from onnx_trtcal.trt.version import parse_version

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    import onnx
    import onnx_graphsurgeon as gs

    from onnx_trtcal.methods import Method
    from onnx_trtcal.options import Options, ParserNames

_MOST_NAMES = 10
_NAMED_SINCE = 10  # TensorRT; up to 8.6 what the model does not name is (Unnamed Layer* N) in every cache

__all__ = ["FoldedModel", "Prepared", "check_not_quantized", "fold_model", "prepare"]


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

    `model` and `folded` are what runs: the part of the original in front of nodes that ONNX Runtime has no kernel
    for, or in front of `--until`, and in float32 where it has none for the original's type.

    Attributes:
        original: the model as it was loaded; `model` itself where all of it runs as it is.
        stops: first outputs of the nodes that ONNX Runtime has no kernel for.
        observed: the graph that runs: the folded one, or the original under `observe="all"`.
        plan: which tensors are measured, and which of them owns the scale of every other.
        options: the options that this was prepared under.
        methods: per observed tensor, what solves it.
    """

    original: Model
    stops: tuple[str, ...]
    observed: gs.Graph
    plan: Plan
    options: Options
    methods: Mapping[str, Method]

    @property
    def ties(self) -> tuple[tuple[str, ...], ...]:
        """Sets of observed tensors that share a scale, and therefore a histogram."""
        return self.plan.ties

    def whole(self) -> FoldedModel:
        """The original, folded: as all of it is written, whatever part of it runs."""
        return self if self.original is self.model else fold_model(self.original)

    def without_products(self, products: Collection[str]) -> Prepared:
        """The same with some of the products of Gemms neither observed nor named."""
        planned = self.plan.without_products(products)
        return replace(
            self, plan=planned, methods=assign_methods(self.options, planned.op_types, planned.ties)
        )

    def with_options(self, options: Options) -> Prepared:
        """The same plan with the methods of other options.

        Raises:
            OptionError: when a method does not exist or a `method_for` pattern matches no tensor.
            ValueError: when the plan would be another one under these options.
        """
        for name in ("observe", "tie_concat", "until"):
            if getattr(options, name) != getattr(self.options, name):
                raise ValueError(f"the plan depends on {name}: prepare the model again")
        if _names_for_parser(options) != _names_for_parser(self.options):
            raise ValueError("the plan depends on parser_names and on trt_version: prepare the model again")
        return replace(
            self, options=options, methods=assign_methods(options, self.plan.op_types, self.plan.ties)
        )


def prepare(
    model: str | Path | onnx.ModelProto | Model,
    options: Options,
    listener: Listener | None = None,
    *,
    stops: Sequence[str] | None = None,
) -> Prepared:
    """Loads and rewrites a model and plans what to measure; reads no data.

    Args:
        model: path of an ONNX file, a model in memory, or one that is loaded already.
        options: how to calibrate.
        listener: receives what is said of the model.
        stops: first outputs of the nodes that ONNX Runtime has no kernel for, where that is known; None to ask
            ONNX Runtime, which then loads the model.

    Raises:
        ModelError: when the model cannot be loaded, is quantized already, or has nothing to measure.
        OptionError: when the options contradict each other on this model, a method does not exist or a
            `method_for` pattern matches no tensor.
        CompilerMissingError: when `parser_names` is "all" and NVIDIA's parser is not installed.
    """
    listener = listener or LoggingListener()
    original = load(model, options.ort_custom_ops)
    if stops is None:
        gpu = options.provider != "cpu"
        runnable = find_runnable(original, options.until, options.ort_custom_ops, gpu=gpu)
    else:
        runnable = runnable_up_to(original, options.until, stops)
    folded = fold_model(runnable.model)
    everything = options.observe == "all"
    observed = import_graph(folded.model) if everything else folded.folded
    planned = plan(
        folded.model,
        observed,
        {} if everything else folded.folds.vanished,
        observe=options.observe,
        tie_concat=options.tie_concat,
        groups=None if everything else folded.groups,
    )
    skipped = {**planned.skipped, **runnable.beyond}
    planned = replace(
        planned, skipped={name: why for name, why in skipped.items() if name not in planned.owners}
    )
    _check_plan(planned, folded.model, options)
    ran = folded.model
    if (names := _names_for_parser(options)) != "off":
        planned = with_parser_names(planned, ran)
    if names == "all":
        planned = with_helpers(planned, read_network(original.path or original.proto).copies)
    if planned.products:
        observed, ran = add_products(observed, ran, planned.products), typed_products(ran, planned.products)
    listener.say(_prepared_line(folded.folds, planned))
    for node, reason in folded.folds.left:
        listener.say(f"BatchNorm {node!r} is not folded: {reason}")
    _say_functions(original, listener)
    _say_what_runs(runnable, original, options, listener)
    return Prepared(
        model=ran,
        folded=folded.folded,
        folds=folded.folds,
        groups=folded.groups,
        original=ran if original is folded.model else original,
        stops=tuple(runnable.stops),
        observed=observed,
        plan=planned,
        options=options,
        methods=assign_methods(options, planned.op_types, planned.ties),
    )


def fold_model(model: Model) -> FoldedModel:
    """Folds a loaded model and finds its fused groups; `model` itself stays as it is.

    Large weights that folding makes are kept in a temporary file, see `spill`.
    """
    graph = import_graph(model)
    folds = fold(graph)
    spill(graph, model)
    return FoldedModel(model, graph, folds, find_groups(graph, model.shapes))


def _names_for_parser(options: Options) -> ParserNames:
    """Which names of NVIDIA's parser the cache is to hold: none for a version that does not use them."""
    return options.parser_names if parse_version(options.trt_version).major >= _NAMED_SINCE else "off"


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


def _check_plan(plan: Plan, model: Model, options: Options) -> None:
    where = str(model.path or "the model in memory")
    for name in plan.owners:
        check_name(name, where)
    check_not_quantized(plan.quantized, model, options)
    if plan.ties and options.range == "tensorrt":
        raise OptionError(
            "--tie-concat adds up histograms, and those of --range tensorrt do not line up",
            fix="use --range stable, whose histograms add up exactly",
        )
    if not plan.observed and plan.quantized:
        raise ModelError(
            "nothing in the model is float any more: its Q/DQ nodes hold every scale",
            where=where,
            fix="build it as it is; there is nothing left to calibrate",
        )
    if not plan.observed:
        raise ModelError(
            "the model has no float tensor that could get a scale"
            + (" outside its If, Loop and Scan bodies" if plan.subgraph_tensors else ""),
            where=where,
            fix="INT8 calibration is for models with float activations; check that this is the right file",
        )


def _say_functions(model: Model, listener: Listener) -> None:
    if model.inlined:
        listener.say(
            f"{many(model.inlined, 'call')} of functions that the model defines inlined: scales of the tensors "
            "inside are under the names of the inlined model, which quantize writes; TensorRT's parser has names "
            "of its own for them"
        )
    calls = count_function_calls(model.proto)
    if calls:
        listener.warn(
            f"{many(calls, 'node')} of the model call functions that are for another opset and cannot be "
            "converted: the tensors inside get no scale"
        )


def _say_what_runs(runnable: Runnable, whole: Model, options: Options, listener: Listener) -> None:
    """Says what was converted, where the observed graph ends, and what gets no scale for that."""
    if runnable.converted:
        listener.say(runnable.converted)
    floats = [name for name in runnable.beyond if whole.elem_types.get(name) in FLOATS]
    names = f"{many(len(floats), 'float tensor')} beyond {'gets' if len(floats) == 1 else 'get'} no scale" + (
        f": {listed(floats, _MOST_NAMES)}" if floats else ""
    )
    if options.until:
        listener.say(
            f"the observed graph ends at {listed(options.until, _MOST_NAMES)}, as --until says; {names}"
        )
    if not runnable.stops or options.until:
        return
    nodes = listed(list(runnable.stops.values()), _MOST_NAMES)
    text = f"ONNX Runtime has no kernel for {nodes}: everything before is calibrated; {names}"
    layers = layers_behind(whole.proto, runnable.beyond)
    if not layers:
        listener.say(text)
        return
    before = reads_of(whole.proto, runnable.stops) & set(runnable.model.outputs)
    cut = " ".join(f"--until {shell_word(name)}" for name in sorted(before)[:_MOST_NAMES])
    listener.warn(
        f"{text}. So {many(len(layers), 'layer')} behind {'stays' if len(layers) == 1 else 'stay'} in floating "
        f"point ({listed(layers, _MOST_NAMES)}). Two ways on: give ONNX Runtime the kernel, in a library of custom "
        f"operators, with --ort-custom-ops LIB; or cut the graph there on purpose with {cut or '--until TENSOR'}"
    )


def _prepared_line(folds: FoldReport, plan: Plan) -> str:
    normalizations = sum(item.op == "BatchNormalization" for item in folds.folded)
    others = len(folds.folded) - normalizations
    parts = [f"{normalizations} BatchNorm folded"]
    if others:
        parts.append(f"{others} per-channel Add, Sub, Mul or Div folded")
    if folds.left:
        parts.append(f"{len(folds.left)} BatchNorm left")
    return (
        f"{', '.join(parts)}; {many(len(plan.groups), 'fused group')}; "
        f"{many(len(plan.observed), 'tensor')} to observe for {many(len(plan.owners), 'scale')}"
    )
