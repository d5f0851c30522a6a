"""SmartRemoteFileSystem: any URL for programs that read through fsspec: pandas, pyarrow, Dask, Ray.

    fsspec.open("smartremote::https://example.com/table.parquet")
    fsspec.filesystem("smartremote").cat_file("https://example.com/disk.iso", 32768, 34816)

Paths are whole URLs. It reads and never writes, and has nothing to list: HTTP knows no folders. All file systems of
one process with the same options share a manager, whatever thread they are used in. fsspec finds this module by an
entry point; nothing else of the package imports it, and fsspec is an optional extra.
"""

from __future__ import annotations

import atexit
import operator
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, SupportsIndex

from fsspec.spec import AbstractFileSystem

from ..errors import RefusedError
from ..transport.options import Options
from .manager import DownloadManager
from .remote_file import RemoteFile

try:  # how newer versions hand on the second half of "smartremote::https://…"
    from fsspec.implementations.chained import ChainedFileSystem
except ImportError:
    ChainedFileSystem = AbstractFileSystem

_lock = threading.Lock()  # guards _managers
_managers: dict[tuple[object, ...], DownloadManager] = {}


class SmartRemoteFileSystem(ChainedFileSystem):
    """Reads URLs through the blocks of a `DownloadManager`. Errors are those of smartremote, most of them OSErrors."""

    protocol = "smartremote"
    root_marker = ""
    _strip_tokenize_options = ("target_protocol", "target_options", "fo")

    def __init__(
        self,
        tmp_dir: str | None = None,
        max_concurrent: SupportsIndex = 10,
        headers: Mapping[str, str] | None = None,
        user: tuple[str, str] | str | None = None,
        timeout: float = 30.0,
        idle_download: bool = False,
        limit_rate: SupportsIndex | None = None,
        offline: bool = False,
        fo: str | None = None,
        target_protocol: str | None = None,
        target_options: Mapping[str, Any] | None = None,
        **storage_options: Any,
    ) -> None:
        """Take what `DownloadManager` and its `Options` take; *headers* and *user* go to the first origin only.

        *fo* is the URL where the path names none. What stands for the protocol behind the `::` is not used.
        """
        super().__init__(**storage_options)
        self._first = fo or ""
        self._tmp_dir = tmp_dir
        self._max_concurrent = operator.index(max_concurrent)
        self._idle_download = idle_download
        self._limit_rate = None if limit_rate is None else operator.index(limit_rate)
        self._offline = offline
        self._options = Options(headers=headers or (), user=user, timeout=timeout)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return str(path).removeprefix("smartremote://").removeprefix("smartremote::")

    def unstrip_protocol(self, name: str) -> str:
        return f"smartremote://{self._url(name)}"  # DuckDB knows a file system by PROTOCOL:// alone

    @property
    def manager(self) -> DownloadManager:
        """The manager that all file systems with these options share."""
        key = (
            self._tmp_dir,
            self._max_concurrent,
            self._idle_download,
            self._limit_rate,
            self._offline,
            self._options,
        )
        with _lock:
            if key not in _managers:
                _managers[key] = DownloadManager(
                    max_concurrent=self._max_concurrent,
                    tmp_dir=self._tmp_dir,
                    idle_download=self._idle_download,
                    options=self._options,
                    limit_rate=self._limit_rate,
                    offline=self._offline,
                )
            return _managers[key]

    def _open(
        self,
        path: str,
        mode: str = "rb",
        size: int | None = None,
        checksum: str | None = None,
        **_: Any,
    ) -> RemoteFile:
        """Return *path* as a file, which the server was asked for: `FileNotFoundError` where there is none.

        Where *size* is stated the first read asks. *checksum* is as for `DownloadManager.open`.
        """
        if mode != "rb":
            raise NotImplementedError("smartremote only reads: mode 'rb', or 'rt'")
        file = self.manager.open(self._url(path), checksum)
        file.warns_when_forgotten = False
        try:
            if size is None:
                file.ask()
            else:
                file.set_size(size)
        except BaseException:
            file.close()
            raise
        return file

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return name, size in bytes and type of *path*, for one request, whose block is kept."""
        url = self._url(path)
        with self.manager.open(url) as file:
            return {"name": url, "size": file.size, "type": "file"}

    def modified(self, path: str) -> datetime:
        """Return when *path* was modified, as the server dates it; now, where it gives no date.

        DuckDB keeps what it has parsed of a file until this changes.
        """
        with self.manager.open(self._url(path)) as file:
            return file.modified or datetime.now(UTC)

    def exists(self, path: str, **_: Any) -> bool:
        """Return whether the server gives *path* to us. Trouble on the way is raised."""
        try:
            self.info(path)
        except RefusedError:
            return False
        return True

    def isfile(self, path: str) -> bool:
        return self.exists(path)

    def isdir(self, path: str) -> bool:
        return False

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """Return *path* alone: there are no folders."""
        found = self.info(path)
        return [found] if detail else [found["name"]]

    def glob(self, path: str, maxdepth: int | None = None, **_: Any) -> list[str]:
        """Return *path* alone: `*` and `?` in a URL are itself."""
        url = self._url(path)
        return [url] if self.exists(url) else []

    def cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        **_: Any,
    ) -> list[bytes | BaseException]:
        """Return the bytes [start, end) of each path, opening each URL once."""
        starts, ends = _for_each(starts, paths), _for_each(ends, paths)
        found: list[bytes | BaseException] = [b""] * len(paths)
        for url in dict.fromkeys(self._url(path) for path in paths):
            with self.manager.open(url) as file:
                for index, path in enumerate(paths):
                    if self._url(path) != url:
                        continue
                    try:
                        found[index] = _part(file, starts[index], ends[index])
                    except OSError as error:
                        if on_error == "raise":
                            raise
                        found[index] = error
        return found

    def cat_file(
        self, path: str, start: SupportsIndex | None = None, end: SupportsIndex | None = None, **_: Any
    ) -> bytes:
        """Return the bytes [start, end) of *path*; negative ones count from its end."""
        with self.manager.open(self._url(path)) as file:
            return _part(file, start, end)

    def _url(self, path: str) -> str:
        return str(self._strip_protocol(path)) or self._first


def _for_each(given: Any, paths: list[str]) -> Sequence[Any]:
    """Return what is *given* for each of *paths*, or once for all of them; arrays of numpy are taken too."""
    if given is None or (hasattr(given, "__index__") and not hasattr(given, "__len__")):
        return [given] * len(paths)
    if len(given) != len(paths):
        raise ValueError(f"{len(given)} offsets for {len(paths)} paths")
    return list(given)


def _part(file: RemoteFile, start: SupportsIndex | None, end: SupportsIndex | None) -> bytes:
    first = 0 if start is None else operator.index(start)
    if first < 0:
        first = max(0, file.size + first)
    if end is None:
        return file.read_at(first)
    last = operator.index(end)
    last = file.size + last if last < 0 else last
    return file.read_at(first, max(0, last - first))


@atexit.register
def close_managers() -> None:
    """Close every shared manager; file systems make new ones when they are used again."""
    with _lock:
        managers = list(_managers.values())
        _managers.clear()
    for manager in managers:
        manager.close()
