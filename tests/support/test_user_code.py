from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from onnx_trtcal.errors import OptionError
from onnx_trtcal.support.user_code import guarded

if TYPE_CHECKING:
    from collections.abc import Callable


def leaves() -> None:
    sys.exit(3)


def raises() -> None:
    message = "first\n  second"
    raise ValueError(message)


@pytest.mark.parametrize(
    ("function", "told"), [(leaves, "failed: SystemExit: 3"), (raises, "failed: ValueError: first second")]
)
def test_whatever_users_code_does_is_told_in_one_line(function: Callable[[], None], told: str) -> None:
    with pytest.raises(OptionError) as caught:
        guarded(__file__, "load", "data loader", function)

    lines = str(caught.value).splitlines()
    assert lines[0].endswith(told)
    assert f"{__file__}, line " in lines[1]
