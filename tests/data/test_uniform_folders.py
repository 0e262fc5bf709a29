"""Images by name: in the order of all other data, and made into items one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from onnx_trtcal.data.input_names import path_key
from onnx_trtcal.data.items import Intake
from onnx_trtcal.data.notes import Notes
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.data.uniform_folders import ImageFiles, image_files
from onnx_trtcal.support.input_spec import InputSpec

SPEC = InputSpec("x", np.dtype(np.float32), ("N", 3, 2, 2))
INTAKE = Intake((SPEC,), lambda _: None, Notes())
PART = st.sampled_from(["a", "a1", "a2", "a10", "B", "b", "1", "01", "10", "ä", "a-1", "9b"])
NAMES = st.lists(PART, min_size=1, max_size=3).map(lambda parts: "/".join(parts) + ".png")


@given(st.lists(NAMES, min_size=1, max_size=12, unique=True))
def test_the_order_is_that_of_all_files(names: list[str]) -> None:
    # A file is never a folder, too.
    files = image_files(Path("root"), names, INTAKE)
    assert files is not None
    assert list(files.files) == [path.as_posix() for path in sorted(map(Path, names), key=path_key)]
    assert list(files[1::2].names()) == list(files.names())[1::2]


def test_what_is_not_images_alone_is_left_to_others() -> None:
    for names in (["a.png", "b.npy"], ["a.json"], ["notes.md"], [], ["x/a.png", "b.png"]):
        assert image_files(Path("root"), names, INTAKE) is None
    assert image_files(Path("root"), ["a.png"], Intake((SPEC, SPEC), lambda _: None, Notes())) is None
    nested = Intake((InputSpec("left/img", SPEC.dtype, SPEC.shape),), lambda _: None, Notes())
    assert image_files(Path("root"), ["left/img/a.png"], nested) is None
    some = image_files(Path("root"), ["b.PNG", "notes.md", "a.jpg", "labels.json"], INTAKE)
    assert isinstance(some, ImageFiles) and some.files == ["a.jpg", "b.PNG"]


def test_an_item_has_the_name_of_its_file(tmp_path: Path) -> None:
    for at, name in enumerate(("b.png", "sub/ä.png", "a\udcff.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (2, 2), (at * 51, 0, 0)).save(tmp_path / name)
    (tmp_path / "z.md").write_text("")
    source = open_source(tmp_path, [SPEC])
    assert [sample.name for sample in source] == ["a\\xff.png", "b.png", "sub/ä.png"]
    assert source.count == 3 and source.singles is not None
    assert list(source.singles.names()) == ["a\\xff.png", "b.png", "sub/ä.png"]
    assert source.description[:2] == ("3 image files in natural order", "1 other file skipped: z.md")
    assert [round(float(sample.arrays["x"].max()) * 5) for sample in source] == [2, 0, 1]
