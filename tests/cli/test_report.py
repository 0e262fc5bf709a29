"""`report`, and --report on the verbs that have it, as a user calls them."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers.compiler import needs_compiler

from onnx_trtcal.cli import main

MODELS = Path(__file__).resolve().parents[2] / "models"
MODEL, DATA, TEST = (
    str(MODELS / name) for name in ("digits_mlp.onnx", "digits_calib.npy", "digits_test.npy")
)
FEW = ["--max-samples", "16", "--provider", "cpu"]
Capture = pytest.CaptureFixture[str]


class Text(HTMLParser):
    """What a page shows, and how many rows its table of tensors has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.rows, self.open = "", 0, [""]
        self.feed(path.read_text(encoding="utf-8"))
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.rows += tag == "tr" and "id" in dict(attrs)

    def handle_endtag(self, tag: str) -> None:
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open[-1] not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Statistics and caches of two runs, and what evaluate and sensitivity print of one."""
    folder = tmp_path_factory.mktemp("job")
    for name, most in (("a", "16"), ("b", "64")):
        files = ["-o", str(folder / f"{name}.cache"), "--save-stats", str(folder / f"{name}.stats")]
        assert main([MODEL, DATA, *FEW[2:], "--max-samples", most, "--check-samples", "0", "-q", *files]) == 0
    return folder


def test_one_run(job: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "r.html"
    assert main(["report", str(job / "a.stats"), MODEL, "-o", str(out)]) == 0
    assert f"wrote {out} ({out.stat().st_size:,} bytes)" in capsys.readouterr().out
    page = Text(out)
    assert "Not measured yet" in page.text and page.rows > 3 and "What moved" not in page.text
    assert f"onnx-trtcal solve {job / 'a.stats'} {MODEL}" in page.text
    again = tmp_path / "again.html"
    assert main(["report", str(job / "a.stats"), MODEL, "-o", str(again), "-q"]) == 0
    assert again.read_bytes() == out.read_bytes()


def test_the_page_stands_in_the_working_directory_by_default(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(job / "a.cache"), MODEL, "-q"]) == 0
    assert "scales of the cache a.cache" in Text(tmp_path / "digits_mlp.report.html").text


def test_two_runs_a_cache_and_measurements(job: Path, tmp_path: Path, capsys: Capture) -> None:
    source = ["--cache", str(job / "b.cache"), *FEW]
    for verb in ("evaluate", "sensitivity"):
        assert main([verb, MODEL, TEST, *source, "--json"]) == 0
        (tmp_path / f"{verb}.json").write_text(capsys.readouterr().out)
    out = tmp_path / "r.html"
    given = [str(job / "a.stats"), str(job / "b.stats"), MODEL, "--cache", str(job / "a.cache")]
    given += [
        "--evaluation",
        str(tmp_path / "evaluate.json"),
        "--evaluation",
        str(tmp_path / "sensitivity.json"),
    ]
    assert main(["report", *given, "-o", str(out), "--method", "mse"]) == 0
    page = Text(out)
    assert "What moved since the run before" in page.text and "Measured on 16 samples" in page.text
    assert "Groups that cost most" in page.text and "method mse" in page.text
    for name in ("a.stats", "b.stats", "a.cache", "evaluate.json"):
        assert name in page.text


@pytest.mark.parametrize(
    "given",
    [
        ["DATA", MODEL],
        ["a.stats", "b.stats", "a.stats", MODEL],
        ["a.stats", MODEL, "--evaluation", "a.cache"],
        ["a.stats", MODEL, "--cache", "a.stats"],
        ["a.stats", MODEL, "-o", "a.stats"],
        ["a.stats", str(MODELS / "digits_resnet.onnx")],
    ],
)
def test_what_makes_no_page_is_refused(given: list[str], job: Path, tmp_path: Path, capsys: Capture) -> None:
    words = [
        str(job / word) if word.startswith(("a.", "b.")) else DATA if word == "DATA" else word
        for word in given
    ]
    out = tmp_path / "r.html"
    words += [] if "-o" in words else ["-o", str(out)]
    before = (job / "a.stats").read_bytes()
    assert main(["report", *words]) == 1
    assert "to fix:" in capsys.readouterr().err
    assert not out.exists() and (job / "a.stats").read_bytes() == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nowhere.stats", MODEL], "no such statistics file or cache"),
        ([MODEL, "a.stats"], "give the model last"),
    ],
)
def test_what_is_missing_or_swapped_is_named(
    given: list[str], said: str, job: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(job)
    assert main(["report", *given, "-o", "none.html"]) == 1
    assert said in capsys.readouterr().err


@needs_compiler
@pytest.mark.slow
def test_the_engine(job: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    assert main(["report", str(job / "a.stats"), MODEL, "--compile", "-o", str(out), "-q"]) == 0
    page = Text(out)
    assert (
        "The engine that NVIDIA’s compiler makes of it" in page.text
        and "kernels in running order" in page.text
    )
    assert re.search(r"layers in INT8\s*\d of 3", page.text)


def test_calibrate_and_quantize(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([MODEL, DATA, *FEW, "--report", "c.html", "--save-stats", "c.stats", "-q"]) == 0
    page = Text(tmp_path / "c.html")
    assert "Measured on 4 samples" in page.text and "digits_mlp.calibration.cache.json" in page.text
    assert "--calib=digits_mlp.calibration.cache" in page.text
    assert (
        main(["quantize", MODEL, "c.stats", "--report", "q.html", "-o", "m.int8.onnx", "--json", "-q"]) == 0
    )
    page = Text(tmp_path / "q.html")
    assert "trtexec --onnx=m.int8.onnx" in page.text and "m.int8.onnx" in page.text


def test_evaluate_and_sensitivity(job: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "e.html"
    assert main(["evaluate", MODEL, TEST, *FEW, "--stats", str(job / "b.stats"), "--report", str(out)]) == 0
    assert f"wrote {out}" in capsys.readouterr().out
    assert "Measured on 16 samples" in Text(out).text
    assert (
        main(
            [
                "sensitivity",
                MODEL,
                TEST,
                *FEW,
                "--cache",
                str(job / "b.cache"),
                "--report",
                str(out),
                "--json",
            ]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["samples"] == 16
    assert "Groups that cost most" in Text(out).text


def test_evaluate_a_model_that_is_quantized_already(job: Path, tmp_path: Path) -> None:
    qdq, out = tmp_path / "q.onnx", tmp_path / "e.html"
    assert main(["quantize", MODEL, str(job / "a.cache"), "-o", str(qdq), "--exclude", "MatMul", "-q"]) == 0
    assert main(["evaluate", MODEL, TEST, *FEW, "--qdq", str(qdq), "--report", str(out), "-q"]) == 0
    text = out.read_text(encoding="utf-8")
    assert len(re.findall('data-p="float"', text)) == 1 and len(re.findall('data-p="int8"', text)) == 2


@pytest.mark.slow
def test_tune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "tune",
        MODEL,
        DATA,
        "--eval",
        TEST,
        *FEW,
        "--eval-samples",
        "32",
        "--no-compile",
        "--report",
        "t.html",
        "-q",
    ]
    assert main(words) in (0, 1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines if "t.html" in line] == [["wrote", "t.html"]]
    assert lines.index("the same model again:") > max(lines.index(each) for each in lines if "t.html" in each)
    assert next(each for each in lines if each.startswith(("taken", "wrote"))).startswith("taken")
    page = Text(tmp_path / "t.html")
    assert "The accuracy target is" in page.text and "What tune tried" in page.text and "(taken)" in page.text


def test_a_report_does_not_overwrite_an_input(job: Path, capsys: Capture) -> None:
    for verb in ("evaluate", "sensitivity"):
        given = [verb, MODEL, TEST, *FEW, "--stats", str(job / "a.stats"), "--report", str(job / "a.stats")]
        assert main(given) == 1
        assert "would overwrite an input" in capsys.readouterr().err
