"""Writes factors into a graph: constants that change, and the Muls that are put in. Exact in floating point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from onnx_trtcal.graph.model.weights import Weight
from onnx_trtcal.graph.names import Names, names_in
from onnx_trtcal.graph.ops import READ_NO_VALUES
from onnx_trtcal.graph.view import kind, numpy_type
from onnx_trtcal.graph.weighted import WEIGHTED
from onnx_trtcal.improve.equalize.local_error import along_inputs
from onnx_trtcal.improve.equalize.roles import Affine, Inserted, Reader, Scaling, Shift, Writer

if TYPE_CHECKING:
    from onnx_trtcal.improve.equalize.channels import Channels

__all__ = ["fitting", "rewrite", "scaled_tensors"]

_SUFFIX = ".equalized"


def rewrite(channels: Channels, factors: np.ndarray) -> int:
    """Divides the channels of a graph's tensors by factors, in place; what the graph computes stays the same.

    Args:
        channels: the numbered channels of the graph, which is rewritten.
        factors: one per channel number, as `fitting` allows them.

    Returns:
        How many Muls were put in.
    """
    writer = _Writer(channels, factors)
    for role in (*channels.readers, *channels.makers, *channels.shifts):
        if not isinstance(role, Inserted):
            writer.change(role)
    writer.finish()
    return sum(writer.insert(role) for role in channels.makers if isinstance(role, Inserted))


def scaled_tensors(channels: Channels, factors: np.ndarray) -> tuple[str, ...]:
    """The tensors that hold other values once a graph is rewritten.

    Args:
        channels: the numbered channels of the graph.
        factors: one per channel number.
    """
    behind = {role.tensor for role in channels.makers if isinstance(role, Inserted)}
    return tuple(
        name
        for name, ids in channels.ids.items()
        # In front of a Mul a tensor is as it was.
        if ids is not None and name not in behind and (factors[ids] != 1).any()
    )


def fitting(channels: Channels, factors: np.ndarray) -> bool:
    """Whether every constant stays a finite number of its type, and none that counts becomes zero."""
    writer = _Writer(channels, factors)
    for role in (*channels.readers, *channels.makers, *channels.shifts):
        if not isinstance(role, Inserted):
            writer.change(role)
    return all(_stored_well(values, dtype) for values, dtype in writer.changed.values())


def _stored_well(values: np.ndarray, dtype: np.dtype[np.generic]) -> bool:
    with np.errstate(over="ignore", under="ignore"):
        stored = values.astype(dtype).astype(np.float64)
    # Numbers next to nothing lose digits, which is nothing beside the largest.
    allowed, faint = (2.0**-12, 1e-6) if dtype.itemsize == 2 else (2.0**-22, 1e-9)
    return bool(np.isfinite(stored).all()) and bool(
        (np.abs(stored - values) <= allowed * np.abs(values) + faint * np.abs(values).max(initial=0.0)).all()
    )


class _Writer:
    """Gathers what becomes of each constant that a node reads; `finish` puts the new ones in."""

    def __init__(self, channels: Channels, factors: np.ndarray) -> None:
        self.channels = channels
        self.graph = channels.graph
        self.factors = factors
        self.names = Names(names_in(self.graph))
        # (node, input) -> new values in float64, and the type they are stored in.
        self.changed: dict[tuple[int, int], tuple[np.ndarray, np.dtype[np.generic]]] = {}
        self.nodes: dict[int, gs.Node] = {}

    def change(self, role: Reader | Writer | Affine | Scaling | Shift) -> None:
        """Changes the constants of one role."""
        if isinstance(role, Scaling):
            self._scaling(role)
            return
        factors = self.factors[role.ids]
        if (factors == 1).all():
            return
        if isinstance(role, Reader):
            shape = self._values(role.node, role.slot).shape
            self._multiply(role.node, role.slot, along_inputs(role, shape, factors))
        elif isinstance(role, Writer):
            self._writer(role, 1 / factors)
        else:
            for at in role.at:
                self._multiply(role.node, at, 1 / factors)

    def _writer(self, role: Writer, scale: np.ndarray) -> None:
        node, op = role.node, WEIGHTED[kind(role.node)]
        shape = self._values(node, role.slot).shape
        self._multiply(node, role.slot, op.along_weight(node.attrs, role.slot, shape, scale))
        at = op.bias_input
        if at is not None and at < len(node.inputs) and node.inputs[at].name:
            # A bias may be one value for all channels; the channels are the last axis of a product's.
            self._multiply(node, at, scale)

    def _scaling(self, role: Scaling) -> None:
        factors = self.factors[role.read] / self.factors[role.ids]
        if (factors != 1).any():
            self._multiply(role.node, role.at, factors if kind(role.node) == "Mul" else 1 / factors)

    def _multiply(self, node: gs.Node, at: int, factors: np.ndarray) -> None:
        values = self._values(node, at)
        dtype = np.dtype(self.channels.around.constants.value(node.inputs[at]).dtype)  # type: ignore[union-attr]
        self.nodes[id(node)] = node
        self.changed[id(node), at] = (values * factors, dtype)

    def _values(self, node: gs.Node, at: int) -> np.ndarray:
        if (id(node), at) in self.changed:
            return self.changed[id(node), at][0]
        values = self.channels.around.constants.value(node.inputs[at])
        assert values is not None, "every role has constants with values"
        return values.astype(np.float64)

    def finish(self) -> None:
        """Gives every node constants of its own: what others read stays as it is."""
        for (node, at), (values, dtype) in self.changed.items():
            old = self.nodes[node].inputs[at].name
            name = self.names.fresh(f"{old.removesuffix(_SUFFIX)}{_SUFFIX}")
            stored = np.ascontiguousarray(values.astype(dtype)).reshape(values.shape)
            self.nodes[node].inputs[at] = Weight(name, stored)

    def insert(self, role: Inserted) -> bool:
        """Puts a Mul behind a tensor, unless its factors are all 1."""
        factors = self.factors[role.ids]
        if (factors == 1).all():
            return False
        tensor = self.graph.tensors()[role.tensor]
        dtype = numpy_type(tensor)
        scaled = gs.Variable(self.names.fresh(f"{role.tensor}{_SUFFIX}"), tensor.dtype, tensor.shape)
        constant = Weight(self.names.fresh(f"{role.tensor}.factors"), (1 / factors).astype(dtype))
        for reader in list(tensor.outputs):
            for at, each in enumerate(reader.inputs):
                if each is tensor and kind(reader) not in READ_NO_VALUES:
                    reader.inputs[at] = scaled
        producer = tensor.inputs[0]
        name = self.names.fresh(f"{producer.name}{_SUFFIX}") if producer.name else ""
        mul = gs.Node("Mul", name, inputs=[tensor, constant], outputs=[scaled])
        self.graph.nodes.insert(self.graph.nodes.index(producer) + 1, mul)
        return True
