"""The user's metric: a function at the end or a class batch by batch, and every way it can go wrong."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_trtcal.errors import OptionError
from onnx_trtcal.evaluation.metric import load_metric

METRIC = """
import numpy as np
from dataclasses import dataclass

def mean(outputs, labels):
    return outputs["y"].mean()

def both(outputs, labels):
    return {"right": (outputs["y"].argmax(1) == labels).astype(float), "rows": len(outputs["y"])}

def ragged(outputs, labels):
    return sum(len(row) for row in outputs["y"])

@dataclass
class Streaming:
    total: float = 0.0
    def update(self, outputs, labels):
        self.total += outputs["y"].sum() + (0 if labels is None else labels.sum())
    def result(self):
        return self.total

def broken(outputs, labels):
    return outputs["nothing"]

def shapeless(outputs, labels):
    return np.zeros(99)

def textual(outputs, labels):
    return "good"

class Half:
    def update(self, outputs, labels): pass
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my.py"
    path.write_text(METRIC)
    return path


def run(text: str, labels=None, rows=((1.0, 2.0), (4.0, 3.0), (5.0, 6.0))):
    meter = load_metric(text)()
    arrays = [np.array(row, np.float32) for row in rows]
    meter.update({"y": arrays[:2]}, None if labels is None else labels[:2])
    meter.update({"y": arrays[2:]}, None if labels is None else labels[2:])
    return meter.result()


def test_a_function_gets_all_samples_at_the_end(file):
    assert run(f"{file}:mean") == {"mean": 3.5}


def test_a_function_gets_labels_and_may_answer_by_sample(file):
    found = run(f"{file}:both", [1, 1, 1])
    assert found["right"].tolist() == [1.0, 0.0, 1.0] and found["rows"] == 3


def test_samples_of_different_shapes_come_as_a_list(file):
    assert run(f"{file}:ragged", rows=((1.0,), (1.0, 2.0), (1.0, 2.0, 3.0))) == {"ragged": 6}


def test_a_class_is_fed_batch_by_batch(file):
    assert run(f"{file}:Streaming") == {"Streaming": 21.0}
    assert run(f"{file}:Streaming", [1, 2, 3]) == {"Streaming": 27.0}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken", "KeyError: 'nothing'"),
        ("shapeless", r"ndarray of shape \(99,\)"),
        ("textual", "'textual' is a str"),
        ("Half", r"no result\(\)"),
        ("maen", "no function or class 'maen'"),
    ],
)
def test_what_goes_wrong_is_told(file, name, said):
    with pytest.raises(OptionError, match=said):
        run(f"{file}:{name}")


@pytest.mark.parametrize("relative", [False, True])
def test_an_error_names_the_line(file, relative, monkeypatch):
    monkeypatch.chdir(file.parent)
    path = file.name if relative else str(file)
    with pytest.raises(OptionError) as caught:
        run(f"{path}:broken")
    line = METRIC.splitlines().index('    return outputs["nothing"]') + 1
    assert caught.value.where == f"{path}, line {line}"


@pytest.mark.parametrize("text", ["my.py", "my.txt:f", ":f", "none.py:f"])
def test_a_metric_that_is_not_there(text):
    with pytest.raises(OptionError):
        load_metric(text)


def test_a_file_that_fails_when_it_is_loaded(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("import no_such_module_at_all\n")
    with pytest.raises(OptionError, match="ModuleNotFoundError") as caught:
        load_metric(f"{path}:f")
    assert caught.value.where.endswith("line 1")
