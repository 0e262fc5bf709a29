"""Methods: what turns a tensor's histogram into a threshold. One solver per module, pure and deterministic.

Importing this package is cheap; a solver is imported when a method is first used. The list of methods is in
`registry`.
"""

from __future__ import annotations

from onnx_trtcal.methods.method import Chosen, Method, SecondPass, parse_method
from onnx_trtcal.methods.registry import LEAST_ERROR, METHODS, NOTHING_CLIPPED, table
from onnx_trtcal.methods.solve import solve_all

__all__ = [
    "LEAST_ERROR",
    "METHODS",
    "NOTHING_CLIPPED",
    "Chosen",
    "Method",
    "SecondPass",
    "parse_method",
    "solve_all",
    "table",
]
