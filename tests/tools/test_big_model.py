"""The model of tools/big_model.py, small: all of it folds, and no folded weight is handed over as an array."""

import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from helpers.small import CPU

from onnx_trtcal import calibrate
from onnx_trtcal.graph.model.spill import spill
from onnx_trtcal.graph.probe import probe
from onnx_trtcal.prepared import prepare

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))
import big_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("big")
    weights = big_model.make_model(found, 8e6)
    assert 4e6 < weights == (found / big_model.WEIGHTS).stat().st_size
    return found


def test_every_layer_folds_and_the_folded_model_stands_alone(folder, tmp_path):
    calibration = calibrate(folder / "model.onnx", folder / "data", replace(CPU, method="minmax"))
    assert not calibration.prepared.folds.left
    assert len(calibration.prepared.folds.folded) == len(calibration.prepared.plan.groups)
    calibration.write_folded(tmp_path / "folded.onnx")
    again = calibrate(tmp_path / "folded.onnx", folder / "data", replace(CPU, method="minmax"))
    assert not again.prepared.folds.folded
    # The folded weights are other constants, and their products other tensors.
    own = again.scales.keys() - set(again.prepared.plan.parser_names)
    shared = own & calibration.scales.keys()
    assert len(shared) == len(own)
    for name in shared:
        assert again.scales[name].scale == pytest.approx(calibration.scales[name].scale, rel=1e-5)


def test_weights_over_the_limit_are_mapped_from_a_file(folder):
    prepared = prepare(folder / "model.onnx", CPU)
    assert spill(prepared.folded, prepared.model, inline_bytes=1 << 20)
    observed = probe(prepared.folded, prepared.model, prepared.plan.observed)
    assert not observed.external
    held = onnx.ModelProto.FromString(observed.model_bytes).graph.initializer
    assert sum(tensor.ByteSize() for tensor in held) < 1 << 20
    assert (observed.directory / big_model.WEIGHTS).exists()


@pytest.mark.slow
def test_the_job_runs_in_a_process_of_its_own(folder, capfd):
    status, peak = big_model.run_job(folder, ["-q", "--provider", "cpu"])
    assert status == 0
    assert peak > 1 << 24
    assert (folder / "model.cache").exists()
