"""Has the compiled kernels at hand by the time that there is something to count.

What a process before has compiled takes a tenth of a second to load, which is much beside a small model. Where nothing
is kept, numba takes longer to compile a kernel than small models take to calibrate. A thread does that while the model
is prepared and ONNX Runtime opens sessions, which leaves a core idle.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_trtcal.options import Range

__all__ = ["abandon", "import_kernels", "warm_up"]

logger = logging.getLogger(__name__)

_threads: list[threading.Thread] = []
_loading = threading.Lock()  # of what counts


@functools.cache
def warm_up(rule: Range, method: str | None = None) -> None:
    """Starts to load what counts float32 activations and what solves their histograms, once; returns at once.

    Whoever needs a kernel before it is there waits for it, see `import_kernels`. What fails here fails again where it
    is needed, and is reported there.

    Args:
        rule: the range rule that they are counted under.
        method: what solves them, as `parse_method` takes it; None where nobody solves any.
    """
    thread = threading.Thread(target=_load, args=(rule, method), name="calibration-warm-up", daemon=True)
    thread.start()
    _threads.append(thread)
    # A compiler that is at work while Python takes itself down could bring the process down.
    atexit.register(thread.join)
    if hasattr(os, "register_at_fork"):
        # A child that is forked in the middle of an import could never import the same module.
        os.register_at_fork(before=thread.join)


def import_kernels() -> None:
    """Imports what counts activations, or waits until `warm_up` has loaded it; to be called before anything is counted.

    Where an import fails, a thread that waited for it in an import statement of its own would go on with half of a
    module, and fail for a reason that is none. And one that asked for a kernel itself might have it compiled only after
    what solves histograms.

    Raises:
        OptionError: where the environment keeps numba from compiling.
    """
    with _loading:
        import onnx_trtcal.stats.bin_table  # noqa: F401 (imported for those who count)


def abandon() -> bool:
    """Has the end of the process not wait for what is still being loaded, which takes seconds where it is compiled.

    Returns:
        Whether anything is: the process then has to end by `os._exit`.
    """
    loading = [thread for thread in _threads if thread.is_alive()]
    for thread in loading:
        atexit.unregister(thread.join)
    return bool(loading)


def _load(rule: Range, method: str | None) -> None:
    try:
        with _loading:
            import numpy as np

            from onnx_trtcal.stats.histogram import Histogram

            histogram = Histogram(rule)
            histogram.add(np.ones(1, np.float32))

        from onnx_trtcal.methods import parse_method

        solver = parse_method(method) if method else None
        if solver and solver.needs != "second pass":
            solver.solve(histogram)
    except Exception as error:  # noqa: BLE001 (it is raised again where a kernel is needed)
        logger.debug("kernels are not loaded ahead of time: %s", error)
