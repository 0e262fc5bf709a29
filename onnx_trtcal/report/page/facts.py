"""What the page says, as plain values: no graph, no model and no HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from onnx_trtcal.figures import WeightRanges
    from onnx_trtcal.report.page.measured import MeasuredBlock, MeasuredFigure
    from onnx_trtcal.stats.histogram import Histogram

__all__ = [
    "Beside",
    "Command",
    "Engine",
    "EngineKernel",
    "Flag",
    "Level",
    "Moved",
    "Number",
    "Page",
    "Precision",
    "Risk",
    "TensorFacts",
    "Threshold",
    "Verdict",
]

Level = Literal["good", "caution", "bad", "unknown"]
Precision = Literal["int8", "float", ""]


@dataclass(frozen=True)
class Command:
    """A command line, and what it is for."""

    purpose: str
    text: str


@dataclass(frozen=True)
class Risk:
    """Something to look at before an engine is built.

    Attributes:
        level: how bad it is.
        text: one sentence, with what to do.
        tensor: the key of the tensor that it is about; empty for the model as a whole.
    """

    level: Level
    text: str
    tensor: str = ""


@dataclass(frozen=True)
class Verdict:
    """Is it safe, what is at risk, what to run next.

    Attributes:
        level: the answer to the first.
        headline: the same in words.
        because: the sentence that says what this rests on.
        risks: the worst first.
        next: what to run.
    """

    level: Level
    headline: str
    because: str
    risks: tuple[Risk, ...]
    next: tuple[Command, ...]


@dataclass(frozen=True)
class Number:
    """A figure of the first screen: what it is, its value, and a remark."""

    label: str
    value: str
    remark: str = ""
    level: Level | None = None


@dataclass(frozen=True)
class Threshold:
    """A threshold of one tensor.

    Attributes:
        label: the method.
        value: the largest magnitude kept.
        clipped: share of the values beyond it.
        sqnr: what quantization by it leaves, in dB.
        chosen: whether the scale is this one's.
    """

    label: str
    value: float
    clipped: float
    sqnr: float
    chosen: bool


@dataclass(frozen=True)
class Beside:
    """What a cache beside the scales says of a tensor: its scale, and that over the own one."""

    scale: float
    ratio: float


@dataclass(frozen=True)
class Moved:
    """A tensor in the run before.

    Attributes:
        histogram: of its magnitudes.
        threshold: largest magnitude kept.
        amax: largest magnitude seen.
        ratio: the scale now over the scale then.
    """

    histogram: Histogram | None
    threshold: float
    amax: float
    ratio: float


@dataclass(frozen=True)
class Flag:
    """A word that stands beside a tensor's name, and what it means."""

    level: Level
    word: str
    meaning: str


@dataclass(frozen=True)
class TensorFacts:
    """One tensor that has a scale of its own, and all that is known of it; None or empty where nothing is.

    Attributes:
        key: what the page calls it.
        name: what the model calls it.
        op: op type of what makes it: the layer, where it is a fused group's output.
        node: name of that node.
        members: tensors that take its scale -> why.
        precision: what the layer that makes it runs in; empty where no layer does.
        why: why that is floating point.
        scale: threshold / 127.
        threshold: the largest magnitude kept.
        method: what chose it.
        amax: the largest magnitude seen.
        histogram: of its magnitudes.
        values: how many finite values were counted.
        thresholds: of every method, the smallest first.
        sqnr: dB between the tensor in FP32 and in INT8, measured end to end.
        lost: dB lost since what it is computed from.
        harm: SQNR in dB of the worst output block with the group that makes it alone in INT8.
        rank: of that group, 1 being the most damaging.
        beside: what the cache says.
        moved: what it was before.
        weights: ranges of the weights of the layer that makes it, channel by channel.
        flags: what is odd about it, the worst first.
        product: whether it is what a Gemm makes before it adds its bias.
    """

    key: str
    name: str
    op: str
    node: str = ""
    members: tuple[tuple[str, str], ...] = ()
    precision: Precision = ""
    why: str = ""
    scale: float | None = None
    threshold: float | None = None
    method: str = ""
    amax: float | None = None
    histogram: Histogram | None = None
    values: int = 0
    thresholds: tuple[Threshold, ...] = ()
    sqnr: float | None = None
    lost: float = 0.0
    harm: float | None = None
    rank: int | None = None
    beside: Beside | None = None
    moved: Moved | None = None
    weights: WeightRanges | None = None
    flags: tuple[Flag, ...] = ()
    product: bool = False

    @property
    def chosen(self) -> Threshold | None:
        """The threshold whose scale it has."""
        return next((each for each in self.thresholds if each.chosen), None)

    @property
    def kept(self) -> float | None:
        """The share of the range that is kept, threshold / amax."""
        if self.threshold is None or not self.amax:
            return None
        return self.threshold / self.amax


@dataclass(frozen=True)
class EngineKernel:
    """A kernel of the engine: its name, its kind, what it computes in, and the bytes that it moves."""

    name: str
    kind: str
    precision: str
    moved: int
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Engine:
    """What NVIDIA's compiler makes of the quantized model.

    Attributes:
        title: of which compiler, and for which GPU.
        built: whether there is an engine.
        problems: why there is none.
        numbers: kernels, bytes, layers.
        kernels: in running order.
        lost: layers with Q/DQ pairs that run in floating point -> why.
    """

    title: str
    built: bool
    problems: tuple[str, ...]
    numbers: tuple[Number, ...]
    kernels: tuple[EngineKernel, ...]
    lost: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Page:
    """All that the page says.

    Attributes:
        model: the model's file.
        subtitle: where the scales come from.
        verdict: of the first screen.
        numbers: behind it.
        files: path and bytes of what was written or read.
        commands: that build an engine.
        blocks: of the outputs.
        figures: accuracy in FP32 and in INT8.
        tensors: with a scale of their own, in graph order.
        float_layers: reason -> layers in floating point for it.
        earlier: the run before, where there is one.
        engine: what the compiler says.
        origin: label and value of where all this comes from.
        left_out: whether sensitivity quantized all but one group at a time.
        steps: label, figure and cost of what `tune` tried, and whether it was taken.
    """

    model: str
    subtitle: str
    verdict: Verdict
    numbers: tuple[Number, ...]
    files: tuple[tuple[str, str], ...]
    commands: tuple[Command, ...]
    blocks: tuple[MeasuredBlock, ...]
    figures: tuple[MeasuredFigure, ...]
    tensors: tuple[TensorFacts, ...]
    float_layers: tuple[tuple[str, tuple[str, ...]], ...]
    earlier: str
    cache: str
    engine: Engine | None
    origin: tuple[tuple[str, str], ...]
    left_out: bool
    steps: tuple[tuple[str, str, str, bool], ...] = ()
