"""The samples that weights are rounded on: those of the data with the smallest content hashes, read once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx_trtcal.data.sources import open_source
from onnx_trtcal.errors import DataError, OptionError
from onnx_trtcal.improve.data_only import check_rereadable
from onnx_trtcal.improve.rounding.round_model import FEWEST_SAMPLES, Rounding, most_samples, round_weights
from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.search.budget import multiply_adds
from onnx_trtcal.search.samples import read_again

if TYPE_CHECKING:
    from onnx_trtcal.qdq.options import QdqOptions
    from onnx_trtcal.scale_source import ScaleSource, SourceKind
    from onnx_trtcal.support.progress import Listener

__all__ = ["check_roundable", "round_on_data"]


def check_roundable(source: Any, kind: SourceKind) -> None:
    """Refuses to round by output error without samples to run.

    Raises:
        OptionError: the scales come from statistics, a cache or a calibration.
        DataError: the data can be read only once.
    """
    why = f"runs the model on samples, and a {kind} source has none"
    check_rereadable(source, kind, "round", why, "once more")


def round_on_data(found: ScaleSource, data: Any, qdq: QdqOptions, listener: Listener) -> Rounding:
    """Rounds the weights of a calibrated model on the data that it was calibrated on.

    Args:
        found: what the calibration found.
        data: what it was calibrated on.
        qdq: how the Q/DQ model will be written.
        listener: receives what was gained, and progress.

    Raises:
        DataError: from reading the data; there are too few samples to hold one back.
        ModelError: nothing can be quantized, or only a part of the model runs.
    """
    calibration = found.calibration
    assert calibration is not None, "data is calibrated on"
    prepared, options = calibration.prepared, calibration.options
    if prepared.original is not prepared.model:
        if options.until:
            raise OptionError(
                "round needs all of the model to run, and --until ends it early",
                fix="leave --round or --until out",
            )
        raise OptionError(
            "round needs all of the model to run in ONNX Runtime, and only a part of this one does",
            fix="leave --round out, or give ONNX Runtime the kernels that it lacks with --ort-custom-ops",
        )
    source = open_source(
        data,
        prepared.model.inputs,
        options.preprocess,
        options.max_samples,
        item_axis=options.item_axis,
    )
    if calibration.feeding is not None:
        source = source.settled(calibration.feeding)
    hashes = [digest for _, digest in calibration.collection.samples]
    samples = read_again(source, hashes, most_samples(multiply_adds(prepared.folded)))
    if len(samples) < FEWEST_SAMPLES:
        raise DataError(
            "round needs two different samples at least, one of them to hold back",
            fix="give more data, or leave --round out",
        )
    session_options = (choose_provider(options.provider), options.threads, options.ort_custom_ops)
    listener.say(f"rounding weights layer by layer on {len(samples)} samples, a third of them held back")
    rounding = round_weights(found, samples, qdq, session_options, listener)
    listener.say(str(rounding))
    return rounding
