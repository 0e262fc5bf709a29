"""The commands of the page: what builds an engine, and what tells more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.data.remote import shown_path
from onnx_trtcal.report.command_text import data_flags
from onnx_trtcal.report.page.facts import Command
from onnx_trtcal.support.printable import shell_command
from onnx_trtcal.trt.trtexec import dynamic_shapes, explicit_line, trtexec_line
from onnx_trtcal.trt.version import parse_version

if TYPE_CHECKING:
    from onnx_trtcal.report.page.material import Material

__all__ = ["Commands"]

_DATA = "DATA"  # stands for what nobody has named
_OLDER = (10, 0)


class Commands:
    """The commands for one material, with its paths in them."""

    def __init__(self, material: Material) -> None:
        self._material = material
        paths = material.paths
        self._model = paths.model
        self._stem = Path(paths.model).stem
        feeding = data_flags(material.options) if material.options else []
        self._data = [*map(shown_path, paths.data), *feeding] if paths.data else [_DATA]
        self._cache = paths.cache or f"{self._stem}.calibration.cache"
        self._qdq = paths.qdq or f"{self._stem}.int8.onnx"

    def build(self) -> tuple[Command, ...]:
        """What makes an engine of the scales, from the files at hand or after the commands that write them."""
        material, paths = self._material, self._material.paths
        shapes = dynamic_shapes(material.source.model.inputs, material.source.seen_shapes)
        found = []
        if not paths.cache and not paths.qdq:
            if paths.stats:
                words = ["onnx-trtcal", "solve", paths.stats, self._model, "-o", self._cache]
            else:
                words = ["onnx-trtcal", "calibrate", self._model, *self._data, "-o", self._cache]
            found.append(Command("write the calibration cache", shell_command(words)))
        if paths.cache or not paths.qdq:
            line = trtexec_line(self._model, self._cache, self._version, shapes)
            found.append(Command(f"TensorRT {self._version_text}, from the cache", line))
        if not paths.qdq:
            words = ["onnx-trtcal", "quantize", self._model, self._cache, "-o", self._qdq]
            found.append(
                Command("TensorRT 11 reads no cache: put the scales into the model", shell_command(words))
            )
        float32 = material.qdq.high_precision == "fp32"
        found.append(
            Command("TensorRT 11, from the Q/DQ model", explicit_line(self._qdq, 11, shapes, float32=float32))
        )
        if paths.qdq:
            found.append(
                Command(
                    "TensorRT 10, from the Q/DQ model", explicit_line(self._qdq, 10, shapes, float32=float32)
                )
            )
        return tuple(found)

    @property
    def _version(self) -> tuple[int, int]:
        calibration = self._material.source.calibration
        if calibration is None:
            return _OLDER
        version = parse_version(calibration.options.trt_version)
        return version.major, version.minor

    @property
    def _version_text(self) -> str:
        return ".".join(map(str, self._version)) if self._material.source.calibration else "up to 10"

    def evaluate(self) -> Command:
        """What compares INT8 with FP32 on data."""
        words = ["onnx-trtcal", "evaluate", self._model, *self._data, *(self._source() or self._quantized())]
        return Command("compare INT8 with FP32 on data", shell_command([*words, "--report", "report.html"]))

    def sensitivity(self) -> Command:
        """What ranks the layers."""
        words = ["onnx-trtcal", "sensitivity", self._model, *self._data, *self._source()]
        return Command("find the layers that cost most", shell_command([*words, "--report", "report.html"]))

    def auto(self) -> Command:
        """What calibrates by the outputs rather than by histograms."""
        words = ["onnx-trtcal", "quantize", self._model, *self._data, "--method", "auto", "-o", self._qdq]
        return Command("choose thresholds by what they do to the outputs", shell_command(words))

    def tune(self) -> Command:
        """What tries everything."""
        words = ["onnx-trtcal", "tune", self._model, *self._data, "--eval", "TEST_DATA"]
        return Command("let tune find the cheapest INT8 that is good enough", shell_command(words))

    def exclude(self, patterns: tuple[str, ...]) -> Command:
        """What keeps the worst groups in floating point."""
        scales = self._material.paths.cache or self._material.paths.stats
        flags = [word for pattern in patterns for word in ("--exclude", pattern)]
        words = ["onnx-trtcal", "quantize", self._model, *([scales] if scales else self._data), *flags]
        return Command("keep the worst groups in floating point", shell_command([*words, "-o", self._qdq]))

    def calibrate_with(self, flags: str) -> Command:
        """What solves again, with flags that are quoted already, into a cache beside the one at hand."""
        paths, output = self._material.paths, f"{self._stem}.less_clipped.cache"
        if paths.stats:
            words = ["onnx-trtcal", "solve", paths.stats, self._model, "-o", output]
        else:
            words = ["onnx-trtcal", "calibrate", self._model, *self._data, "-o", output]
        return Command("clip those tensors less", f"{shell_command(words)} {flags}")

    def complete(self) -> Command:
        """What fills the gaps of a cache."""
        words = [
            "onnx-trtcal",
            "check",
            self._model,
            self._cache,
            "--write-completed",
            f"{self._stem}.completed.cache",
        ]
        return Command("fill the gaps that can be filled", shell_command(words))

    def _source(self) -> list[str]:
        paths = self._material.paths
        if paths.cache:
            return ["--cache", paths.cache]
        return ["--stats", paths.stats] if paths.stats else []

    def _quantized(self) -> list[str]:
        return ["--qdq", self._material.paths.qdq] if self._material.paths.qdq else []
