"""write_report(): the page as a file, from scales and whatever is at hand beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.errors import DataError, OptionError
from onnx_trtcal.options import Options
from onnx_trtcal.report.page.build import build_page
from onnx_trtcal.report.page.html import page_html
from onnx_trtcal.report.page.material import Material, Paths
from onnx_trtcal.report.page.measured import measured_of, ranked_of, read_measurements
from onnx_trtcal.report.page.options import ReportOptions
from onnx_trtcal.scale_source import ScaleSource, find_scales, source_kind
from onnx_trtcal.support.files import atomic_write
from onnx_trtcal.support.progress import Listener, LoggingListener

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx

    from onnx_trtcal.evaluation.comparison import Evaluation
    from onnx_trtcal.evaluation.ranking import Sensitivity
    from onnx_trtcal.report.page.measured import Measured, Ranked

__all__ = ["material_of", "with_engine", "write_page", "write_report"]


def write_report(
    path: str | Path,
    model: str | Path | onnx.ModelProto,
    scales: Any,
    request: ReportOptions = ReportOptions(),
    options: Options = Options(),
    *,
    listener: Listener | None = None,
) -> Path:
    """Writes what is known of a model's scales as one HTML file that opens from disk: `onnx-trtcal report`.

        >>> from onnx_trtcal import Options, calibrate, write_report
        >>> calibration = calibrate("models/digits_mlp.onnx", "models/digits_calib.npy", Options(max_samples=16))
        >>> write_report("report.html", "models/digits_mlp.onnx", calibration).name
        'report.html'

    The same arguments give the same bytes.

    Args:
        path: of the file.
        model: the float model: its path, or the model in memory.
        scales: a Calibration of it, statistics, or a calibration cache; files or in memory.
        request: what the report holds beside them.
        options: how to solve statistics.
        listener: receives what is said of the model.

    Raises:
        CalibrationError: one of its family; CompilerMissingError when the compiler is asked for and is not installed.
    """
    listener = listener or LoggingListener()
    material = material_of(model, scales, request, options, listener)
    if request.compile:
        material = with_engine(material, request)
    return write_page(material, path)


def write_page(material: Material, path: str | Path) -> Path:
    """Writes the page of a material, whole or not at all.

    Raises:
        CalibrationError: when the file cannot be written.
    """
    atomic_write(path, page_html(build_page(material)))
    return Path(path)


def material_of(
    model: str | Path | onnx.ModelProto,
    scales: Any,
    request: ReportOptions,
    options: Options,
    listener: Listener,
) -> Material:
    """Everything that a report is made from, but for the engine.

    Raises:
        CalibrationError: one of its family; OptionError when `scales` is data.
    """
    from onnx_trtcal.audit.coverage import check
    from onnx_trtcal.trt.cache import Cache, read_cache

    source = _scales(model, scales, options, listener)
    earlier = None if request.earlier is None else _scales(model, request.earlier, options, listener)
    measured, ranked = _measurements(request.measurements)
    _check_same_model(source, measured, ranked)
    cache, coverage = request.cache, None
    kind = source_kind(scales)
    beside = scales if kind == "cache" and cache is None else cache
    if beside is not None:
        coverage = check(source.model, beside)
    if cache is not None and not isinstance(cache, Cache):
        cache = read_cache(cache)
    paths = Paths(
        model=_name(model, "model.onnx"),
        stats=_name(scales, "") if kind == "statistics" else "",
        earlier="" if request.earlier is None else _name(request.earlier, "the run before"),
        cache=_name(beside, ""),
    )
    return Material(
        source,
        paths,
        qdq=request.qdq,
        earlier=earlier,
        cache=cache,
        coverage=coverage,
        measured=measured,
        ranked=ranked,
    )


def with_engine(material: Material, request: ReportOptions) -> Material:
    """The material with the engine that NVIDIA's compiler makes of its Q/DQ model.

    Raises:
        CompilerMissingError: when the compiler is not installed.
        ModelError: when no layer can be quantized.
        OptionError: when the model leaves shapes open that nothing tells.
    """
    from onnx_trtcal.qdq.given_weights import GivenWeights
    from onnx_trtcal.qdq.write.quantize_model import quantize_model
    from onnx_trtcal.quantization import Quantization
    from onnx_trtcal.trt.compiler.compile_model import compile_model
    from onnx_trtcal.trt.compiler.options import CompileOptions
    from onnx_trtcal.trt.trtexec import dynamic_shapes

    source, made = material.source, material.made
    if made is None:
        given = GivenWeights(scales=source.weight_scales)
        quantized = quantize_model(source.model, source.scales, request.qdq, source.unseen, given)
        made = Quantization(quantized, source)
    shapes = dynamic_shapes(source.model.inputs, source.seen_shapes)
    known = {name: each.smallest for name, each in shapes.items()}
    compilation = compile_model(made.proto(), CompileOptions(shapes=known))
    return replace(material, made=made, compilation=compilation)


def _scales(
    model: str | Path | onnx.ModelProto, scales: Any, options: Options, listener: Listener
) -> ScaleSource:
    kind = source_kind(scales)
    if kind == "data":
        if isinstance(scales, (str, Path)) and not Path(scales).exists():
            raise DataError(
                "there is no such statistics file or cache",
                where=str(scales),
                fix="calibrate with --save-stats FILE, and give that file",
            )
        if Path(str(scales)).suffix == ".onnx":
            raise OptionError(
                f"{str(scales)!r} is a model, where statistics or a cache are expected",
                fix="give the model last: report STATS MODEL",
            )
        raise OptionError(
            f"a report is made of statistics or of a cache, and {scales!r} is neither",
            fix="calibrate with --save-stats FILE and give that file before the model, or pass --report to the verb "
            "that reads the data",
        )
    return find_scales(model, scales, options, listener)


def _measurements(
    given: Iterable[Evaluation | Sensitivity | str | Path],
) -> tuple[Measured | None, Ranked | None]:
    from onnx_trtcal.evaluation.comparison import Evaluation
    from onnx_trtcal.evaluation.fields import evaluation_fields, sensitivity_fields
    from onnx_trtcal.evaluation.ranking import Sensitivity

    measured = ranked = None
    for each in given:
        if isinstance(each, Evaluation):
            measured = measured_of(evaluation_fields(each))
        elif isinstance(each, Sensitivity):
            ranked = ranked_of(sensitivity_fields(each))
        else:
            found, order = read_measurements([each])
            measured, ranked = found or measured, order or ranked
    return measured, ranked


def _check_same_model(source: ScaleSource, measured: Measured | None, ranked: Ranked | None) -> None:
    """Refuses measurements most of whose names the model does not have.

    Raises:
        DataError: saying which.
    """
    graph = source.folded.folded
    known = {tensor.name for tensor in graph.inputs}
    for node in graph.nodes:
        known.update((node.name, *(tensor.name for tensor in node.outputs)))
    for verb, names in (
        ("evaluate", {each.name for each in measured.tensors} if measured else set()),
        ("sensitivity", {each.name for each in ranked.groups} if ranked else set()),
    ):
        strangers = sorted(names - known)
        if 2 * len(strangers) > len(names):
            raise DataError(
                f"the measurements of {verb} are of another model: this one has no {strangers[0]!r}",
                fix=f"run {verb} --json on this model",
            )


def _name(given: Any, otherwise: str) -> str:
    return str(given) if isinstance(given, (str, Path)) else otherwise
