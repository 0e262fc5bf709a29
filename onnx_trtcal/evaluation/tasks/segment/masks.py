"""Label masks: a folder of images whose pixels are class numbers, brought to the pixels of an output."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.data.readers.lazy_array import reading
from onnx_trtcal.errors import DataError
from onnx_trtcal.evaluation.labels import Labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_trtcal.data.images.geometry import Geometry

__all__ = ["IGNORED", "Masks", "read_masks"]

IGNORED = 255
"""The class of pixels that do not count."""

FORMS = (
    "labels of a segmentation are a folder of PNG files with a class number a pixel, named as the images are"
)
_UNNAMED = re.compile(r"(^item \d+|^data|\[\d+\])$")

Size = tuple[int, int]


@dataclass(frozen=True)
class Masks:
    """The masks of a folder.

    Attributes:
        root: the folder.
        files: their paths inside it, sorted.
    """

    root: Path
    files: Sequence[str]

    def of(self, name: str, index: int, geometry: Geometry | None, wanted: Size) -> np.ndarray:
        """A sample's mask: int64 of an output's size; IGNORED where the output shows nothing of the image.

        Args:
            name: the sample's name.
            index: its position in the data, which counts where it has no name of a file.
            geometry: where the image lies in the network's input; None when that is not known: the mask then covers it.
            wanted: the size of the output.

        Raises:
            DataError: the sample has no mask, or that cannot be read.
        """
        keys = Labels(str(self.root), {file: file for file in self.files}, {})
        if _UNNAMED.search(name):
            keys = Labels(str(self.root), {}, dict(enumerate(self.files)))
        mask = _read(self.root / str(keys.of([name], [index])[0]))
        if geometry is None:
            original, size = mask.shape, mask.shape
        else:
            original, size = geometry.original, geometry.size
        # The centre of each pixel of the output, in the network's input, in the image, in the mask.
        rows = (np.arange(wanted[0]) + 0.5) * size[0] / wanted[0]
        columns = (np.arange(wanted[1]) + 0.5) * size[1] / wanted[1]
        if geometry is not None:
            rows = geometry.originals(np.stack([np.zeros_like(rows), rows], axis=1))[:, 1]
            columns = geometry.originals(np.stack([columns, np.zeros_like(columns)], axis=1))[:, 0]
        rows, columns = rows * mask.shape[0] / original[0], columns * mask.shape[1] / original[1]
        inside = ((rows >= 0) & (rows < mask.shape[0]))[:, None] & (
            (columns >= 0) & (columns < mask.shape[1])
        )[None, :]
        at = np.clip(np.floor(rows).astype(int), 0, mask.shape[0] - 1)
        across = np.clip(np.floor(columns).astype(int), 0, mask.shape[1] - 1)
        return np.where(inside, mask[at][:, across], IGNORED)


def read_masks(path: str | Path) -> Masks:
    """Finds the masks of a folder.

    Raises:
        DataError: it is not a folder, or holds no PNG files.
    """
    root = Path(path)
    files = sorted(file.relative_to(root).as_posix() for file in root.rglob("*.png")) if root.is_dir() else []
    if not files:
        raise DataError("there are no label masks", where=str(root), fix=FORMS)
    return Masks(root, files)


def _read(path: Path) -> np.ndarray:
    from PIL import Image

    with reading(str(path), "the mask cannot be read", FORMS), Image.open(path) as image:
        mode, pixels = image.mode, np.asarray(image)
    if pixels.ndim != 2:
        raise DataError(
            f"the mask has {mode} pixels, not one class number each",
            where=str(path),
            fix="save class numbers as a gray or palette image",
        )
    return pixels.astype(np.int64)
