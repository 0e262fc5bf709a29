from collections.abc import Mapping

import onnx
from onnx_graphsurgeon.ir.node import Node
from onnx_graphsurgeon.ir.tensor import ElementType

def dtype_to_onnx(dtype: ElementType) -> int: ...

class OnnxExporter:
    @staticmethod
    def export_attributes(attrs: Mapping[str, object]) -> list[onnx.AttributeProto]: ...
    @staticmethod
    def export_node(node: Node) -> onnx.NodeProto: ...
