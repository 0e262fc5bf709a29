"""The network that NVIDIA's parser makes of a model: its float tensors, and what each is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_trtcal.errors import ModelError
from onnx_trtcal.trt.compiler.build import parse
from onnx_trtcal.trt.compiler.files import on_disk
from onnx_trtcal.trt.compiler.options import CompileOptions
from onnx_trtcal.trt.compiler.problems import find_problems

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import onnx

__all__ = ["Network", "NetworkTensor", "read_network"]

_FLOATS = ("BF16", "FLOAT", "HALF")
# Layers that give the values of their first input another shape or order.
_MOVES = frozenset({"IDENTITY", "SHUFFLE", "SQUEEZE", "UNSQUEEZE"})
_INTO_BODY = frozenset({"CONDITIONAL_INPUT", "ITERATOR", "RECURRENCE"})
_OUT_OF_BODY = frozenset({"CONDITIONAL_OUTPUT", "LOOP_OUTPUT"})


@dataclass(frozen=True)
class NetworkTensor:
    """A float tensor of a network.

    Attributes:
        name: its name, under which a cache would hold its scale.
        layer: the layer that makes it; empty for an input of the network.
        kind: that layer's kind, such as CONSTANT or SHUFFLE; INPUT without one.
        source: the float tensor whose values it holds in another shape; empty for any other.
        constant: whether it depends on no input of the network.
        inside: whether it is inside of a loop, a recurrent layer or a condition.
    """

    name: str
    layer: str
    kind: str
    source: str = ""
    constant: bool = False
    inside: bool = False


@dataclass(frozen=True)
class Network:
    """A network as it was parsed.

    Attributes:
        version: of TensorRT for RTX, whose parser made it.
        tensors: its float tensors by name, inputs first, then in the order of the layers.
    """

    version: str
    tensors: Mapping[str, NetworkTensor]

    @property
    def copies(self) -> dict[str, str]:
        """Tensors that hold the values of another one in another shape -> that one."""
        return {name: each.source for name, each in self.tensors.items() if each.source}


def read_network(model: str | Path | onnx.ModelProto, timeout: float = CompileOptions.timeout) -> Network:
    """Parses a model with the parser of TensorRT for RTX, on the CPU.

    Args:
        model: path of an ONNX file, or a model in memory.
        timeout: seconds after which the parser is stopped.

    Raises:
        CompilerMissingError: when the package `tensorrt-rtx-cu12` is not installed.
        ModelError: when the parser refuses the model.
    """
    with on_disk(model) as path:
        parsed = parse(path, timeout)
    if parsed.network is None:
        problem = find_problems(parsed)[0]
        node = f"node {problem.node!r}, " if problem.node else ""
        where = f"{node}{path.name}"
        raise ModelError(f"NVIDIA's parser refuses the model: {problem.what}", where=where, fix=problem.fix)
    return Network(parsed.version, _tensors(parsed.network))


def _tensors(network: Mapping[str, Any]) -> dict[str, NetworkTensor]:
    found = {name: NetworkTensor(name, "", "INPUT") for name, dtype in network["inputs"] if dtype in _FLOATS}
    varying = {name for name, _ in network["inputs"]}
    bodies: set[str] = set()
    for layer, kind, reads, made in network["layers"]:
        constant = kind not in _INTO_BODY and varying.isdisjoint(reads)
        inside = kind in _INTO_BODY or (kind not in _OUT_OF_BODY and not bodies.isdisjoint(reads))
        source = reads[0] if kind in _MOVES and reads[0] in found else ""
        for name, dtype in made:
            if not constant:
                varying.add(name)
            if inside:
                bodies.add(name)
            if dtype in _FLOATS:
                found[name] = NetworkTensor(name, layer, kind, source, constant, inside)
    return found
