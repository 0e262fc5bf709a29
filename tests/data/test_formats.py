"""One line in FORMATS is all that a format takes: the rest of the package and the documentation follow it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnx_trtcal.data import formats
from onnx_trtcal.data.formats import FORMATS, Format, content_of, format_names
from onnx_trtcal.data.readers.lazy_array import LoadedArray
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.errors import DataError
from onnx_trtcal.support.input_spec import InputSpec

ROOT = Path(__file__).resolve().parents[2]
INPUTS = (InputSpec("x", np.dtype(np.float32), ("N", 2)),)
PAIR = (*INPUTS, InputSpec("y", np.dtype(np.float32), ("N", 3)))


def test_names_and_suffixes() -> None:
    assert format_names() == (
        "images (PNG, JPEG, BMP, WebP, TIFF, GIF), .npy, .npz, ONNX .pb tensors, .safetensors, .pt, .parquet, .jsonl "
        "and Polygraphy's .json"
    )
    assert format_names("arrays") == ".npz and .safetensors"
    assert [content_of(Path(name)) for name in ("a.JPG", "a.npy", "b/a.NPZ", "a.pb", "a.csv", "npy")] == [
        "image", "array", "arrays", "array", None, None,
    ]  # fmt: skip
    suffixes = [suffix for form in FORMATS for suffix in form.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in suffixes)


def test_the_guide_names_every_format() -> None:
    guide = (ROOT / "tools" / "docs" / "guide" / "data.md").read_text()
    for form in FORMATS:
        assert form.name in guide or f"`{form.suffixes[0]}`" in guide


def read_text(path: Path, where: str) -> dict[str, LoadedArray]:
    rows = [line.split() for line in path.read_text().splitlines()]
    return {name: LoadedArray(np.array(values, np.float32)) for name, *values in rows}


@pytest.mark.parametrize("content", ["array", "arrays"])
def test_a_format_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: formats.Content
) -> None:
    """Files of it alone, in a directory, in sub-folders by input, and as elements of a list."""
    own = Format(".own tables", (".own",), content, read_text)
    monkeypatch.setattr(formats, "FORMATS", (*FORMATS, own))
    monkeypatch.setitem(formats._BY_SUFFIX, ".own", own)
    (tmp_path / "a.own").write_text("x 1 2\n")
    (tmp_path / "b.OWN").write_text("x 3 4\n")
    for data in (tmp_path, [tmp_path / "a.own", str(tmp_path / "b.OWN")]):
        found = np.array([sample.arrays["x"] for sample in open_source(data, INPUTS)])
        np.testing.assert_array_equal(found, [[1, 2], [3, 4]])
    (tmp_path / "a.table").touch()
    with pytest.raises(DataError) as caught:
        open_source(tmp_path / "a.table", INPUTS)
    assert caught.value.fix.endswith("and .own tables")

    (tmp_path / "a.own").write_text("x 1 2\ny 5 6 7\n")
    if content == "arrays":
        (sample,) = open_source(tmp_path / "a.own", PAIR)
        assert {name: array.tolist() for name, array in sample.arrays.items()} == {
            "x": [1, 2],
            "y": [5, 6, 7],
        }
    else:
        with pytest.raises(DataError, match=r"a \.own file holds one array, the model has 2 inputs"):
            open_source(tmp_path / "a.own", PAIR)
