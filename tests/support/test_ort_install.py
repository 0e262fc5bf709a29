from __future__ import annotations

from importlib import metadata

import onnxruntime as ort
import pytest

from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.support import ort_install


def install(patch: pytest.MonkeyPatch, **versions: str) -> None:
    """The packages that seem to be installed, with underscores for the dashes of their names."""
    known = {name.replace("_", "-"): version for name, version in versions.items()}

    def version(package: str) -> str:
        if package not in known:
            raise metadata.PackageNotFoundError(package)
        return known[package]

    patch.setattr(ort_install.metadata, "version", version)


def test_one_package_is_named_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, onnxruntime="1.30.0")
    assert ort_install.runtime_versions() == {"onnxruntime": "1.30.0"}
    assert ort_install.clash() == ""
    assert choose_provider("cpu").reason == "as asked"


@pytest.mark.parametrize(
    ("providers", "package"),
    [
        (["CUDAExecutionProvider", "CPUExecutionProvider"], "onnxruntime-gpu"),
        (["CPUExecutionProvider"], "onnxruntime"),
    ],
)
def test_of_two_packages_the_one_that_runs_is_named(
    monkeypatch: pytest.MonkeyPatch, providers: list[str], package: str
) -> None:
    install(monkeypatch, onnxruntime="1.30.0", onnxruntime_gpu="1.29.0")
    monkeypatch.setattr(ort, "get_available_providers", lambda: providers)
    assert ort_install.runtime_versions() == {package: ort.__version__}


def test_two_packages_are_said_where_the_provider_is(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, onnxruntime="1.30.0", onnxruntime_gpu="1.29.0")
    text = str(choose_provider("cpu"))
    assert text.startswith("execution provider: CPU (as asked; onnxruntime-gpu and onnxruntime are both")
    assert "pip uninstall -y onnxruntime-gpu onnxruntime && pip install onnxruntime-gpu" in text
