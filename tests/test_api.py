"""The public API: the verbs of the command line as functions, each documented by an example that runs."""

from __future__ import annotations

import argparse
import doctest
import inspect
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.compiler import needs_compiler

import onnx_trtcal
from onnx_trtcal.cli import VERBS
from onnx_trtcal.cli.cache import configure

MODELS = Path(__file__).resolve().parents[1] / "models"
PUBLIC = {name: getattr(onnx_trtcal, name) for name in onnx_trtcal.__all__}
FUNCTIONS = {name: value for name, value in PUBLIC.items() if inspect.isfunction(value)}
# What a caller makes, rather than gets from a function.
MADE = (
    "Cache",
    "ClusterOptions",
    "CompileOptions",
    "EvaluationOptions",
    "Options",
    "Preprocess",
    "QdqOptions",
    "ReportOptions",
    "SensitivityOptions",
    "Shard",
    "TuneOptions",
)
CACHE_VERBS = {
    "show": "read_cache",
    "diff": "diff_caches",
    "merge": "merge_caches",
    "set-version": "set_cache_version",
    "rename": "rename_tensors",
}


def test_every_verb_is_a_function() -> None:
    # `compile` is a function of Python's own, and `report` a room.
    named = {"compile": "compile_model", "report": "write_report"}
    assert {named.get(verb, verb) for verb in VERBS} - {"cache"} <= set(FUNCTIONS)


def test_every_action_on_caches_is_a_function() -> None:
    parser = argparse.ArgumentParser()
    configure(parser)
    actions = next(action.choices for action in parser._actions if action.dest == "action")
    assert actions is not None and list(actions) == list(CACHE_VERBS)
    assert set(CACHE_VERBS.values()) <= set(FUNCTIONS)


def test_no_public_name_is_that_of_a_module() -> None:
    modules = {module.name for module in pkgutil.iter_modules(onnx_trtcal.__path__)}
    assert "pipeline" in modules and not modules & set(onnx_trtcal.__all__)


def test_a_function_is_known_by_its_public_name() -> None:
    assert {name for name, function in FUNCTIONS.items() if function.__name__ != name} == set()


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, onnx_trtcal; dir(onnx_trtcal); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "onnx_trtcal" in loaded
    assert not loaded & {"numpy", "onnx", "onnxruntime", "onnx_graphsurgeon", "numba", "PIL", "rich"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'calibrat'"):
        _ = onnx_trtcal.calibrat


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory with the bundled digit models in it, as the examples have it."""
    (tmp_path / "models").mkdir()
    for path in MODELS.glob("digits_*"):
        if path.is_file():
            shutil.copy(path, tmp_path / "models")
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=needs_compiler) if name == "compile_model" else name
        for name in [*FUNCTIONS, *MADE]
    ],
)
def test_the_example_shows_what_happens(name: str, workshop: None) -> None:
    tests = doctest.DocTestFinder(recurse=False).find(PUBLIC[name], name, globs={})
    assert [bool(test.examples) for test in tests] == [True], "there is no example"
    said: list[str] = []
    results = doctest.DocTestRunner(verbose=False).run(tests[0], out=said.append)
    assert results.failed == 0, "".join(said)


@pytest.mark.slow
def test_the_example_of_plot_shows_what_happens(workshop: None) -> None:
    (test,) = doctest.DocTestFinder(recurse=False).find(onnx_trtcal.Calibration.plot, "plot", globs={})
    said: list[str] = []
    results = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert results.attempted == 3 and results.failed == 0, "".join(said)
