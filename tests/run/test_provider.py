"""The choice of a provider, with fakes of what this machine may lack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnxruntime as ort
import pytest

from onnx_trtcal.errors import ProviderError
from onnx_trtcal.run import provider as module
from onnx_trtcal.run.provider import Provider, choose_provider, find_cuda_fault
from onnx_trtcal.support.ort_options import session_options

if TYPE_CHECKING:
    from collections.abc import Iterator

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"


class FakeSession:
    """A session that gets the providers it is told, and runs or not."""

    def __init__(self, providers: list[str], failure: Exception | None = None) -> None:
        self.providers = providers
        self.failure = failure

    def get_providers(self) -> list[str]:
        return self.providers

    def run(self, outputs: object, feeds: object) -> list[object]:
        if self.failure:
            raise self.failure
        return []


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """The answer is remembered for the life of a process: not here."""
    find_cuda_fault.cache_clear()
    yield
    find_cuda_fault.cache_clear()


class Machine:
    """A machine as the tests want it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        self.made: list[list[str]] = []
        patch.setattr(ort, "preload_dlls", lambda **_: None, raising=False)

    def has(
        self,
        *,
        driver: bool = True,
        built: bool = True,
        got: list[str] | None = None,
        failure: Exception | None = None,
    ) -> None:
        self.patch.setattr(module, "driver_loads", lambda: driver)
        self.patch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU] if built else [CPU])

        def session(model: bytes, options: object, providers: list[str]) -> FakeSession:
            self.made.append(providers)
            return FakeSession([CUDA, CPU] if got is None else got, failure)

        self.patch.setattr(ort, "InferenceSession", session)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_cuda_where_it_works(machine: Machine) -> None:
    machine.has()
    for asked in ("auto", "cuda"):
        chosen = choose_provider(asked)
        assert (chosen.name, chosen.device) == ("cuda", "cuda") and chosen.ort_names == [CUDA, CPU]
    assert str(chosen) == "execution provider: CUDA (an NVIDIA GPU is usable)"
    assert machine.made == [[CUDA]]  # tried once, and on nothing else


FAULTS = {
    "no driver": ({"driver": False}, "no NVIDIA driver"),
    "a build without CUDA": ({"built": False}, "is built without CUDA"),
    "libraries that do not load": ({"got": [CPU]}, "cannot load its CUDA libraries"),
    "a GPU that fails": ({"failure": RuntimeError("CUDA failure 100\nstack")}, "CUDA failure 100"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_cpu_and_the_reason_where_cuda_does_not_work(machine: Machine, fault: str) -> None:
    having, reason = FAULTS[fault]
    machine.has(**having)
    chosen = choose_provider("auto")
    assert (chosen.name, chosen.device) == ("cpu", None) and chosen.ort_names == [CPU]
    assert chosen.reason.startswith("no CUDA: ") and reason in chosen.reason and "\n" not in chosen.reason


@pytest.mark.parametrize("fault", FAULTS)
def test_asked_for_cuda_says_what_is_missing(machine: Machine, fault: str) -> None:
    having, reason = FAULTS[fault]
    machine.has(**having)
    with pytest.raises(ProviderError, match="CUDA is not usable here") as refusal:
        choose_provider("cuda")
    assert reason in refusal.value.what and "onnx_trtcal[cuda]" in refusal.value.fix


def test_asked_for_the_cpu_tries_nothing(machine: Machine) -> None:
    machine.has(driver=True)
    assert choose_provider("cpu") == Provider("cpu", "as asked") and machine.made == []


def test_what_is_tried_needs_cudnn_and_runs() -> None:
    session = ort.InferenceSession(module._one_node_model(), session_options(optimize=False), providers=[CPU])
    (value,) = session.run(None, {})
    assert value.shape == (1, 1, 2, 2) and (value == 9).all()
