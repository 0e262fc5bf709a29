"""Machine code that runs without numba gives what numba's own call of the function gives, to the last bit."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnx_trtcal.fidelity import channel_sums, distance
from onnx_trtcal.methods import entropy, mse, mxnet, score
from onnx_trtcal.support.jit import compiled
from onnx_trtcal.support.machine_code import kind_of
from onnx_trtcal.support.numba_cache import cached_dispatcher

if TYPE_CHECKING:
    from collections.abc import Callable


def arguments(name: str) -> tuple[object, ...]:
    random = np.random.default_rng(0)
    values = random.standard_normal(4096).astype(np.float32)
    values[::100] = np.nan
    counts = random.integers(0, 1000, 2048) * (random.random(2048) < 0.4)
    size = counts.size + 1
    return {
        "entropy": (
            counts,
            np.zeros(size, np.int64),
            np.zeros(size, np.int64),
            np.zeros(size),
            np.full(size, np.inf),
        ),
        "mse": (counts, mse.candidates(2047.3), np.zeros(size, np.int64), np.zeros(size)),
        "mxnet": (random.integers(0, 9, mxnet.BINS), np.empty(mxnet.BINS), np.empty(mxnet.BINS)),
        "score": (counts, 2047.3, 1500.0),
        "distance": (values, values.astype(np.float64) + 0.1),
        "channel sums": (values.reshape(4, 16, 64), values.reshape(4, 16, 64) * 2, *np.zeros((3, 16))),
    }[name]


KERNELS = {
    "entropy": entropy._search,
    "mse": mse._search,
    "mxnet": mxnet._search,
    "score": score._sums,
    "distance": distance._sums,
    "channel sums": channel_sums._add_sums,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
def test_the_answers_are_those_of_numba(name: str) -> None:
    kernel = compiled(KERNELS[name].function)
    answers, worked_in = [], []
    for run in (kernel, cached_dispatcher(kernel.function)):
        given = arguments(name)
        answers.append(run(*given))
        worked_in.append([np.asarray(each).tobytes() for each in given])
    assert answers[0] == answers[1] and type(answers[0]) is type(answers[1])
    assert worked_in[0] == worked_in[1]
    (run,) = kernel.loaded.values()
    assert type(run).__name__ == "_Native"


@pytest.mark.parametrize(
    "argument",
    [np.zeros((4, 4))[:, 1], np.zeros((4, 4)).T, np.zeros(9, np.uint8)[1:].view(np.float64), "text", [1], 1j],
    ids=["strided", "transposed", "unaligned", "text", "list", "complex"],
)
def test_what_kernels_do_not_take_is_refused(argument: object) -> None:
    with pytest.raises(TypeError, match="kernels take"):
        kind_of(argument)


def empty(values, number, flag, nothing):
    # Every kind of argument, and a tuple of every kind of answer.
    if nothing is None and flag:
        return values.size, float(number), flag, number
    return -1, 0.0, False, number


def stepped(step):
    count = 0
    for _ in range(0, 10, step):
        count += 1
    return count


@pytest.fixture(scope="module")
def kernel_of(tmp_path_factory: pytest.TempPathFactory):
    """Compiles a function in a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUMBA_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))

        def make(function: Callable[..., object]):
            return compiled(function)

        yield make


@pytest.mark.slow
def test_every_kind_of_scalar_goes_in_and_comes_out(kernel_of) -> None:
    kernel = kernel_of(empty)
    values = np.zeros((0, 3), np.float32)
    for number in (7, -(2**62), np.uint64(2**64 - 1), np.int64(-5), 0.1, np.float64("inf")):
        assert kernel(values, number, True, None) == (0, float(number), True, number)
        assert kernel(values, number, False, None) == (-1, 0.0, False, number)
    assert all(type(run).__name__ == "_Native" for run in kernel.loaded.values())
    assert len(kernel.loaded) == 3


@pytest.mark.slow
def test_an_error_inside_is_an_error(kernel_of) -> None:
    kernel = kernel_of(stepped)
    assert kernel(3) == 4
    with pytest.raises(ArithmeticError, match="cannot work with"):
        kernel(0)


def harmonic(terms):
    total = 0.0
    for term in range(terms):
        total += 1 / (term + 1)
    return total


@pytest.mark.slow
def test_other_threads_run_meanwhile(kernel_of) -> None:
    kernel = kernel_of(harmonic)
    kernel(1)
    begun, ended = threading.Event(), threading.Event()

    def run() -> None:
        begun.set()
        kernel(100_000_000)  # a tenth of a second at the least
        ended.set()

    threading.Thread(target=run).start()
    begun.wait()
    turns = 0
    while not ended.wait(0.001):
        turns += 1
    assert turns > 5
