"""DownloadManager: open files that share connections, a folder, and one thread that fills what nobody reads."""

from __future__ import annotations

import logging
import os
import sys
import threading
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .cache import Cache, default_folder, parse_limit
from .errors import ClosedError
from .events import Event, Notice, Retrying
from .file_target import FileTarget
from .open_file import OpenFile
from .remote_file import RemoteFile
from .targets import CacheTarget, MemoryTarget, Target
from .transport import Options, Remote, Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

_IDLE_LOOK = 0.1  # seconds between looks for a file that nobody reads
_PRUNE_EVERY = 30.0  # seconds between looks for connections that were idle for too long

_managers: weakref.WeakSet[DownloadManager] = weakref.WeakSet()


class DownloadManager:
    """Opens resources as files. Thread-safe; close it, or use it as a context manager.

    One URL opened twice shares its blocks. Several managers, also of several processes, may share one folder.
    """

    def __init__(
        self,
        max_concurrent: int = 10,
        max_readers_per_file: int = 3,
        max_data_jump: int = 512 * 1024,
        tmp_dir: str | os.PathLike[str] | None = None,
        client: httpx.Client | None = None,
        logger: logging.Logger | None = None,
        idle_download: bool = True,
        *,
        options: Options | None = None,
    ) -> None:
        """Prepare; nothing is asked before something is read.

        At most *max_concurrent* HTTP connections are used at once, and *max_readers_per_file* streams of one
        file. A forward seek of up to *max_data_jump* bytes reads on. *tmp_dir* is where `open` puts data files,
        by default the per-user cache folder, which is kept below its limit. *client* stays the caller's to
        close. *logger* is told of retries and notices. With *idle_download*, what is missing of files that were
        read is fetched while nobody reads. *options* say how to talk to servers.
        """
        if max_concurrent < 1 or max_readers_per_file < 1 or max_data_jump < 0:
            raise ValueError("connections and readers are at least 1, and a jump is not negative")
        self._connections = max_concurrent
        self._readers = min(max_readers_per_file, max_concurrent)
        self._jump = max_data_jump
        self._folder = None if tmp_dir is None else os.fspath(tmp_dir)
        self._client = client
        self._options = options
        self._logger = logger or logging.getLogger("smartremote")
        self._idle_download = idle_download
        self._start()
        _managers.add(self)

    def _start(self) -> None:
        self._lock = threading.Lock()  # guards _files, _closed, _idler
        self._files: dict[tuple[str, str | None], tuple[OpenFile, int]] = {}
        self._closed = False
        self._idler: threading.Thread | None = None
        self._wake = threading.Event()
        self._transport = Transport(self._options, self._client, self._connections)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self, url: str) -> RemoteFile:
        """Return *url* as a file whose blocks are kept in `tmp_dir` under a name of its own.

        Nothing is asked before the first read. Raises `UsageError` for what is no http URL.
        """
        remote = Remote(url, self._transport)

        def target() -> Target:
            return CacheTarget(self._cache(), remote.url, remote.name)

        return self._open(remote, None, target)

    def open_to(self, url: str, path: str | os.PathLike[str]) -> RemoteFile:
        """Return *url* as a file whose blocks are kept in *path*, with the record beside it.

        A partial file is gone on with; a complete one is compared with the server's at the first read. Raises
        `LocalError`, `BusyError` when another process works on it, `DamagedError` for an unreadable record.
        """
        remote = Remote(url, self._transport)
        where = os.path.abspath(path)
        return self._open(remote, where, lambda: FileTarget(remote, where, listener=self._tell))

    def reader_at(self, url: str) -> RemoteFile:
        """Return *url* as a file without a data file or a record: a bounded part of it is kept in memory."""
        remote = Remote(url, self._transport)
        opened = self._make(remote, MemoryTarget(remote.name))
        with self._lock:
            self._check_open(remote.name)
            key = (f"memory:{id(opened)}", None)
            self._files[key] = (opened, 1)
        return RemoteFile(opened, lambda: self._release(key))

    def close(self) -> None:
        """Close every file, thread and connection of this manager. Files that are being read end in `ClosedError`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            opened = [file for file, _ in self._files.values()]
            self._files.clear()
            idler = self._idler
        self._wake.set()
        for file in opened:
            file.close()
        self._transport.close()
        if idler is not None and idler is not threading.current_thread():
            idler.join(5.0)

    def _open(self, remote: Remote, path: str | None, target: Callable[[], Target]) -> RemoteFile:
        key = (remote.url, path)
        with self._lock:
            self._check_open(remote.name)
            opened, uses = self._files.get(key) or (self._make(remote, target()), 0)
            self._files[key] = (opened, uses + 1)
            if self._idler is None and self._idle_download:
                self._idler = threading.Thread(target=self._idle, name="smartremote-idle", daemon=True)
                self._idler.start()
        return RemoteFile(opened, lambda: self._release(key))

    def _make(self, remote: Remote, target: Target) -> OpenFile:
        return OpenFile(
            remote,
            target,
            readers=self._readers,
            jump=self._jump,
            connections=self._connections,
            listener=self._tell,
        )

    def _release(self, key: tuple[str, str | None]) -> None:
        with self._lock:
            entry = self._files.get(key)
            if entry is None:
                return
            opened, uses = entry
            if uses > 1:
                self._files[key] = (opened, uses - 1)
                return
            del self._files[key]
        opened.close()

    def _cache(self) -> Cache:
        if self._folder is not None:
            return Cache(self._folder, sys.maxsize)  # a folder of the caller's is the caller's to clean
        return Cache(default_folder(), parse_limit(os.environ.get("SMARTREMOTE_CACHE_SIZE")))

    def _idle(self) -> None:
        """Fill the gaps of files that nobody reads, a piece at a time, and close connections nobody uses."""
        pruned = 0.0
        while not self._wake.wait(_IDLE_LOOK):
            with self._lock:
                opened = [file for file, _ in self._files.values() if file.path is not None]
            for file in opened:
                if self._wake.is_set():
                    return
                file.fill()
            pruned += _IDLE_LOOK
            if pruned >= _PRUNE_EVERY:
                pruned = 0.0
                self._transport.prune()

    def _tell(self, event: Event) -> None:
        if isinstance(event, Retrying):
            self._logger.info("%s; again in %.1f s", event.why, event.pause)
        elif isinstance(event, Notice):
            self._logger.log(logging.DEBUG if event.detail else logging.WARNING, "%s", event.text)

    def _check_open(self, name: str) -> None:
        if self._closed:
            raise ClosedError(name, "the download manager is closed")

    def _after_fork(self) -> None:
        """In a child process: threads and connections are the parent's. Files stay open, over new ones."""
        files, closed = self._files, self._closed
        self._start()
        self._files, self._closed = files, closed
        for opened, _ in files.values():
            opened.forget_threads(self._transport)


def _after_fork() -> None:
    for manager in list(_managers):
        manager._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def open(url: str) -> RemoteFile:
    """Return *url* as a file, with a manager of its own that closes with the file.

    Blocks are kept in the per-user cache folder and used again. Several files are better opened with one
    `DownloadManager`, which shares connections among them.
    """
    manager = DownloadManager()
    try:
        file = manager.open(url)
    except BaseException:
        manager.close()
        raise
    file.on_close(manager.close)
    return file
