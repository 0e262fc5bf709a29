"""The short form of the campaign: fixed seeds, every reader, and whether it would notice what it looks for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import onnx
import pytest
from google.protobuf.message import Error as ProtobufError

from onnx_trtcal.data.formats import FORMATS

ROOT = Path(__file__).resolve().parents[2]
FUZZ = [sys.executable, str(ROOT / "tools" / "fuzz.py")]

pytestmark = [pytest.mark.slow, pytest.mark.tools]

READERS = (
    ("npy", "npz", "images", "pb tensors", "jsonl", "safetensors", "parquet", "polygraphy", "file lists"),
    (
        "labels csv",
        "labels json",
        "labels npy",
        "boxes json",
        "toml",
        "rename csv",
        "rename json",
        "boxes yolo",
        "masks",
        "hints",
    ),
    ("onnx", "statistics", "caches", "sidecars", "checkpoints", "logs"),
)


@pytest.mark.parametrize(("readers", "inputs"), list(zip(READERS, (40, 40, 4), strict=True)))
def test_no_input_is_a_finding(readers: tuple[str, ...], inputs: int, tmp_path: Path) -> None:
    only = [word for reader in readers for word in ("--only", reader)]
    command = [*FUZZ, "--inputs", str(inputs), "--seed", "2026", "--jobs", "4", *only]
    done = subprocess.run(
        [*command, "--work", str(tmp_path / "work")],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    assert [row[0] for row in rows[2:-1]] == list(readers)
    assert all(int(row[1].replace(",", "")) > 0 for row in rows[2:])


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of good files, for runs of a child in which a reader misbehaves."""
    sys.path.insert(0, str(ROOT / "tools"))
    from fuzzing.campaign import make_work

    work = tmp_path_factory.mktemp("fuzz") / "work"
    make_work(work)
    yield work
    sys.path.remove(str(ROOT / "tools"))


def test_every_good_file_is_accepted(campaign: Path, tmp_path: Path) -> None:
    from fuzzing.targets import TARGETS

    refused = []
    for reader, target in TARGETS.items():
        for seed in target.seeds:
            good = campaign / "good" / seed
            if not good.exists() and reader in ("torch", "safetensors", "parquet"):
                continue  # the package that would read it is not installed
            path = tmp_path / f"input{target.suffix or good.suffix}"
            path.write_bytes(good.read_bytes())
            if not target.use(path, campaign / "good"):
                refused.append((reader, seed))
    # The subgraphs are there for the readers of models, and have no layer to quantize.
    assert refused == [("onnx", "branches.onnx")]


def test_inputs_are_the_same_wherever_they_are_made(campaign: Path) -> None:
    from fuzzing.child import input_of
    from fuzzing.targets import TARGETS

    for reader, target in TARGETS.items():
        if not any((campaign / "good" / seed).exists() for seed in target.seeds):
            continue
        made = [input_of(reader, campaign / "good", 5, index) for index in range(6)]
        assert made == [input_of(reader, campaign / "good", 5, index) for index in range(6)]
        assert len({data for data, _ in made}) > 3, reader


MISBEHAVIOUR = {
    "traceback": "raise ZeroDivisionError",
    "hang": "while True: pass",
    "escape": "open('/etc/passwd').close()",
    "raw output": "raise targets.RawOutputError('x')",
    "crash": "os.kill(os.getpid(), signal.SIGSEGV)",
}


@pytest.mark.parametrize("kind", MISBEHAVIOUR)
def test_a_reader_that_misbehaves_is_found(kind: str, campaign: Path) -> None:
    """One input in a child whose reader does what the campaign is there to find."""
    code = f"""
import dataclasses, os, signal, sys
from pathlib import Path
from fuzzing import child, targets
child.CPU_SECONDS = 0.3
calls = []
def use(path, good):
    calls.append(path)
    if len(calls) == 3:
        {MISBEHAVIOUR[kind]}
    return True
targets.TARGETS["npy"] = dataclasses.replace(targets.TARGETS["npy"], use=use)
child.run("npy", Path({str(campaign)!r}), 1, 10, 4)
"""
    (campaign / "findings").unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tools")])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    lines = (campaign / "findings").read_text().splitlines()
    if kind == "crash":
        assert done.returncode == -signal.SIGSEGV and not lines
        assert (campaign / "at").read_text().split()[0] == "11"
        return
    assert done.returncode == 0, done.stderr
    assert [(found["kind"], found["index"]) for found in map(json.loads, lines)] == [(kind, 11)]
    assert (campaign / "at").read_text().split() == ["14", "3"]


def test_every_reader_is_in_the_short_form() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    from fuzzing.targets import TARGETS

    assert {reader for readers in READERS for reader in readers} == TARGETS.keys() - {"torch"}


def test_every_format_of_data_has_a_good_file() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    from fuzzing.targets import TARGETS

    good = {Path(seed).suffix for target in TARGETS.values() for seed in target.seeds}
    assert [form.name for form in FORMATS if not good & set(form.suffixes)] == []


def test_damaged_statistics_keep_their_checksum(campaign: Path) -> None:
    """Damage behind the checksum is what the reader has to withstand."""
    import hashlib

    from fuzzing.structured import statistics

    good = (campaign / "good" / "good.stats").read_bytes()
    made = [statistics(good, good, Random(number)) for number in range(100)]
    right = [data for data in made if hashlib.sha256(data[:-32]).digest() == data[-32:] and data != good]
    assert len(right) > 50


def test_a_model_that_protobuf_finds_too_deep_stays_as_it_is(
    campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mutation that fails would end the campaign."""
    from fuzzing import structured

    deep = next(seed for seed in range(100) if Random(seed).choice((2, 20, 60)) == 60)

    def nested_and_copied(model: onnx.ModelProto, _random: Random) -> None:
        structured._nest(model, Random(deep))
        model.graph.node.extend(model.graph.node[-1:])

    with pytest.raises(ProtobufError):
        nested_and_copied(onnx.ModelProto(), Random(0))
    monkeypatch.setattr(structured, "_ODDITIES", (nested_and_copied,))
    good = (campaign / "good" / "model.onnx").read_bytes()
    made = [structured.onnx_model(good, good, Random(number)) for number in range(50)]
    assert len({*made}) > 25
