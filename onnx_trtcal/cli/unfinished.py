"""What becomes of the checkpoint of a run that does not get to its end."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from onnx_trtcal.errors import CalibrationError, NonFiniteError
from onnx_trtcal.options import Options
from onnx_trtcal.support.output_lock import locked
from onnx_trtcal.support.wording import duration, many

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from onnx_trtcal.cli.console import Console

__all__ = ["checkpoint_told"]

_WORTH_KEEPING = 60.0  # seconds of counting


@contextlib.contextmanager
def checkpoint_told(checkpoint: Path, options: Options, console: Console) -> Iterator[None]:
    """Says what the checkpoint of a run is good for when that fails or is interrupted.

    One that took less than a minute to count is removed, unless --checkpoint-every asked for checkpoints: the same
    command counts it again soon enough.

    Args:
        checkpoint: its file.
        options: those of the run.
        console: where to say it.
    """
    try:
        yield
    except BaseException as error:
        # Another run may have it: then it is not for this one to remove.
        with contextlib.suppress(CalibrationError), locked([checkpoint]):
            _tell(checkpoint, options, console, error)
        raise


def _tell(checkpoint: Path, options: Options, console: Console, error: BaseException) -> None:
    from onnx_trtcal.counting.checkpoint import remove_checkpoints, saved_at

    saved = saved_at(checkpoint)
    if saved is None:
        # It may have been stopped on the way to its first checkpoint.
        if not checkpoint.exists():
            remove_checkpoints(checkpoint)
        return
    if saved.seconds < _WORTH_KEEPING and options.checkpoint_every == Options().checkpoint_every:
        remove_checkpoints(checkpoint)
        return
    command = "the same command"
    if isinstance(error, NonFiniteError):
        command += " with --allow-nonfinite"
    console.warn(
        f"{checkpoint} holds {many(saved.samples, 'counted sample')} ({duration(saved.seconds)} of work): "
        f"{command} resumes from there"
    )
