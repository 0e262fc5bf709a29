"""The plan of a calibration: which tensors are observed, and which of them owns the scale of every other.

TensorRT looks up a scale for every tensor of the network as parsed, so every float tensor of the original
model has an owner here, even one that folding or fusing made vanish.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto
from onnx.helper import np_dtype_to_tensor_dtype

from onnx_trtcal.errors import OptionError, did_you_mean
from onnx_trtcal.graph import ops
from onnx_trtcal.graph.constants import Constants, constant_amax
from onnx_trtcal.graph.groups.group import Group, find_groups
from onnx_trtcal.graph.plan.owners import Owner, Resolver
from onnx_trtcal.graph.plan.scope import Original, count_float_tensors, read_original, shape_tensors
from onnx_trtcal.graph.propagate import ScaleRules
from onnx_trtcal.graph.view import Links, kind, link, quantized_ops

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.model.load import Model

__all__ = ["Owner", "Plan", "plan"]


@dataclass(frozen=True)
class Plan:
    """What to observe, and what it is worth.

    Attributes:
        observed: tensors that get a histogram, in topological order, graph inputs first.
        owners: whose scale each tensor takes, for every float tensor of the original and the folded model;
            graph inputs first, then in the original's topological order.
        constants: float tensors that depend on no input, and those of which only a bound is known -> their largest
            magnitude.
        skipped: other tensors that nodes make or that are graph inputs -> why they get no scale.
        ties: sets of observed tensors whose histograms count as one (Concat branches that share a scale).
        groups: the kernels found, also when every tensor is observed by itself.
        op_types: observed tensor -> op type of the node that makes it, "Input" for graph inputs.
        quantized: op types that show that the model is quantized already, sorted; empty otherwise.
        subgraph_tensors: float tensors inside If, Loop and Scan bodies, which are never observed.
        parser_names: tensors of `owners` that only NVIDIA's parser names, see `with_parser_names`.
        products: those of them that a Gemm makes before it adds its bias, which are observed -> the Gemm's output.
    """

    observed: tuple[str, ...]
    owners: Mapping[str, Owner]
    constants: Mapping[str, float]
    skipped: Mapping[str, str]
    ties: tuple[tuple[str, ...], ...]
    groups: tuple[Group, ...]
    op_types: Mapping[str, str]
    quantized: tuple[str, ...]
    subgraph_tensors: int
    parser_names: tuple[str, ...] = ()
    products: Mapping[str, str] = field(default_factory=dict)

    def without_products(self, products: Collection[str]) -> Plan:
        """The plan without some of the products of Gemms."""
        return replace(
            self,
            observed=tuple(name for name in self.observed if name not in products),
            owners={name: owner for name, owner in self.owners.items() if name not in products},
            op_types={name: op for name, op in self.op_types.items() if name not in products},
            parser_names=tuple(name for name in self.parser_names if name not in products),
            products={name: of for name, of in self.products.items() if name not in products},
        )


def plan(
    model: Model,
    graph: gs.Graph,
    vanished: Mapping[str, str],
    *,
    observe: str = "fused",
    tie_concat: bool = False,
    groups: tuple[Group, ...] | None = None,
) -> Plan:
    """Plans the calibration of a model. Linear in the number of nodes; nothing is changed.

    Args:
        model: the original model.
        graph: the graph that will run: folded, or as imported.
        vanished: tensors of the original that folding removed -> the tensor of `graph` that stands for each.
        observe: "fused" observes one tensor per kernel; "all" measures every tensor by itself, except where
            the histogram is the same anyway (ties) or TensorRT copies the scale (max pooling).
        tie_concat: give a Concat's branches and output one scale (TensorRT 6 to 7.2, DLA).
        groups: the fused groups of `graph`, when the caller has them already.
    """
    if observe not in ("fused", "all"):
        raise OptionError(
            f"observe is 'fused' or 'all', not {observe!r}", fix=did_you_mean(observe, ("fused", "all"))
        )
    links = link(graph)
    original = read_original(model)
    groups = find_groups(graph, model.shapes, links) if groups is None else groups
    names = list(dict.fromkeys((*original.names, *links.inputs, *links.producer)))
    skipped = _skipped(model, links, original, names)
    amax = constant_amax(model, [n for n in original.names if n in original.constants and n not in skipped])
    inner = {} if observe == "all" else {name: group.output for group in groups for name in group.inner}
    resolver = Resolver(ScaleRules(links, Constants(graph), inner), vanished, amax, skipped)
    if tie_concat:
        resolver.tie_concats()
    owners = {}
    for name in [name for name in names if name not in skipped]:
        owner = resolver.owner(name)
        if owner.source in skipped:
            skipped[name] = skipped[owner.source]
        elif owner.reason != "constant" and owner.source not in links.tensors:
            skipped[name] = "not in the graph that runs"
        else:
            owners[name] = owner
    sources = {owner.source for owner in owners.values() if owner.reason != "constant"}
    observed = tuple(name for name in (*links.inputs, *links.producer) if name in sources)
    return Plan(
        observed=observed,
        owners=owners,
        constants=amax,
        skipped=skipped,
        ties=resolver.ties(observed),
        groups=groups,
        op_types={name: _op_type(links, name) for name in observed},
        quantized=tuple(quantized_ops(links.nodes)),
        subgraph_tensors=count_float_tensors(graph, model.elem_types),
    )


def _op_type(links: Links, name: str) -> str:
    maker = links.maker(name)
    return "Input" if maker is None else str(maker.op)


def _skipped(model: Model, links: Links, original: Original, names: list[str]) -> dict[str, str]:
    shapes = shape_tensors(links)
    explicit = _explicit(links)
    skipped = {}
    for name in names:
        if name in original.stored:
            reason: str | None = "constant"
        else:
            reason = _type_reason(_elem_type(model, links, name))
        if reason is None and name in shapes:
            reason = "shape arithmetic"
        elif reason is None and name in explicit:
            reason = "already quantized"
        elif reason is None and _is_mask(links, name):
            reason = "mask of a Dropout"
        if reason is not None:
            skipped[name] = reason
    return skipped


def _is_mask(links: Links, name: str) -> bool:
    """Whether a tensor says what a Dropout keeps, which is a float up to opset 9, and nothing reads it."""
    maker = links.maker(name)
    return (
        maker is not None
        and maker.op == "Dropout"
        and maker.outputs[0].name != name
        and name not in links.consumers
    )


def _elem_type(model: Model, links: Links, name: str) -> int:
    if name in model.elem_types:
        return model.elem_types[name]
    dtype = links.tensors[name].dtype  # of a tensor that folding added
    if dtype is None or isinstance(dtype, int):
        return dtype or TensorProto.FLOAT
    return int(np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _type_reason(elem_type: int) -> str | None:
    """Why a tensor of this type gets no scale; None for the types that calibration measures."""
    if elem_type in ops.FLOATS:
        return None
    name = TensorProto.DataType.Name(elem_type)
    if name in ("BOOL", "STRING"):
        return name.lower()
    if "INT" in name:
        return "integer"
    return "not a tensor" if elem_type == TensorProto.UNDEFINED else name.lower()


def _explicit(links: Links) -> frozenset[str]:
    """Float tensors with a quantizer of their own: what QuantizeLinear reads and DequantizeLinear makes."""
    found: set[str] = set()
    for node in links.nodes:
        op = kind(node).removeprefix("com.microsoft:")
        if op in ("QuantizeLinear", "DynamicQuantizeLinear"):
            found.add(node.inputs[0].name)
        elif op == "DequantizeLinear":
            found.add(node.outputs[0].name)
    return frozenset(found)
