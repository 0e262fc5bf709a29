"""What a calibration run leaves behind, and the files it can be written to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.counting.convergence import settled_line
from onnx_trtcal.errors import OptionError, did_you_mean
from onnx_trtcal.provenance import Provenance, equalization_of, provenance_options, sidecar_bytes
from onnx_trtcal.scales import named_tensors, unseen_text
from onnx_trtcal.support.files import atomic_write
from onnx_trtcal.support.html import NOTEBOOK_ROWS, Markup, html_table
from onnx_trtcal.support.wording import many
from onnx_trtcal.trt.cache import Cache, header_for
from onnx_trtcal.trt.tables import render, table_paths

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from onnx_trtcal.counting.convergence import Movement
    from onnx_trtcal.data.layout import Feeding
    from onnx_trtcal.data.seen_shapes import SeenShapes
    from onnx_trtcal.figures.figure import Figure
    from onnx_trtcal.options import Options
    from onnx_trtcal.prepared import Prepared
    from onnx_trtcal.scales import Scale
    from onnx_trtcal.stats.collection import Collection
    from onnx_trtcal.stats.histogram import Histogram
    from onnx_trtcal.trt.tables import TableFormat

__all__ = ["Calibration"]

_LEAST_WIDTH, _MOST_WIDTH = 320, 8192  # of a figure


@dataclass(frozen=True, repr=False)
class Calibration:
    """The scales of a model, with everything they came from. A notebook shows them as a table.

    Attributes:
        prepared: model, graphs, plan, options and methods.
        collection: the statistics of every observed tensor.
        histograms: per observed tensor, what its method solved: the histograms of a tie added up.
        thresholds: per observed tensor, the largest magnitude kept.
        scales: per float tensor of the original and the folded model, in graph order.
        seen_shapes: per input, the shapes of the batches it was fed with; when solved from a file, those of batches of
            the default size, and empty where the file does not tell.
        movement: how far the thresholds moved over the last samples; None when nothing can be said.
        feeding: what an item of the data is; None when solved from a file.
        kept: a few samples as the model is fed with them one at a time, for a look at the end result: those with the
            smallest content hashes, whatever the order of the data. Empty when solved from a file.
        kept_results: for each of them, the values of the outputs that are compared, in floating point; empty where they
            have to be computed.
        weight_scales: weight -> its scales, float32, one per output channel, where a method found others than
            max|w| / 127: for a Q/DQ model, since a cache holds none.
    """

    prepared: Prepared
    collection: Collection
    histograms: Mapping[str, Histogram]
    thresholds: Mapping[str, float]
    scales: Mapping[str, Scale]
    seen_shapes: Mapping[str, SeenShapes] = field(default_factory=dict)
    movement: Movement | None = None
    feeding: Feeding | None = None
    kept: Sequence[Mapping[str, np.ndarray]] = field(default=(), compare=False)
    kept_results: Sequence[Mapping[str, np.ndarray]] = field(default=(), compare=False)
    weight_scales: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Calibration of {self._title}>"

    def _repr_html_(self) -> str:
        from onnx_trtcal.figures.style import STYLE

        columns = ("tensor", "distribution", "scale", "threshold", "amax", "method", "from")
        rows = [
            (
                item.tensor,
                self._spark(item.tensor),
                item.scale,
                item.threshold,
                item.amax,
                item.method,
                item.reason if item.source == item.tensor else f"{item.reason}: {item.source}",
            )
            for item in list(self.scales.values())[:NOTEBOOK_ROWS]
        ]
        table = html_table(self._title, columns, rows, len(self.scales), self._remarks())
        return f"<div><style>{STYLE}</style>{table}</div>"

    def _spark(self, tensor: str) -> Markup:
        """The distribution of an observed tensor; empty for one that takes the scale of another."""
        if tensor not in self.histograms:
            return Markup("")
        from onnx_trtcal.methods.picture import spark

        return Markup(spark(self.histograms[tensor], self.thresholds[tensor]).markup)

    def _remarks(self) -> list[str]:
        """What to know before using the scales."""
        found = []
        if self.movement:
            found.append(settled_line(self.movement, self.options.until_stable))
        if self.unseen:
            found.append(f"{unseen_text(self.unseen)}: the scale is made up")
        odd = [name for name, each in self.histograms.items() if each.nan or each.inf]
        if odd:
            found.append(f"{named_tensors(odd)}: held NaN or Inf, which were left out")
        return found

    def plot(self, tensor: str, width: int = 640) -> Figure:
        """The distribution of a tensor's magnitudes with the threshold of every method, the one in use in bold.

        A notebook shows the figure; `save` writes it as an .svg file. Counts are on a logarithmic scale, and what is
        clipped has another colour. Of tensors that share a scale, the figure is that of all their values. A weight is
        shown by its range in each output channel.

            >>> from onnx_trtcal import calibrate
            >>> calibration = calibrate("models/digits_mlp.onnx", "models/digits_calib.npy")
            >>> calibration.plot("input")
            <Figure 'Distribution of input', 640x235>

        Args:
            tensor: its name; a tensor that takes the scale of another is shown by that one.
            width: of the figure, in CSS pixels, from 320 on.

        Raises:
            OptionError: when there is no such tensor or weight, when its scale came without values, or when the figure
                is too narrow.
        """
        from onnx_trtcal.figures.distribution import distribution_figure
        from onnx_trtcal.figures.weights import weight_ranges, weight_ranges_figure
        from onnx_trtcal.methods.picture import distribution, solved_thresholds

        if not _LEAST_WIDTH <= width <= _MOST_WIDTH:
            raise OptionError(
                f"a figure cannot be {width} wide", fix=f"give a width from {_LEAST_WIDTH} to {_MOST_WIDTH}"
            )
        owner = (
            tensor if tensor in self.histograms or tensor not in self.scales else self.scales[tensor].source
        )
        if owner not in self.histograms:
            weight = self._weight(owner)
            if weight is None:
                raise self._unplottable(tensor)
            return weight_ranges_figure(weight_ranges(owner, *weight), width)
        histogram, method = self.histograms[owner], str(self.prepared.methods[owner])
        thresholds = {**solved_thresholds(histogram), method: self.thresholds[owner]}
        name = tensor if owner == tensor else f"{tensor}, by {owner} ({self.scales[tensor].reason})"
        return distribution_figure(distribution(name, histogram, thresholds, method), width)

    def _weight(self, name: str) -> tuple[np.ndarray, int] | None:
        """A weight and its channel axis, as it is folded, or else as the model has it; None if there is none."""
        from onnx_trtcal.graph.model.importer import import_graph
        from onnx_trtcal.graph.named_weight import named_weight

        found = named_weight(self.prepared.folded, name)
        return found or named_weight(import_graph(self.prepared.model), name)

    def _unplottable(self, tensor: str) -> OptionError:
        if tensor in self.scales:
            return OptionError(
                f"tensor {tensor!r} was not measured: its scale is known without data ({self.scales[tensor].reason})",
                fix=f"plot an observed tensor, such as {next(iter(self.histograms), '')!r}",
            )
        return OptionError(
            f"there is neither a tensor {tensor!r} with a scale nor a weight of that name",
            fix=did_you_mean(tensor, self.scales) or "`calibration.scales` lists all tensors that have one",
        )

    @property
    def _title(self) -> str:
        path = self.prepared.model.path
        methods = ", ".join(dict.fromkeys(item.method for item in self.scales.values()))
        samples = many(len(self.collection.samples), "sample")
        scales = many(len(self.scales), "scale")
        return f"{path.name if path else 'a model in memory'}: {samples}, {scales} by {methods}"

    @property
    def options(self) -> Options:
        """The options it came about under."""
        return self.prepared.options

    @property
    def unseen(self) -> tuple[str, ...]:
        """The tensors whose scale is made up, because their owner held no finite value in any sample."""
        return tuple(name for name, item in self.scales.items() if not item.seen)

    @property
    def provenance(self) -> Provenance:
        """Where the scales came from, as the sidecar says it."""
        model = self.prepared.model
        return Provenance(
            model_file=model.path.name if model.path else None,
            model_sha256=model.sha256,
            sample_hashes=[digest for _, digest in self.collection.samples],
            options=provenance_options(self.options, self.collection.options),
            scales=self.scales,
            skipped=self.prepared.plan.skipped,
            shapes=self.collection.shapes,
            equalization=equalization_of(model),
        )

    def cache(self, algorithm: str = "EntropyCalibration2") -> Cache:
        """The scales as a TensorRT calibration cache.

        Args:
            algorithm: the calibrator named in the header; trtexec reads `EntropyCalibration2` only.
        """
        header = header_for(self.options.trt_version, algorithm)
        return Cache(header, {name: item.scale for name, item in self.scales.items()})

    def write_cache(self, path: str | Path, algorithm: str = "EntropyCalibration2") -> tuple[Path, Path]:
        """Writes the cache, and beside it `<path>.json` with where every scale came from.

        Returns:
            The paths of both files.

        Raises:
            CacheError: when a tensor's name cannot be written so that it can be read back.
            CalibrationError: when a file cannot be written.
        """
        table, sidecar = self.write_tables(path, ("trt",), algorithm)
        return table, sidecar

    def write_tables(
        self, output: str | Path, forms: Sequence[TableFormat], algorithm: str = "EntropyCalibration2"
    ) -> list[Path]:
        """Writes the scales in one or more formats, and beside the first file `<file>.json`, as write_cache does.

        Args:
            output: where to. Of several formats TensorRT's cache goes there, and the others beside it under suffixes of
                their own.
            forms: `trt`, `ort-flatbuffers`, `ort-json` or `ranges-json`.
            algorithm: the calibrator named in the header of a TensorRT cache.

        Returns:
            The paths of the tables in the order of `forms`, then that of the sidecar.

        Raises:
            OptionError: when there is no such format, or two of them would be one file.
            CacheError: when a format cannot hold a name or a scale; nothing is written then.
            CalibrationError: when a file cannot be written.
        """
        header = header_for(self.options.trt_version, algorithm)
        scales = {name: item.scale for name, item in self.scales.items()}
        paths = table_paths(output, forms)
        tables = {path: render(form, scales, header) for form, path in paths.items()}
        first, form = next(iter(tables)), next(iter(paths))
        sidecar = Path(f"{first}.json")
        for path, data in tables.items():
            atomic_write(path, data)
        atomic_write(sidecar, sidecar_bytes(self.provenance, tables[first], form))
        return [*tables, sidecar]

    def write_folded(self, path: str | Path) -> None:
        """Writes the model with BatchNorm folded; its tensors are all in the cache.

        Raises:
            CalibrationError: when the file cannot be written.
        """
        from onnx_trtcal.graph.model.save import save_model

        whole = self.prepared.whole()
        save_model(whole.folded, whole.model, path)
