from collections.abc import Iterator, Sequence

import onnx
from onnx_graphsurgeon.ir.node import Node
from onnx_graphsurgeon.ir.tensor import Tensor

class Graph:
    nodes: list[Node]
    inputs: list[Tensor]
    outputs: list[Tensor]
    name: str
    doc_string: str
    opset: int
    import_domains: list[onnx.OperatorSetIdProto] | None
    producer_name: str
    producer_version: str
    ir_version: int | None

    def __init__(
        self,
        nodes: Sequence[Node] | None = None,
        inputs: Sequence[Tensor] | None = None,
        outputs: Sequence[Tensor] | None = None,
        name: str | None = None,
        doc_string: str | None = None,
        opset: int | None = None,
        import_domains: Sequence[onnx.OperatorSetIdProto] | None = None,
    ) -> None: ...
    def copy(self) -> Graph: ...
    def subgraphs(self, recursive: bool = False) -> Iterator[Graph]: ...
    def tensors(self, check_duplicates: bool = False) -> dict[str, Tensor]: ...
