"""Data by URL: the same samples under the same names as from a disk, and nothing but what was named."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.small import CPU, network, samples, write_folder

from onnx_trtcal import collect
from onnx_trtcal.data.remote import RemotePath, is_url, shown_path
from onnx_trtcal.data.shard import Shard, Sharded
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.errors import DataError
from onnx_trtcal.stats.store import dumps
from onnx_trtcal.support.input_spec import InputSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

fsspec = pytest.importorskip("fsspec")

VECTOR = (InputSpec("x", np.dtype(np.float32), ("N", 2)),)
IMAGE = (InputSpec("x", np.dtype(np.float32), ("N", 3, 2, 2)),)


@pytest.fixture(autouse=True)
def store() -> Iterator[object]:
    """fsspec's file system in memory, empty before and after."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def upload(folder: Path, url: str) -> str:
    system, root = fsspec.core.url_to_fs(url)
    for file in folder.rglob("*"):
        if file.is_file():
            system.pipe_file(f"{root}/{file.relative_to(folder).as_posix()}", file.read_bytes())
    return url


def given(data: object, inputs: tuple[InputSpec, ...] = VECTOR) -> dict[str, list[float]]:
    """The samples by name."""
    source = open_source(data, inputs)
    return {sample.name: sample.arrays[inputs[0].name].ravel().tolist() for sample in source}


def fill(folder: Path) -> Path:
    for index, name in enumerate(("s2.npy", "s10.npy", "sub dir/s1.npy", "sub dir/s#3.npy")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / name, np.array([[index, -index]] * (index + 1), np.float32))
    (folder / "notes.md").write_text("")
    for hidden in (".s4.npy", ".cache/s5.npy", "__MACOSX/s6.npy"):
        (folder / hidden).parent.mkdir(exist_ok=True)
        (folder / hidden).write_bytes(b"no array")
    return folder


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("s3://user:pass@word@bucket/x", "s3://bucket/x"),
        ("https://user:word@host:80/a@b.npy?SECRET", "https://host:80/a@b.npy"),
        ("simplecache::https://token@host/a?sig=SECRET", "simplecache::https://host/a"),
        ("s3://bucket/s?.npy", "s3://bucket/s?.npy"),
        ("s3://bucket/a.npy?versionId=SECRET", "s3://bucket/a.npy"),
        ("folder/what?is=this@place.npy", "folder/what?is=this@place.npy"),
    ],
)
def test_what_is_shown_of_a_url_holds_no_secret(given: str, shown: str) -> None:
    assert shown_path(given) == shown


def test_a_directory_is_as_on_a_disk(tmp_path: Path) -> None:
    local = fill(tmp_path / "data")
    url = upload(local, "memory://bucket/set")
    assert given(url) == given(local) == given(f"file://{local}") and len(given(url)) == 10
    assert given(f"{url}/") == given(local)
    assert open_source(url, VECTOR).description == open_source(local, VECTOR).description
    assert open_source(url, VECTOR).remote and not open_source(local, VECTOR).remote


def test_globs_files_and_several_are_as_on_a_disk(tmp_path: Path) -> None:
    local = fill(tmp_path / "data")
    shutil.rmtree(local / "__MACOSX")
    url = upload(local, "memory://bucket/set")
    for inside in ("*.npy", "**/*.npy", "s?.npy", "sub dir/s[!0-9]*.npy", "**", "s[0-9]*", "s2.npy", "sub*"):
        assert given(f"{url}/{inside}") == given(f"{local}/{inside}") != {}, inside
    several = ["sub dir", "s10.npy", "*2.npy"]
    assert given([f"{url}/{each}" for each in several]) == given([f"{local}/{each}" for each in several])
    assert list(given([f"{url}/sub dir", str(local / "s2.npy")])) == list(
        given([f"{local}/sub dir", local / "s2.npy"])
    )


def test_every_format(tmp_path: Path) -> None:
    row = np.array([[1, 2], [3, 4]], np.float32)
    for name in ("npz", "npzc", "pb", "jsonl", "json", "safetensors", "parquet"):
        folder = tmp_path / name
        folder.mkdir()
        match name:
            case "npz" | "npzc":
                (np.savez if name == "npz" else np.savez_compressed)(folder / "a.npz", x=row)
            case "pb":
                from onnx import numpy_helper

                (folder / "a.pb").write_bytes(numpy_helper.from_array(row).SerializeToString())
            case "jsonl":
                (folder / "a.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in row.tolist()))
            case "json":
                (folder / "a.json").write_text(json.dumps([{"x": each} for each in row.tolist()]))
            case "safetensors":
                pytest.importorskip("safetensors.numpy").save_file({"x": row}, folder / "a.safetensors")
            case "parquet":
                pyarrow = pytest.importorskip("pyarrow.parquet")
                import pyarrow as pa

                pyarrow.write_table(pa.table({"x": row.tolist()}), folder / "a.parquet")
        url = upload(folder, f"memory://{name}")
        assert given(url) == given(folder) and len(given(url)) == 2, name


def test_images(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(3):
        Image.new("RGB", (2, 2), (number, 0, 255)).save(tmp_path / f"{number}.png")
    url = upload(tmp_path, "memory://images")
    assert given(url, IMAGE) == given(tmp_path, IMAGE) and len(given(url, IMAGE)) == 3


def test_statistics_of_shards_of_a_url_are_those_of_the_folder(tmp_path: Path) -> None:
    local = write_folder(tmp_path / "data", samples(5))
    url = upload(local, "memory://elsewhere/d")
    model = network()
    for index in (1, 2):
        shard = Shard(index, 2)
        assert dumps(collect(model, url, CPU, shard=shard)) == dumps(collect(model, local, CPU, shard=shard))


def test_of_arrays_of_other_shards_only_the_header_is_read(tmp_path: Path, monkeypatch) -> None:
    for number in range(6):
        np.save(tmp_path / f"{number}.npy", np.full((1, 2), number, np.float32))
    url = upload(tmp_path, "memory://arrays")
    whole = []
    read = RemotePath.read_bytes
    monkeypatch.setattr(RemotePath, "read_bytes", lambda self: whole.append(self.name) or read(self))
    source = open_source(Sharded(url, Shard(2, 3)), VECTOR)
    assert source.count == 2 and not whole
    assert [sample.arrays["x"][0] for sample in source] == [1, 4]
    assert whole == ["1.npy", "4.npy"]


def test_a_large_array_is_read_in_pieces(tmp_path: Path, monkeypatch) -> None:
    np.save(tmp_path / "a.npy", np.arange(20, dtype=np.float32).reshape(10, 2))
    url = upload(tmp_path, "memory://large")
    monkeypatch.setattr("onnx_trtcal.data.remote._WHOLE", 16)
    monkeypatch.setattr(RemotePath, "read_bytes", lambda self: pytest.fail("read whole"))
    assert [sample.arrays["x"][0] for sample in open_source(Sharded(url, Shard(4, 4)), VECTOR)] == [6, 14]


def test_what_fails_for_a_moment_is_tried_again(tmp_path: Path, monkeypatch) -> None:
    np.save(tmp_path / "a.npy", np.ones((1, 2), np.float32))
    url = upload(tmp_path, "memory://flaky")
    monkeypatch.setattr("onnx_trtcal.data.remote._PAUSE", 0)
    system = fsspec.filesystem("memory")
    real, failures = system.cat_file, []

    def flaky(key: str, **pieces: int) -> bytes:
        if not pieces and len(failures) < 2:
            failures.append(key)
            raise OSError("reset by peer")
        return real(key, **pieces)

    monkeypatch.setattr(type(system), "cat_file", lambda self, key, **pieces: flaky(key, **pieces))
    assert len(given(url)) == 1 and len(failures) == 2
    monkeypatch.setattr(
        type(system), "cat_file", lambda self, key, **pieces: real(key, **pieces) if pieces else 1 / 0
    )
    with pytest.raises(DataError, match="cannot be reached: division by zero") as error:
        given(url)
    assert error.value.where == "memory://flaky/a.npy"


class TestRefusals:
    def refused(self, data: object) -> DataError:
        with pytest.raises(DataError) as error:
            given(data)
        return error.value

    def test_nothing_there(self) -> None:
        for url in ("memory://none", "memory://none/a.npy"):
            error = self.refused(url)
            assert "there is no" in error.what and error.where == url
        fsspec.filesystem("memory").pipe_file("/some/readme.md", b"")
        assert self.refused("memory://some").what == "the directory holds no calibration data: found 1 .md"
        assert (
            "nothing usable matches 'memory://some/*.npy': no file at all"
            in self.refused("memory://some/*.npy").what
        )

    def test_a_package_is_missing(self, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "s3fs", None)
        error = self.refused("s3://user:secret@bucket/x")
        assert error.fix == "pip install s3fs" and error.where == "s3://bucket/x"
        monkeypatch.setitem(sys.modules, "aiohttp", None)
        monkeypatch.delitem(sys.modules, "fsspec.implementations.http", raising=False)
        assert self.refused("https://localhost/x.npy").fix == "pip install 'fsspec[http]'"
        assert "Protocol not known: nope" in self.refused("nope://x/y").what
        monkeypatch.setitem(sys.modules, "fsspec.core", None)
        error = self.refused("memory://x")
        assert (
            error.what == "reading memory:// needs the package fsspec" and "onnx_trtcal[remote]" in error.fix
        )

    @pytest.mark.parametrize(
        ("raised", "said"),
        [
            (PermissionError("Forbidden"), "access was refused: Forbidden"),
            (
                type("NoCredentialsError", (Exception,), {})("Unable to locate"),
                "access was refused: Unable to locate",
            ),
            (
                OSError("no route to https://h/x?sig=abc&y=1 ok"),
                "this cannot be reached: no route to https://h/x ok",
            ),
            (FileNotFoundError("x"), "there is no such file or directory"),
        ],
    )
    def test_a_store_that_does_not_answer(self, monkeypatch, raised: Exception, said: str) -> None:
        def find(*_: object, **__: object) -> None:
            raise raised

        monkeypatch.setattr(type(fsspec.filesystem("memory")), "find", find)
        error = self.refused("memory://b/x")
        assert error.what == said and error.where == "memory://b/x"

    def test_lists_neither_lie_elsewhere_nor_name_what_does(self, tmp_path: Path) -> None:
        upload(fill(tmp_path / "data"), "memory://bucket")
        assert "has to be a local file" in self.refused("memory://bucket/all.txt").what
        listing = tmp_path / "l.txt"
        listing.write_text("https://localhost:1/s2.npy\n")
        error = self.refused(listing)
        assert "name no file" in error.what and "addresses in a list are not downloaded" in error.fix

    def test_python_files_are_not_fetched(self) -> None:
        with pytest.raises(Exception, match=r"no such file"):
            open_source("http://127.0.0.1:9/loader.py", VECTOR)


def test_what_is_a_url() -> None:
    assert all(map(is_url, ("s3://b", "gs://b/x", "HTTPS://h/x", "simplecache::s3://b/x", "abfs://c@a/x")))
    assert not any(map(is_url, ("data", "C:\\data", "C:/x", "./s3:/x", "file:///x", "a::b", "data/x://y")))


class _Server(SimpleHTTPRequestHandler):
    """Serves a folder, and links from every listing to what was not named."""

    asked: list[str]
    status = 0  # what every request is refused with

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.status:
            self.send_error(self.status)
            return
        super().do_GET()

    def list_directory(self, path: str) -> None:  # type: ignore[override]
        links = [entry.name + "/" * entry.is_dir() for entry in Path(path).iterdir()]
        from urllib.parse import quote

        places = [
            *map(quote, links),
            "../",
            "/",
            "/private/",
            "../private/",
            "..%2fprivate/",
            "?C=N;O=D",
            "x/../../private/",
        ]
        places += [
            "http://127.0.0.1:9/other.npy",
            "//127.0.0.1:9/other.npy",
            "./.npy",
            f"/set/{quote(links[0])}",
        ]
        body = "".join(f'<a href="{place}">x</a>' for place in places).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_a_web_server_and_nothing_it_links_to(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    fill(tmp_path / "set")
    fill(tmp_path / "private")
    asked: list[str] = []
    handler = type("Handler", (_Server,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/set"
            assert given(url) == given(tmp_path / "set")
            assert given(f"{url}/sub%20dir/*1.npy") == given(str(tmp_path / "set" / "sub dir" / "*1.npy"))
            assert given(f"{url}/sub%20dir/s1.npy?token=secret") == given(
                tmp_path / "set" / "sub dir" / "s1.npy"
            )
            with pytest.raises(DataError, match="no such file") as error:
                given(f"{url}/gone.npy?token=secret")
            assert error.value.where == f"{url}/gone.npy"
            with pytest.raises(DataError, match="directory has a query") as error:
                given(f"{url}?token=secret")
            assert error.value.where == url
            for status, said in ((403, "access was refused"), (500, "this cannot be reached")):
                handler.status = status
                with pytest.raises(DataError, match=said) as error:
                    given(f"{url.replace('//', '//me:secret@')}/s2.npy?token=secret")
                assert error.value.where == f"{url}/s2.npy" and "secret" not in str(error.value)
        finally:
            server.shutdown()
            thread.join()
    assert asked and all(path.startswith("/set") for path in asked), asked
