"""What `tune` comes to: the steps, the best of them, and the files that are made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.qdq.read.precisions import layer_precisions
from onnx_trtcal.support.files import atomic_write
from onnx_trtcal.support.html import html_table
from onnx_trtcal.tuning.step import amount, figure_text

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from onnx_trtcal.options import Options
    from onnx_trtcal.qdq.options import QdqOptions
    from onnx_trtcal.quantization import Quantization
    from onnx_trtcal.tuning.options import TuneOptions
    from onnx_trtcal.tuning.score import Score
    from onnx_trtcal.tuning.step import Step

__all__ = ["Tuning", "companions"]


@dataclass(frozen=True, repr=False)
class Tuning:
    """A quantized model and how it came about. A notebook shows the steps as a table.

    Attributes:
        request: what was asked for.
        steps: everything that was tried, in order.
        best: the step that was taken.
        report: its score on the half of the test data that no step was chosen on.
        quantization: the Q/DQ model.
        stopped: why not everything was tried; empty where the target was met or all was tried.
    """

    request: TuneOptions
    steps: tuple[Step, ...]
    best: Step
    report: Score
    quantization: Quantization
    stopped: str = ""

    @property
    def found(self) -> bool:
        """Whether the target is met on the half that steps were chosen on."""
        return self.best.score.meets(self.request.max_drop)

    @property
    def met(self) -> bool:
        """Whether it is met on both halves."""
        return self.found and self.report.meets(self.request.max_drop)

    @property
    def options(self) -> Options:
        """What `quantize` repeats the result with: how to calibrate."""
        return self.best.setting.options(self.request.options)

    @property
    def qdq(self) -> QdqOptions:
        """What `quantize` repeats the result with: how to place and to round."""
        return self.best.setting.qdq(self.request.qdq)

    @property
    def layer_precisions(self) -> str:
        """What trtexec's `--layerPrecisions` takes to run in FP16 what stays in floating point here."""
        nodes = self.quantization.source.folded.folded.nodes
        inside = self._float_nodes
        wanted = {*self.best.setting.exclude, *inside}
        named = (node.name for node in nodes if node.name and not wanted.isdisjoint(_names(node)))
        return layer_precisions(dict.fromkeys(named, "fp16"))

    @property
    def _float_nodes(self) -> frozenset[str]:
        """First outputs of the layers in floating point, and of all that is fused to them."""
        left = self.quantization.quantized.placement.left
        groups = self.quantization.source.folded.groups
        fused = (node for group in groups if group.anchor in left for node in group.nodes)
        return frozenset((*left, *fused))

    @property
    def rewritten(self) -> bool:
        """Whether equalization has changed the float model, so that a cache is for the changed one."""
        equalization = self.quantization.equalization
        return equalization is not None and equalization.equalized is not None

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Writes the Q/DQ model; returns the files written.

        Raises:
            CalibrationError: when a file cannot be written.
        """
        return self.quantization.save(path)

    def write_cache(self, output: str | Path) -> tuple[Path, ...]:
        """Writes what TensorRT up to 10 takes instead of the Q/DQ model; returns the files written.

        That is the calibration cache with its sidecar, a text for `--layerPrecisions`, and the float model that they
        are for where equalization has changed it. The rounding of weights and corrected biases are in the Q/DQ model
        alone: TensorRT rounds the weights of a float model itself.

        Args:
            output: path of the Q/DQ model; the files stand beside it.

        Raises:
            CalibrationError: when a file cannot be written.
        """
        cache, precisions, float_model = companions(output)
        made = self.quantization
        calibration = made.source.calibration
        assert calibration is not None
        written: list[Path] = list(calibration.write_cache(cache))
        atomic_write(precisions, (self.layer_precisions + "\n").encode())
        written.append(precisions)
        if self.rewritten and made.equalization is not None:
            written += made.equalization.save(float_model)
        return tuple(written)

    def __repr__(self) -> str:
        drop = amount(self.report, self.report.drop)
        figure = f"{self.report.figure} {figure_text(self.report, self.report.int8)}"
        return f"<Tuning: {self.best.setting.name}: {figure}, a drop of {drop}>"

    def _repr_html_(self) -> str:
        rows = [
            (step.setting.name, figure_text(step.score, step.score.int8), step.score.drop, step.cost.share)
            for step in self.steps
        ]
        columns = ("step", self.report.figure, "drop", "share of multiply-adds in float")
        return html_table(repr(self)[1:-1], columns, rows)


def _names(node: gs.Node) -> tuple[str, ...]:
    return (node.name, *(tensor.name for tensor in node.outputs[:1]))


def companions(output: str | Path) -> tuple[Path, Path, Path]:
    """The files beside a Q/DQ model: calibration cache, layer precisions, rewritten float model."""
    path = Path(output)
    stem = path.name.removesuffix(".onnx")
    suffixes = (".calibration.cache", ".layer_precisions.txt", ".float.onnx")
    cache, precisions, float_model = (path.with_name(stem + suffix) for suffix in suffixes)
    return cache, precisions, float_model
