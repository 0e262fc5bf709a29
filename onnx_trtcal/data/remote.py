"""Data by URL, such as `s3://bucket/images`: files of any file system that fsspec knows.

A URL that ends like a data file is a file, any other is a directory. Nothing is read but what lies under a URL that was
named: links that a web server's listing has to other places are not followed, and addresses in lists are not either.
What messages show of a URL is without user, password and query.
"""

from __future__ import annotations

import io
import re
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote

from onnx_trtcal.data.patterns import matching
from onnx_trtcal.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["DataPath", "RemotePath", "data_path", "file_size", "is_url", "local_file", "shown_path"]

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+::)*[A-Za-z][A-Za-z0-9+.-]+://")
_WEB = ("http", "https")
_DEPTH = 32  # of folders in a web server's listings, which may go in circles
_WHOLE = 16 << 20  # bytes of a file that is read in one go, not in pieces
_HEAD = 4096
_TRIES = 3
_PAUSE = 0.3  # seconds before the second try
_REFUSED = re.compile(r"credential|forbidden|access ?denied|unauthori|\b40[13]\b", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Whether a path is the URL of something that is not a local file."""
    return _URL.match(text) is not None and not text.lower().startswith("file:")


def shown_path(text: str) -> str:
    """A path or URL as a user gave it, without the secrets that a URL may hold."""
    return _without_secrets(text) if is_url(text) else text


def data_path(text: str) -> DataPath:
    """What a user gives as the path of data: a local path, or a URL.

    Raises:
        DataError: when the URL is of a kind that is not known, or a package for it is missing.
    """
    if text.lower().startswith("file://"):
        from urllib.request import url2pathname  # which imports HTTP and TLS

        return Path(url2pathname(text[len("file://") :]))
    return RemotePath.of(text) if is_url(text) else Path(text)


@dataclass(frozen=True)
class RemotePath:
    """A file or directory of a remote file system, with those of a Path's members that reading data takes.

    Attributes:
        system: fsspec's file system.
        key: what that calls it.
        shown: its URL for messages, which holds no secret.
        name: the last part of it.
        entries: what was found in it: name inside it -> (what the file system calls it, bytes if known).
    """

    system: Any
    key: str
    shown: str
    name: str
    size: int | None = None
    entries: Mapping[str, tuple[str, int | None]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, url: str) -> RemotePath:
        """The path that a URL names.

        Raises:
            DataError: as `data_path`.
        """
        shown = _without_secrets(url)
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise DataError(
                f"reading {url.partition('://')[0]}:// needs the package fsspec",
                where=shown,
                fix="pip install 'onnx_trtcal[remote]', and the package for that store, such as s3fs or gcsfs",
            ) from error
        try:
            system, key = url_to_fs(url)
        except ImportError as error:
            raise DataError(
                f"a package for this kind of URL is missing: {error}", where=shown, fix=_package(url)
            ) from error
        except ValueError as error:
            raise DataError(
                f"this URL cannot be read: {error}", where=shown, fix="check the part before ://"
            ) from error
        except Exception as error:
            raise _failed(error, shown) from error
        name = shown.rstrip("/").rpartition("/")[2]
        return cls(system, key, shown, unquote(name.partition("#")[0]) if _protocol(system) in _WEB else name)

    def __str__(self) -> str:
        return self.shown

    def __truediv__(self, name: PurePath) -> RemotePath:
        inside = name.as_posix()
        key, size = self.entries.get(inside, (f"{self.key.rstrip('/')}/{inside}", None))
        return RemotePath(self.system, key, f"{self.shown.rstrip('/')}/{inside}", name.name, size)

    @property
    def suffix(self) -> str:
        """The end of its name, with the dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> str:
        """The directory it is in, for messages."""
        return self.shown.rpartition("/")[0]

    def found(self) -> dict[str, tuple[str, int | None]]:
        """The files in a directory and its sub-folders, by their paths inside: (what the file system calls it, bytes).

        Raises:
            DataError: when it cannot be listed.
        """
        with _asking(self.shown):
            if _protocol(self.system) in _WEB:
                if "?" in self.key:
                    raise DataError(
                        "the address of a web server's directory has a query, which its files' addresses lack",
                        where=self.shown,
                        fix="leave the query out, or give the address of each file with its own",
                    )
                return dict(_web_files(self.system, self.key.rstrip("/"), "", _DEPTH))
            everything = self.system.find(self.key, detail=True)
        root = self.key.rstrip("/") + "/"
        return {
            key.removeprefix(root): (key, entry.get("size"))
            for key, entry in everything.items()
            if key.startswith(root) and _is_inside(key.removeprefix(root))
        }

    @property
    def pattern(self) -> str:
        """What follows the last directory before the first wildcard; empty where there is none."""
        # In a web address, ? begins the query.
        wild = re.search(r"[*\[]" if _protocol(self.system) in _WEB else r"[*?\[]", self.key)
        return self.key[self.key.rfind("/", 0, wild.start()) + 1 :] if wild else ""

    def matches(self) -> tuple[RemotePath, dict[str, tuple[str, int | None]]]:
        """The directory before the pattern, and the files in it that match: as `found` gives them.

        Raises:
            DataError: when it cannot be listed.
        """
        pattern = self.pattern
        at = self.shown.rfind(pattern)
        shown = self.shown[:at].rstrip("/") if at > 0 else self.shown
        root = RemotePath(self.system, self.key.removesuffix(pattern).rstrip("/"), shown, "")
        everything = root.found()
        found = matching(pattern, everything)
        return replace(root, entries=everything), {name: everything[name] for name in found}

    def exists(self) -> bool:
        """Whether there is a file here.

        Raises:
            DataError: when that cannot be found out.
        """
        with _asking(self.shown):
            try:
                self.system.info(self.key)
            except FileNotFoundError:
                return False
        return True

    def read_bytes(self) -> bytes:
        """All of it; what fails for a moment is tried again.

        Raises:
            DataError: when it cannot be had.
        """
        with _asking(self.shown):
            return self._read_patiently()

    def _read_patiently(self) -> bytes:
        for last in reversed(range(_TRIES)):
            try:
                return bytes(self.system.cat_file(self.key))
            except (FileNotFoundError, PermissionError):
                raise
            except Exception:
                if not last:
                    raise
                time.sleep(_PAUSE * (_TRIES - last))
        raise AssertionError

    def read_head(self) -> bytes:
        """Its first bytes, some thousands.

        Raises:
            DataError: when they cannot be had.
        """
        with _asking(self.shown):
            return bytes(self.system.cat_file(self.key, start=0, end=_HEAD))[:_HEAD]

    def is_small(self) -> bool:
        """Whether it is best read in one go."""
        return file_size(self) <= _WHOLE

    def open(self) -> IO[bytes]:
        """Its bytes as a stream: in memory, or in pieces where it is large.

        Raises:
            DataError: when it cannot be had.
        """
        if self.is_small():
            return io.BytesIO(self.read_bytes())
        with _asking(self.shown):
            opened: IO[bytes] = self.system.open(self.key, "rb")
        return opened


DataPath = Path | RemotePath


def file_size(path: DataPath) -> int:
    """How many bytes a file has."""
    if isinstance(path, Path):
        return path.stat().st_size
    if path.size is not None:
        return path.size
    with _asking(path.shown):
        size = path.system.info(path.key).get("size")
    # A web server need not say.
    return len(path.read_bytes()) if size is None else int(size)


@contextmanager
def local_file(path: DataPath) -> Iterator[Path]:
    """The file itself, or a copy of it that lasts as long as the block, for what reads local files only."""
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="onnx_trtcal-") as folder:
        copy = Path(folder) / f"data{path.suffix}"
        copy.write_bytes(path.read_bytes())
        yield copy


def _web_files(
    system: Any, url: str, inside: str, depth: int
) -> Iterator[tuple[str, tuple[str, int | None]]]:
    """The files under a web server's directory; `inside` is the path of `url` below the one that was named."""
    for entry in system.ls(f"{url}/", detail=True):
        key = str(entry["name"])
        # Every listing is that of one directory: what lies elsewhere is none of it.
        name = key.rstrip("/").removeprefix(f"{url}/")
        plain = unquote(name)
        if (
            not key.startswith(f"{url}/")
            or "/" in plain
            or "?" in name
            or "#" in name
            or not _is_inside(plain)
        ):
            continue
        if not key.endswith("/"):
            yield inside + plain, (key, entry.get("size"))
        elif depth:
            yield from _web_files(system, key.rstrip("/"), f"{inside}{plain}/", depth - 1)


def _is_inside(name: str) -> bool:
    return bool(name) and "\0" not in name and not {"", ".", ".."} & set(name.split("/"))


@contextmanager
def _asking(shown: str) -> Iterator[None]:
    """The boundary of asking a file system: whatever fails there becomes one of the package's errors."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise _failed(error, shown) from error


def _failed(error: Exception, shown: str) -> DataError:
    """The error for a file system that does not answer as it should."""
    said = _without_secrets(str(error).strip().partition("\n")[0]) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return DataError("there is no such file or directory", where=shown, fix="check the URL")
    if isinstance(error, PermissionError) or _REFUSED.search(f"{type(error).__name__} {said}"):
        return DataError(
            f"access was refused: {said}",
            where=shown,
            fix="give this machine credentials as the store's own tools take them (AWS_PROFILE, or `gcloud auth "
            "application-default login`); for a public bucket set FSSPEC_S3='{\"anon\": true}'",
        )
    return DataError(f"this cannot be reached: {said}", where=shown, fix="check the URL and the network")


def _package(url: str) -> str:
    from fsspec.registry import known_implementations

    protocols = re.findall(r"([A-Za-z][A-Za-z0-9+.-]+)(?:::|://)", url)
    for protocol in protocols:
        home = str(known_implementations.get(protocol, {}).get("class", "")).partition(".")[0]
        if home == "fsspec":
            return f"pip install 'fsspec[{protocol.removesuffix('s') if protocol == 'https' else protocol}]'"
        if home:
            return f"pip install {home}"
    return "pip install the package of fsspec for it"


def _protocol(system: Any) -> str:
    protocol = system.protocol
    return str(protocol if isinstance(protocol, str) else protocol[0])


def _without_secrets(url: str) -> str:
    """A URL, or a text with URLs in it, without user, password and query."""
    # In a web address, ? always begins the query; elsewhere it may be a wildcard.
    without_query = re.sub(
        r"(\bhttps?://[^\s?]*)\?\S*|(?<=\S)\?(?=\S*[=&])\S*", r"\1", url, flags=re.IGNORECASE
    )
    return re.sub(r"(?<=://)[^/\s]*@", "", without_query)
