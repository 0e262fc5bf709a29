"""Loads the user's own metric, from `file.py:name`.

`name` is either a function, called once for each model when all samples have been run:

    def auc(outputs, labels) -> float

or a class, made once for each model, so that nothing has to be kept:

    class Auc:
        def update(self, outputs, labels): ...      after each batch
        def result(self) -> float: ...              at the end

`outputs` maps the names of the model's outputs to arrays with one row per sample: of all samples for a
function (a list of arrays if samples differ in shape), of one batch for `update`. `labels` is an array of that
many labels, whole numbers or text, or None when none were given. The result is a number; or an array with one
value per sample, whose mean counts, and whose differences between the models give a standard error; or a dict of
either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from onnx_trtcal.errors import OptionError
from onnx_trtcal.support.user_code import guarded, load_name

__all__ = ["Meter", "load_metric"]


def load_metric(text: str) -> Callable[[], Meter]:
    """Loads a metric; what it returns makes a meter, one for each model.

    Args:
        text: `file.py:name`.

    Raises:
        OptionError: there is no such file, it has no such name, or it fails when it is run.
    """
    path, colon, name = text.rpartition(":")
    if not colon or not path.endswith(".py") or not name:
        raise OptionError(f"{text!r} is not a metric", fix="write FILE.py:FUNCTION")
    found = load_name(path, name, "metric", "function or class")
    if not callable(found):
        raise OptionError(f"there is no function or class {name!r}", where=path)
    if isinstance(found, type):
        missing = [key for key in ("update", "result") if not callable(getattr(found, key, None))]
        if missing:
            raise OptionError(
                f"class {name} has no {missing[0]}()",
                where=path,
                fix="give it update(outputs, labels) and result()",
            )
    return lambda: Meter(found, path, name)


class Meter:
    """The metric of one model while it is measured."""

    def __init__(self, found: Callable[..., Any], path: str, name: str) -> None:
        self._path, self._name = path, name
        self._found = found
        self._streaming: Any = guarded(path, name, "metric", found) if isinstance(found, type) else None
        self._outputs: dict[str, list[np.ndarray]] = {}
        self._labels: list[int | str] | None = None
        self._samples = 0

    @property
    def streaming(self) -> bool:
        """Whether it is a class, which is fed batch by batch, rather than a function of all outputs."""
        return self._streaming is not None

    def update(self, outputs: Mapping[str, Sequence[np.ndarray]], labels: Sequence[int | str] | None) -> None:
        """Adds a batch.

        Args:
            outputs: output -> one array per sample.
            labels: one per sample, or None.

        Raises:
            OptionError: the metric raises; the message says where in its file.
        """
        self._samples += len(next(iter(outputs.values())))
        streaming = self._streaming
        if streaming is not None:
            self._call(lambda: streaming.update(_stacked(outputs), _array(labels)))
            return
        for name, rows in outputs.items():
            self._outputs.setdefault(name, []).extend(np.array(row) for row in rows)
        if labels is not None:
            self._labels = [*(self._labels or []), *labels]

    def result(self) -> dict[str, np.ndarray]:
        """Name -> float64 array, of rank 0 or with one value per sample; a plain result gets the function's name.

        Raises:
            OptionError: the metric raises, or its result is not a number.
        """
        if self._streaming is not None:
            result = self._call(self._streaming.result)
        else:
            result = self._call(lambda: self._found(_stacked(self._outputs), _array(self._labels)))
        named = dict(result) if isinstance(result, Mapping) else {self._name: result}
        return {str(name): self._number(str(name), value) for name, value in named.items()}

    def _number(self, name: str, value: object) -> np.ndarray:
        array = np.asarray(value)
        if array.dtype.kind in "biuf" and (array.ndim == 0 or array.shape == (self._samples,)):
            return array.astype(np.float64)
        kind = type(value).__name__ + (f" of shape {array.shape}" if array.ndim else "")
        raise OptionError(
            f"the metric's result {name!r} is a {kind}: neither a number nor one for each of the "
            f"{self._samples} samples",
            where=f"{self._path}:{self._name}",
            fix="return a number, an array with one value per sample, or a dict of these",
        )

    def _call(self, function: Callable[[], Any]) -> Any:
        return guarded(self._path, self._name, "metric", function)


def _stacked(outputs: Mapping[str, Sequence[np.ndarray]]) -> dict[str, Any]:
    return {
        name: np.stack(rows) if len({row.shape for row in rows}) == 1 else list(rows)
        for name, rows in outputs.items()
    }


def _array(labels: Sequence[int | str] | None) -> np.ndarray | None:
    if labels is None:
        return None
    whole = all(isinstance(label, int) for label in labels)
    return np.array(labels if whole else [str(label) for label in labels])
