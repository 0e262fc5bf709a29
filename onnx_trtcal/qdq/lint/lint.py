"""lint_model(): checks a Q/DQ model against TensorRT's rules, without TensorRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.errors import ModelError
from onnx_trtcal.qdq.lint.parser_rules import parser_findings
from onnx_trtcal.qdq.lint.placement_advice import placement_findings

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.qdq.lint.finding import Finding, ParserRule

__all__ = ["lint_model"]

# Without scales that fit their weights there is no float model, and so no placement to give advice on.
_UNREADABLE: tuple[ParserRule, ...] = ("axis", "scale-missing", "sizes")


def lint_model(model: str | Path | onnx.ModelProto) -> tuple[Finding, ...]:
    """All findings, errors first, each level in graph order; none means that nothing is wrong.

    The model is not run, so that a model that no runtime loads can be checked, too.

    Args:
        model: path of an ONNX file, or a model in memory.

    Raises:
        ModelError: the file cannot be read, or holds no Q/DQ node and no quantized operator.
    """
    from onnx_trtcal.graph.model.importer import import_graph

    light = _light(model)
    graph = import_graph(light)
    found = parser_findings(graph)
    if not found.quantized_nodes:
        raise ModelError(
            "the model has no Q/DQ nodes: there is nothing to check",
            where=str(light.path or ""),
            fix="give a quantized model; `onnx-trtcal quantize` makes one",
        )
    if any(finding.rule in _UNREADABLE for finding in found.findings):
        return found.findings
    return (*found.findings, *placement_findings(import_graph(light), light.shapes))


def _light(model: str | Path | onnx.ModelProto) -> Model:
    """The model as graph import needs it, without asking a runtime whether it loads."""
    from onnx_trtcal.graph.model.functions import inline_functions
    from onnx_trtcal.graph.model.inference import infer_types
    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.graph.model.read import read_model

    source = read_model(model)
    proto = inline_functions(source.proto)
    types = infer_types(proto)
    return Model(
        path=source.path,
        proto=proto,
        directory=source.directory,
        sha256="",
        inputs=(),
        outputs=tuple(value.name for value in proto.graph.output),
        elem_types=types.elem_types,
        shapes=types.shapes,
    )
