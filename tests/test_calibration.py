from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers import svg, toys
from helpers.small import CPU, network, samples

from onnx_trtcal import calibrate
from onnx_trtcal.counting.convergence import Movement
from onnx_trtcal.errors import CalibrationError, OptionError
from onnx_trtcal.stats.histogram import Histogram
from onnx_trtcal.trt.cache import read_cache
from onnx_trtcal.trt.tables import TABLES, render, table_paths

if TYPE_CHECKING:
    from onnx_trtcal.calibration import Calibration


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return calibrate(network(), samples(3), CPU)


def test_a_cache_has_every_scale_under_the_header_of_the_version(
    calibration: Calibration, tmp_path: Path
) -> None:
    cache, sidecar = calibration.write_cache(tmp_path / "a.cache")
    assert (cache, sidecar) == (tmp_path / "a.cache", tmp_path / "a.cache.json")
    read = read_cache(cache)
    assert read == calibration.cache() and read.header == "TRT-100300-EntropyCalibration2"
    assert dict(read.scales) == {name: item.scale for name, item in calibration.scales.items()}
    calibration.write_cache(tmp_path / "b.cache", algorithm="MinMaxCalibration")
    assert read_cache(tmp_path / "b.cache").header == "TRT-100300-MinMaxCalibration"


def test_every_format_at_once(calibration: Calibration, tmp_path: Path) -> None:
    written = calibration.write_tables(tmp_path / "a.cache", tuple(TABLES))
    header, scales = calibration.cache().header, calibration.cache().scales
    assert [path.name for path in written] == [
        "a.cache",
        "a.flatbuffers",
        "a.ort.json",
        "a.ranges.json",
        "a.cache.json",
    ]
    for form, path in zip(TABLES, written, strict=False):
        assert path.read_bytes() == render(form, scales, header)
    assert json.loads(written[-1].read_text())["cache"]["header"] == header


def test_the_folded_model_computes_the_same(calibration: Calibration, tmp_path: Path) -> None:
    calibration.write_folded(tmp_path / "folded.onnx")
    folded = onnx.load(tmp_path / "folded.onnx")
    assert [node.op_type for node in folded.graph.node] == ["Conv", "Relu", "MaxPool", "Softmax"]
    feeds = {"x": samples(1)[0][None]}
    (got,), (want,) = toys.run(folded, feeds), toys.run(network(), feeds)
    assert abs(got - want).max() < 1e-6


class TestNothingIsWritten:
    def test_when_a_name_has_no_place_in_a_cache(self, tmp_path: Path) -> None:
        model = toys.model([toys.node("Relu", ["a\nb"], "y")], {"a\nb": ["n", 4]}, {"y": ["n", 4]})
        with pytest.raises(CalibrationError):
            calibrate(model, [samples(1)[0].ravel()[:4]], CPU).write_cache(tmp_path / "a.cache")
        assert not list(tmp_path.iterdir())

    def test_when_there_is_no_such_format(self, calibration: Calibration, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="'ort-jsn' is not a table format"):
            calibration.write_tables(tmp_path / "a.cache", ("trt", "ort-jsn"))
        assert not list(tmp_path.iterdir())

    def test_when_the_header_is_of_no_calibrator(self, calibration: Calibration, tmp_path: Path) -> None:
        with pytest.raises(CalibrationError, match="Entropy"):
            calibration.write_cache(tmp_path / "a.cache", algorithm="Entropy")
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("output", "forms", "names"),
    [
        ("a.cache", ["trt"], ["a.cache"]),
        ("a.anything", ["ort-json"], ["a.anything"]),
        ("a.calibration.cache", ["ort-json", "trt"], ["a.ort.json", "a.calibration.cache"]),
        ("a.b", ["ranges-json", "ort-flatbuffers"], ["a.ranges.json", "a.flatbuffers"]),
        ("a", ["trt", "trt"], ["a"]),
    ],
)
def test_which_file_a_format_goes_to(output: str, forms: list[str], names: list[str]) -> None:
    assert [path.name for path in table_paths(Path("folder") / output, forms).values()] == names


def test_two_formats_in_one_file_are_refused() -> None:
    with pytest.raises(OptionError, match="the same file"):
        table_paths("a.flatbuffers", ["trt", "ort-flatbuffers"])


def test_how_it_shows_itself(calibration: Calibration) -> None:
    assert repr(calibration) == "<Calibration of a model in memory: 3 samples, 7 scales by entropy>"
    scales = calibration.scales
    assert repr(scales["x"]) == f"<Scale {scales['x'].scale:.6g} of 'x' by entropy>"
    assert repr(scales["bn"]).endswith(" of 'bn' by entropy, group of 'relu'>")
    assert repr(calibration.collection) == "<Collection of 3 samples, 3 tensors>"
    html = calibration._repr_html_()
    assert html.count("<tr>") == 8 and "<td>group: relu</td>" in html


def test_a_notebook_shows_distributions_and_what_to_know(calibration: Calibration) -> None:
    html = calibration._repr_html_()
    assert html.count("<svg") == len(calibration.histograms) and html.count("<style>") == 1
    movement = Movement(0.3, "relu", 16, 64)
    odd = Histogram()
    odd.add(np.array([np.nan, 1], np.float32))
    scales = {"y": replace(calibration.scales["y"], seen=False)}
    told = replace(
        calibration, movement=movement, scales=scales, histograms={**calibration.histograms, "y": odd}
    )
    html = told._repr_html_()
    assert "scales moved by 30.0% at most over the last 16 of 64 samples (relu): more data" in html
    assert "tensor &#x27;y&#x27;: no finite value in any sample" in html and "made up" in html
    assert "tensor &#x27;y&#x27;: held NaN or Inf" in html


def test_of_very_many_scales_a_notebook_shows_the_first(calibration: Calibration) -> None:
    many = {f"t<{at}": replace(calibration.scales["x"], tensor=f"t<{at}") for at in range(75)}
    html = replace(calibration, scales=many)._repr_html_()
    assert "<td>t&lt;59</td>" in html and "t&lt;60" not in html and "… and 15 more" in html


class TestPlot:
    def test_the_chosen_threshold_is_where_its_value_is(self, calibration: Calibration) -> None:
        figure = calibration.plot("relu")
        root = svg.parse(figure.markup)
        found = svg.marks(root)
        assert set(found) == {"amax", "entropy", "minmax", "percentile:99.99", "legacy:0.999999", "mse"}
        assert [each.get("data-mark") for each in svg.styled(root, "m")] == ["entropy"]
        # Both are on one linear axis that begins at 0.
        left, amax = 46, calibration.histograms["relu"].amax
        ratio = (svg.start(found["entropy"])[0] - left) / (svg.start(found["amax"])[0] - left)
        assert ratio == pytest.approx(calibration.thresholds["relu"] / amax, rel=0.001)
        assert figure == calibration.plot("relu") and calibration.plot("relu", 480).width == 480

    def test_a_tensor_is_shown_by_the_owner_of_its_scale(self, calibration: Calibration) -> None:
        figure = calibration.plot("bn")
        assert figure.title == "Distribution of bn, by relu (group)"
        assert figure.description == calibration.plot("relu").description

    def test_a_method_that_no_histogram_solves_is_marked_too(self) -> None:
        chosen = calibrate(network(), samples(3), replace(CPU, method="percentile:90"))
        root = svg.parse(chosen.plot("relu").markup)
        assert [each.get("data-mark") for each in svg.styled(root, "m")] == ["percentile:90.0"]
        assert len(svg.marks(root)) == 7 and svg.styled(root, "c")

    @pytest.mark.parametrize(("name", "said"), [("rely", "did you mean 'relu'"), ("g", "calibration.scales")])
    def test_a_name_without_a_scale_is_refused(self, calibration: Calibration, name: str, said: str) -> None:
        with pytest.raises(OptionError, match=name) as caught:
            calibration.plot(name)
        assert said in str(caught.value.fix)

    def test_a_weight_is_shown_channel_by_channel(self, calibration: Calibration) -> None:
        figure = calibration.plot("w")
        assert figure.title == "Range of w in each output channel" and figure.description.startswith(
            "3 output"
        )
        known = replace(calibration.scales["x"], tensor="w_output", source="w", reason="constant")
        told = replace(calibration, scales={**calibration.scales, "w_output": known})
        assert told.plot("w_output") == figure

    @pytest.mark.parametrize("width", [-1, 0, 319, 10**6])
    def test_a_width_that_holds_no_figure_is_refused(self, calibration: Calibration, width: int) -> None:
        with pytest.raises(OptionError, match="cannot be"):
            calibration.plot("relu", width)
        svg.parse(calibration.plot("relu", 320).markup)

    def test_a_scale_without_values_is_refused(self, calibration: Calibration) -> None:
        known = replace(calibration.scales["x"], tensor="k", source="k", reason="constant")
        with pytest.raises(OptionError, match="known without data"):
            replace(calibration, scales={**calibration.scales, "k": known}).plot("k")


def test_a_bar_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    plain = calibrate(network(), samples(3), CPU)
    assert capsys.readouterr().err == ""
    assert calibrate(network(), samples(3), CPU, progress=True).cache() == plain.cache()
    assert "3/3" in capsys.readouterr().err


@pytest.mark.slow
def test_a_transform_gives_the_scales_of_what_it_returns() -> None:
    def double(element: tuple[int, np.ndarray]) -> dict[str, np.ndarray]:
        return {"x": 2 * element[1]}

    wanted = calibrate(network(), [2 * each for each in samples(5)], CPU).cache()
    data = list(enumerate(samples(5)))
    for form in (data, iter(data), lambda: iter(data)):
        assert calibrate(network(), form, CPU, transform=double).cache() == wanted
    # Methods that read the data again, or keep samples of it, transform them as well.
    for method in ("mxnet", "easyquant"):
        options = replace(CPU, method=method)
        again = calibrate(network(), data, options, transform=double)
        assert again.cache() == calibrate(network(), [2 * each for each in samples(5)], options).cache()
