"""The kernels of an engine, read off the builder's verbose log.

With detailed profiling verbosity the builder's log ends with one line per kernel:

    Name: Conv_0_myl0_1, LayerType: correlation, Inputs: [ { Name: …, Dimensions: [1,8,4,4], …, Datatype: Int8, … }],
    Constants: [ … ], Outputs: [ … ], TacticName: …, StreamId: 0, Metadata: [ONNX Layer: Conv_0][ONNX Layer: Relu_1]
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from onnx_trtcal.errors import CalibrationError

__all__ = ["FLOATS", "Kernel", "Operand", "parse_kernels"]

FLOATS = frozenset({"Float", "Half", "BFloat16", "Double"})
_BYTES = {"Double": 8, "Float": 4, "Int32": 4, "Int64": 8, "Half": 2, "BFloat16": 2, "Int4": 0.5, "FP4": 0.5}
# Entries of the list that move no values: events between streams, jumps, and shapes computed on the host.
_CONTROL = frozenset({"signal", "wait", "jmp", "cjmp", "no_op", "shape_call"})

_KERNEL = re.compile(
    r"Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: \[(?P<inputs>.*?)\], "
    r"Constants: \[(?P<constants>.*?)\], Outputs: \[(?P<outputs>.*?)\], "
    r"TacticName: (?P<tactic>.*?), StreamId: \d+(?:, \w+: [^,]*)*?, Metadata: ?(?P<nodes>.*)"
)
_OPERAND = re.compile(r"\{ Name: (.*?), Dimensions: \[([-\d,]*)\], .*?Datatype: (\w+)")
_SUFFIX = re.compile(r"_myl\d+_\d+$")
_NODE = "[ONNX Layer: "
_BETWEEN_NODES = re.compile(r"\]\x1f?\[ONNX Layer: ")


@dataclass(frozen=True)
class Operand:
    """A tensor that a kernel reads or writes.

    Attributes:
        name: the compiler's name, which is the model's only at the network's inputs and outputs.
        dims: its dimensions as this kernel sees them.
        dtype: its type in the compiler's words: Float, Half, Int8, FP8, …
    """

    name: str
    dims: tuple[int, ...]
    dtype: str

    @property
    def volume(self) -> int:
        """Number of elements."""
        return math.prod(self.dims)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return math.ceil(self.volume * _BYTES.get(self.dtype, 1))


@dataclass(frozen=True)
class Kernel:
    """One kernel of an engine.

    Attributes:
        name: its name: that of the ONNX node for a library kernel, of its steps (`__myl_MulAddRelu`) for a
            generated one, without the number that the compiler appends.
        kind: the log's LayerType: correlation, gemm, deconv, maxpool, kgen, runtime_fusion, …
        inputs: what it reads.
        constants: weights and other constants it reads.
        outputs: what it writes.
        tactic: name of its tactic.
        nodes: names of the ONNX nodes it was made from; `node_of_<output>` for one without a name.
    """

    name: str
    kind: str
    inputs: tuple[Operand, ...]
    constants: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    tactic: str
    nodes: tuple[str, ...]

    @property
    def runs(self) -> bool:
        """Whether it runs on the GPU, and is not an event, a jump or a shape computed on the host."""
        return self.kind not in _CONTROL


def parse_kernels(log: str) -> tuple[Kernel, ...]:
    """The kernels that a verbose log lists, in the order of the engine.

    Raises:
        CalibrationError: when a kernel's line reads unlike those of the versions this was written for.
    """
    lines = (line for line in log.split("\n") if line.startswith("Name: ") and ", LayerType: " in line)
    return tuple(_kernel(line) for line in lines)


def _kernel(line: str) -> Kernel:
    match = _KERNEL.fullmatch(line.rstrip())
    if match is None or len(_OPERAND.findall(line)) != line.count(", Datatype: "):
        raise CalibrationError(
            f"the compiler's log has a kernel line of an unknown form: {line[:200]}",
            fix="install the version that this was written for: pip install 'tensorrt-rtx-cu12==1.7.*'",
        )
    return Kernel(
        name=_SUFFIX.sub("", match["name"]),
        kind=match["kind"],
        inputs=_operands(match["inputs"]),
        constants=_operands(match["constants"]),
        outputs=_operands(match["outputs"]),
        tactic=match["tactic"],
        nodes=_nodes(match["nodes"]),
    )


def _operands(text: str) -> tuple[Operand, ...]:
    return tuple(
        Operand(name, tuple(int(size) for size in dims.split(",") if size), dtype)
        for name, dims, dtype in _OPERAND.findall(text)
    )


def _nodes(text: str) -> tuple[str, ...]:
    if not text.startswith(_NODE):
        return ()
    # A node inside an If, Loop or Scan stands before those around it: "conv | out (then_branch) | if_0 (If)".
    names = _BETWEEN_NODES.split(text.removeprefix(_NODE).removesuffix("]"))
    return tuple(dict.fromkeys(name.split(" | ")[0] if name.endswith(")") else name for name in names))
