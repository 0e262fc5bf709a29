"""The memory that ONNX Runtime keeps for its next run on a CPU: one arena for the sessions of a process.

What a run has freed stays in the arena, and serves later runs whose tensors are no larger. After runs of other sizes,
and behind the last one, it is memory that nobody uses.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

from onnx_trtcal.support.memory import resident_memory, return_free_memory
from onnx_trtcal.support.ort_options import session_options
from onnx_trtcal.support.ort_session import open_session

__all__ = ["release_free_memory", "share_arena"]

_WORTH_IT = 256 << 20  # bytes of resident memory from which some of it is looked for


def share_arena(options: Any) -> None:
    """Has a session use the arena of the process, which grows by what is asked for instead of doubling."""
    if _registered():
        options.add_session_config_entry("session.use_env_allocators", "1")


def release_free_memory() -> None:
    """Gives memory that nobody uses back to the system: of the arena, where no run is under way, and of the heap.

    A small process is left as it is: it takes milliseconds, and later runs ask for their memory again.
    """
    if (resident_memory() or 0) < _WORTH_IT:
        return
    if _registered():
        import numpy as np
        import onnxruntime as ort

        shrink = ort.RunOptions()
        shrink.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        # One that was built to take all memory from the heap refuses.
        with contextlib.suppress(Exception):
            _least_session().run(None, {"x": np.zeros(1, np.float32)}, shrink)
    return_free_memory()


@functools.cache
def _registered() -> bool:
    """Gives the process a CPU arena; False where it already has another one."""
    import onnxruntime as ort

    cpu = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    no_limit, same_as_requested, default = 0, 1, -1
    try:
        ort.create_and_register_allocator(cpu, ort.OrtArenaCfg(no_limit, same_as_requested, default, default))
    except Exception:  # noqa: BLE001 (ONNX Runtime's own exception types are not public)
        return False
    return True


@functools.cache
def _least_session() -> Any:
    """A session that does nothing: an arena is shrunk at the end of a run."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "least", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    options = session_options(threads=1)
    share_arena(options)
    return open_session(model.SerializeToString(), options, ["CPUExecutionProvider"])
