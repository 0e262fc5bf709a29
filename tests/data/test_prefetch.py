from __future__ import annotations

import threading
import time

import pytest

from onnx_trtcal.data.prefetch import prefetch


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("calibration-data")]


def gone():
    deadline = time.monotonic() + 5
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not threads()


def test_order_is_kept_whatever_each_task_takes():
    def task(index):
        return lambda: (time.sleep(0.002 * (index % 3)), index)[1]

    assert list(prefetch((task(index) for index in range(60)), 8, 4)) == list(range(60))
    assert gone()


def test_never_more_than_so_many_at_a_time():
    made, taken, most = 0, 0, 0

    def tasks():
        nonlocal made, most
        for index in range(50):
            made += 1
            most = max(most, made - taken)
            yield lambda index=index: index

    results = prefetch(tasks(), 5, 3)
    for _ in range(10):
        taken += 1
        next(results)
        time.sleep(0.005)
    results.close()
    assert 1 < most <= 6


def test_what_a_task_raises_arrives_in_its_place():
    def fail():
        raise ValueError("sample 3")

    tasks = [lambda index=index: index for index in range(3)] + [fail] + [lambda: 4]
    results = prefetch(tasks, 4, 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="sample 3"):
        next(results)
    assert gone()


def test_what_the_iterable_raises_arrives_after_what_it_gave():
    def tasks():
        yield lambda: 0
        raise KeyError("broken")

    results = prefetch(tasks(), 4, 2)
    assert next(results) == 0
    with pytest.raises(KeyError, match="broken"):
        next(results)
    assert gone()


def test_threads_end_and_the_iterable_is_closed_when_the_consumer_stops():
    closed = threading.Event()

    def tasks():
        try:
            while True:
                yield lambda: 1
        finally:
            closed.set()

    results = prefetch(tasks(), 4, 2)
    next(results)
    assert threads()
    results.close()
    assert closed.wait(5)
    assert gone()


def test_no_tasks():
    assert list(prefetch([], 4, 2)) == []
    assert gone()
