"""Finds the device to count on."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from onnx_trtcal.stats.host import HostDevice

if TYPE_CHECKING:
    from onnx_trtcal.stats.counter import CountingDevice

__all__ = ["open_counting_device"]


def open_counting_device(name: str | None) -> tuple[CountingDevice, str]:
    """The device to count on where the model runs on this one, the host where that cannot count.

    A device counts when this package has a subpackage of its name with a function `open_device`, which gives
    the device or None, and in a few words how activations are counted, or what keeps them from it.

    Args:
        name: ONNX Runtime's name of the device that keeps the model's outputs; None for the host.

    Returns:
        The device, and a line to tell the user; an empty one when there is nothing to tell.
    """
    if name is None:
        return HostDevice(), ""
    found: tuple[CountingDevice | None, str] = import_module(f"onnx_trtcal.stats.{name}").open_device()
    device, words = found
    if device is None:
        return HostDevice(), f"activations are copied to the CPU to be counted: {words}"
    return device, words
