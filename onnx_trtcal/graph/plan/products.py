"""The products of Gemms before their bias, as nodes of the graph that runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import onnx_graphsurgeon as gs
from onnx import helper

from onnx_trtcal.graph.model.weights import Weight, WeightValues

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import SparseTensorProto, TensorProto

    from onnx_trtcal.graph.model.load import Model

__all__ = ["add_products", "typed_products"]

_NO_BIAS = 11  # the opset since which a Gemm may have none


def add_products(graph: gs.Graph, model: Model, products: Mapping[str, str]) -> gs.Graph:
    """A graph with a Gemm for each product beside the one that adds a bias to it; `graph` is not changed.

    The bias cannot be taken off again: a folded Gemm has other weights, and one that is large against the product
    would leave little of it. A Gemm's operands are never folded away.

    Args:
        graph: the graph to run: of `model`, as it is or folded.
        model: the model.
        products: name of the product -> output of the Gemm.
    """
    makers = {node.output[0]: node for node in model.proto.graph.node if node.op_type == "Gemm"}
    weights: dict[str, TensorProto | SparseTensorProto] = {
        tensor.name: tensor for tensor in model.proto.graph.initializer
    }
    weights |= {tensor.values.name: tensor for tensor in model.proto.graph.sparse_initializer}

    def operand(name: str) -> gs.Tensor:
        # Not the graph's own tensor: that would list the new node among its readers.
        known = weights.get(name)
        return gs.Variable(name) if known is None else Weight(name, WeightValues(known, model.directory))

    nodes = []
    for product, output in products.items():
        maker = makers[output]
        given = {each.name: helper.get_attribute_value(each) for each in maker.attribute}
        attributes: dict[str, Any] = {name: given[name] for name in ("transA", "transB") if name in given}
        names = list(maker.input[:2])
        if graph.opset < _NO_BIAS:
            names.append(maker.input[2])
            attributes["beta"] = 0.0
        inputs = [operand(name) for name in names]
        nodes.append(gs.Node("Gemm", product, attributes, inputs, [gs.Variable(product)]))
    return gs.Graph(
        nodes=[*graph.nodes, *nodes],
        inputs=list(graph.inputs),
        outputs=list(graph.outputs),
        name=graph.name,
        opset=graph.opset,
        import_domains=graph.import_domains,
    )


def typed_products(model: Model, products: Mapping[str, str]) -> Model:
    """The model with the types and shapes of products, which are those of the Gemms' outputs."""
    return replace(
        model,
        elem_types={**model.elem_types, **{new: model.elem_types.get(of, 0) for new, of in products.items()}},
        shapes={**model.shapes, **{new: model.shapes.get(of) for new, of in products.items()}},
    )
