"""Machine code that runs without numba gives what numba's own call of the function gives, to the last bit."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numba.core.errors import NumbaError

from onnx_trtcal.fidelity import channel_sums, distance
from onnx_trtcal.methods import entropy, mse, mxnet, score
from onnx_trtcal.support.jit import compiled
from onnx_trtcal.support.machine_code import MachineCode, kind_of, load
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


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
def test_whole_numbers_of_more_than_64_bits_are_refused(number: int) -> None:
    with pytest.raises(OverflowError, match="64 bits"):
        kind_of(number)
    assert kind_of(2**63 - 1) == kind_of(-(2**63)) == "int64"


def test_arrays_that_may_not_be_written_to_are_of_another_kind() -> None:
    values = np.zeros(3)
    kind = kind_of(values)
    values.flags.writeable = False
    assert kind_of(values) != kind


@pytest.mark.parametrize("data", [b"", b"garbage" * 100, b"\x7fEL", b"MZ" + bytes(100)])
def test_what_is_no_object_file_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no object file"):
        load(MachineCode("run", ("float64",), as_tuple=False, data=data), ["float64"])


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


def first_set(values, write):
    if write:
        values[0] = 1.0
    return values[0]


def first(values):
    return values[0]


@pytest.mark.slow
def test_a_read_only_array_is_not_written_to(kernel_of) -> None:
    values = np.zeros(3)
    kernel, reading = kernel_of(first_set), kernel_of(first)
    assert kernel(values, True) == 1.0
    values[0] = 2.0
    values.flags.writeable = False
    with pytest.raises(NumbaError, match="readonly"):
        kernel(values, True)
    assert values[0] == reading(values) == 2.0
    assert type(*reading.loaded.values()).__name__ == "_Native"


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
