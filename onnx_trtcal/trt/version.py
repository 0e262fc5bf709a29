"""TensorRT versions: as people write them, and as the first line of a calibration cache carries them."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, get_args

from onnx_trtcal.errors import OptionError

__all__ = ["ALGORITHMS", "Algorithm", "Version", "parse_version"]

Algorithm = Literal["EntropyCalibration2", "EntropyCalibration", "MinMaxCalibration"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)

_OLDEST = (5, 1)  # the first release whose header names the algorithm
_LAST_10 = 16  # 10.16 is the last release with calibrators


class Version(NamedTuple):
    """A TensorRT release with calibrators, 5.1 to 10.16."""

    major: int
    minor: int
    patch: int

    @property
    def number(self) -> int:
        """The header's number, which is NvInferVersion.h's own: 8601 for 8.6.1, 100300 for 10.3.0."""
        if self.major < 10:
            return self.major * 1000 + self.minor * 100 + self.patch
        return self.major * 10000 + self.minor * 100 + self.patch

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def parse_version(text: str) -> Version:
    """The version in `10.3`, `10.3.0`, `10.3.0.26` (the build number is ignored), `100300` or `8601`.

    Raises:
        OptionError: when the text is not a version, or is one without calibrators.
    """
    wanted = "write a version from 5.1 to 10.16, as 10.3, 10.3.0 or 100300"
    plain = text.strip()
    if match := re.fullmatch(r"(\d{1,2})\.(\d{1,2})(?:\.(\d{1,2})(?:\.\d+)?)?", plain, re.ASCII):
        version = Version(int(match[1]), int(match[2]), int(match[3] or 0))
    elif re.fullmatch(r"\d{4}|\d{6}", plain, re.ASCII):
        number = int(plain)
        thousands = 1000 if len(plain) == 4 else 10000
        version = Version(number // thousands, number % thousands // 100, number % 100)
    elif re.fullmatch(r"1[1-9]", plain, re.ASCII):
        version = Version(int(plain), 0, 0)
    else:
        raise OptionError(f"{text!r} is not a TensorRT version", fix=wanted)
    if version.major >= 11:
        raise OptionError(
            f"TensorRT {text} has no INT8 calibrators and reads no calibration cache: they ended with 10.16",
            fix="put the scales into the model as Q/DQ nodes instead: onnx-trtcal quantize",
        )
    last = _LAST_10 if version.major == 10 else 9  # four digits leave one for the minor version
    if version[:2] < _OLDEST or version.minor > last:
        raise OptionError(f"there is no TensorRT {text} that reads calibration caches", fix=wanted)
    return version
