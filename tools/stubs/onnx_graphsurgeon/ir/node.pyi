from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from onnx_graphsurgeon.ir.graph import Graph
from onnx_graphsurgeon.ir.tensor import Tensor

class Node:
    op: str
    name: str
    domain: str | None
    # An attribute is a number, a text, a list of either, a tensor or a graph: which, its operator knows.
    attrs: dict[str, Any]

    def __init__(
        self,
        op: str,
        name: str | None = None,
        attrs: Mapping[str, object] | None = None,
        inputs: Sequence[Tensor] | None = None,
        outputs: Sequence[Tensor] | None = None,
        domain: str | None = None,
    ) -> None: ...
    # Lists that keep the other side in step: what is assigned as a whole is copied into them.
    @property
    def inputs(self) -> list[Tensor]: ...
    @inputs.setter
    def inputs(self, value: Iterable[Tensor]) -> None: ...
    @property
    def outputs(self) -> list[Tensor]: ...
    @outputs.setter
    def outputs(self, value: Iterable[Tensor]) -> None: ...
    def subgraphs(self, recursive: bool = False) -> Iterator[Graph]: ...
