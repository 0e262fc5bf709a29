"""The connection to a Ray cluster, and what the cluster has room for."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from onnx_trtcal.errors import CalibrationError, OptionError, ProviderError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_trtcal.options import Options

__all__ = ["Room", "connected", "room_for"]

_MOST_THREADS = 4  # of one task: more samples at a time do more than more threads for one
_ANSWER = 10.0  # seconds for a connection; Ray itself tries for minutes, in which no signal reaches Python
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@dataclass(frozen=True)
class Room:
    """What a task takes of the cluster, and how many fit at a time.

    Attributes:
        threads: CPUs of a task.
        gpus: GPUs of a task.
        tasks: how many run at a time.
        nodes: Ray's ids of the machines.
    """

    threads: int
    gpus: int
    tasks: int
    nodes: tuple[str, ...]


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """The module `ray`, connected to a cluster; a connection that was there before is used, and stays.

    Raises:
        CalibrationError: when Ray is not installed, or the cluster cannot be reached.
    """
    # Ray reports usage unless it is told not to before it starts.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address != "local" and _has_token():
        # `ray start` makes the token and asks for it; `ray.init` does not send it of its own accord.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError as error:
        raise CalibrationError(
            f"a cluster needs the package ray: {error}",
            fix="pip install 'onnx_trtcal[ray]', on every machine of it",
        ) from error
    if ray.is_initialized():
        yield ray
        return
    try:
        _check_answers(address)
        with _own_signals():
            if address == "local":
                ray.init(
                    address="local", include_dashboard=False, log_to_driver=False, configure_logging=False
                )
            else:
                ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
        said = str(error).strip().partition("\n")[0]
        raise CalibrationError(
            f"the Ray cluster cannot be reached: {said}",
            where=address,
            fix="start one with `ray start --head`, and `ray start --address=HOST:6379` on the other machines; --ray "
            "local starts one on this machine for this run; where the cluster asks for a token, it belongs into "
            "~/.ray/auth_token",
        ) from error
    try:
        yield ray
    finally:
        with _own_signals():
            ray.shutdown()


def room_for(ray: Any, options: Options) -> Room:
    """What a task of a run takes, and how many fit.

    A task takes a GPU where the provider asks for one, or, left to itself, where the cluster has any.

    Raises:
        OptionError: when no machine has as many CPUs as a task is to take.
        ProviderError: when the provider needs a GPU and no machine has one.
    """
    machines = [
        (each["NodeID"], each["Resources"].get("CPU", 0.0), each["Resources"].get("GPU", 0.0))
        for each in ray.nodes()
        if each["Alive"]
    ]
    any_gpu = any(gpus for _, _, gpus in machines)
    if options.provider == "cuda" and not any_gpu:
        raise ProviderError(
            "no machine of the cluster has a GPU, as far as Ray knows",
            fix="start Ray there with --num-gpus, or take --provider cpu",
        )
    gpus = 1 if any_gpu and options.provider != "cpu" else 0
    most = int(max((cpus for _, cpus, own in machines if own or not gpus), default=0))
    threads = options.threads or max(1, min(_MOST_THREADS, most))
    if threads > most:
        raise OptionError(
            f"no machine of the cluster offers the {threads} CPUs that a task is to take: the most are {most}",
            fix=f"give --threads {most}" if most else "start Ray on a machine with --num-cpus",
        )
    tasks = sum(int(min(cpus // threads, own) if gpus else cpus // threads) for _, cpus, own in machines)
    return Room(threads, gpus, tasks, tuple(node for node, cpus, _ in machines if cpus))


def _check_answers(address: str) -> None:
    """Checks that something listens where the cluster should be.

    Raises:
        OSError: when nothing does.
    """
    if address == "auto":  # Ray looks into this variable first
        address = os.environ.get("RAY_ADDRESS", "")
    parts = urlsplit(address if "://" in address else f"//{address}")
    if parts.hostname and parts.port:
        socket.create_connection((parts.hostname, parts.port), _ANSWER).close()


def _has_token() -> bool:
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    return bool(named) or (Path.home() / ".ray" / "auth_token").is_file()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keeps the handlers of signals as they are: Ray puts its own in their place."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
