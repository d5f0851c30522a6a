"""DownloadManager: open files that share connections, a folder, and one thread that works between reads."""

from __future__ import annotations

import logging
import operator
import os
import sys
import threading
import weakref
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self, SupportsIndex

from ..errors import ClosedError
from ..events import Event, Notice, Retrying
from ..store.cache import NO_LIMIT, Cache, default_cache
from ..store.cache_destination import CacheDestination
from ..store.destinations import Destination, MemoryDestination
from ..store.file_destination import FileDestination
from ..transfer.state import Policy
from ..transport.limiter import Limiter
from ..transport.options import Options
from ..transport.remote import Remote
from ..transport.transport import IDLE_SECONDS, Transport
from .background import BackgroundFiller
from .checksum import Checksum
from .open_file import OpenFile
from .options import DownloadOptions
from .reaper import Reaper
from .remote_file import RemoteFile
from .shared_file import SharedFile

if TYPE_CHECKING:
    import httpx

# How often to look for connections to close, as a share of the time after which they are: late by a tenth at most.
_PRUNES_PER_TIMEOUT = 10
# How long closing waits for the background filler. It ends within its poll interval, unless it is hashing or syncing.
SHUTDOWN_TIMEOUT_SECONDS = 5.0

_managers: weakref.WeakSet[DownloadManager] = weakref.WeakSet()


class DownloadManager:
    """Opens resources as files. Thread-safe; close it, or use it as a context manager.

    One URL opened twice shares its blocks. Several managers, also of several processes, may share one folder.
    After a fork, files that are open go on in both processes, each over connections of its own.
    """

    def __init__(
        self,
        max_concurrent: SupportsIndex = 10,
        max_readers_per_file: SupportsIndex = 3,
        max_data_jump: SupportsIndex = 512 * 1024,
        tmp_dir: str | os.PathLike[str] | None = None,
        client: httpx.Client | None = None,
        logger: logging.Logger | None = None,
        idle_download: bool = True,
        *,
        options: Options | None = None,
        idle_timeout: float = IDLE_SECONDS,
        limit_rate: SupportsIndex | None = None,
        offline: bool = False,
    ) -> None:
        """Prepare; nothing is asked before something is read.

        At most *max_concurrent* HTTP connections are used at once, and *max_readers_per_file* streams of one
        file. A forward seek of up to *max_data_jump* bytes reads on. *tmp_dir* is where `open` puts data files,
        by default the per-user cache folder, which is kept below its limit. *client* stays the caller's to
        close; in a forked process it cannot be used. *logger* is told of retries and notices. With
        *idle_download*, what is missing of files that were read is fetched between reads. *options* say how
        to talk to servers. Connections that were not used for *idle_timeout* seconds are closed. All files
        together receive up to *limit_rate* bytes per second. With *offline* only what is held already is read, and
        no server is asked: `NotCachedError` for the rest.
        """
        self._connections = operator.index(max_concurrent)
        self._readers = min(operator.index(max_readers_per_file), self._connections)
        self._jump = operator.index(max_data_jump)
        if self._connections < 1 or self._readers < 1 or self._jump < 0 or idle_timeout <= 0:
            raise ValueError("connections and readers are at least 1, and a jump is not negative")
        rate = None if limit_rate is None else operator.index(limit_rate)
        if rate is not None and rate <= 0:
            raise ValueError("a rate is more than 0 bytes per second")
        self._limiter = None if rate is None else Limiter(rate)
        self._offline = offline
        self._folder = None if tmp_dir is None else os.fspath(tmp_dir)
        self._shared_cache: Cache | None = None  # guarded by _lock
        self._client = client
        self._options = options
        self._logger = logger or logging.getLogger("smartremote")
        self._tell = partial(_tell, self._logger)  # not a method: open files do not hold on to their manager
        self._idle_download = idle_download
        self._idle_timeout = idle_timeout
        self._entries: dict[tuple[str, str | None], SharedFile] = {}
        self._handles: weakref.WeakSet[RemoteFile] = weakref.WeakSet()
        self._closed = False
        self._begin_process()
        _managers.add(self)

    def _begin_process(self) -> None:
        self._lock = threading.RLock()  # guards _entries, _handles and _closed; not held over disk or network
        self._transport = Transport(self._options, self._client, self._connections, self._idle_timeout)
        self._filler = BackgroundFiller(self, self._idle_timeout / _PRUNES_PER_TIMEOUT)
        self._reaper = Reaper((self._transport, self._entries))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # The collector calls this anywhere, also under locks: hand the closing to a thread that holds none.
        if hasattr(self, "_reaper") and not self._closed and not sys.is_finalizing():
            self._reaper.hand_over(partial(_end, list(self._entries.values()), *self._parts))

    def open(self, url: str, checksum: str | None = None) -> RemoteFile:
        """Return *url* as a file whose blocks are kept in `tmp_dir` under a name of its own.

        *checksum* is what the whole must have, as ``sha256:HEX``: `ChecksumError` where `complete`, or reads in order
        to the end, find another. Nothing is asked before the first read, or `RemoteFile.ask`. Raises `UsageError`
        for what is no http URL, or no checksum.
        """
        remote = Remote(url, self._transport)
        return self._open(
            (f"{remote.url}#{remote.variant}", None),
            remote,
            lambda: CacheDestination(
                self._cache().for_variant(remote.variant), remote.url, remote.name, self._tell
            ),
            self._file_options(checksum),
        )

    def open_to(
        self, url: str, path: str | os.PathLike[str], checksum: str | None = None, on_change: str = "fail"
    ) -> RemoteFile:
        """Return *url* as a file whose blocks are kept in *path*, with the record beside it.

        A partial file is gone on with; a complete one is compared with the server's at the first read. *checksum* is
        as for `open`. Where the resource has changed, *on_change* is "fail", or "restart", which drops what is held as
        long as nothing of it was read. Raises `LocalError`, `BusyError` when another process works on it,
        `DamagedError` for an unreadable record.
        """
        if on_change not in ("fail", "restart"):
            raise ValueError(f'on_change is "fail" or "restart", not {on_change!r}')
        remote = Remote(url, self._transport)
        where = os.path.abspath(path)
        return self._open(
            (f"{remote.url}#{remote.variant}", where),
            remote,
            lambda: FileDestination(remote.url, remote.name, where, listener=self._tell),
            self._file_options(checksum, restart_on_change=on_change == "restart"),
        )

    def reader_at(self, url: str) -> RemoteFile:
        """Return *url* as a file without a data file or a record: a bounded part of it is kept in memory."""
        remote = Remote(url, self._transport)
        destination = MemoryDestination(remote.name)
        key = (f"memory:{id(destination)}", None)
        return self._open(key, remote, lambda: destination, self._file_options(None))

    def _file_options(self, checksum: str | None, *, restart_on_change: bool = False) -> DownloadOptions:
        expected = None if checksum is None else Checksum.parse(checksum, "checksum")
        return DownloadOptions(
            Policy(connections=self._readers, share=False),
            expected,
            restart_on_change,
            limiter=self._limiter,
            offline=self._offline,
            streams=self._readers,
            jump=self._jump,
        )

    def close(self) -> None:
        """Close every file, thread and connection of this manager. Files that are being read end in `ClosedError`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            entries = list(self._entries.values())
            self._entries.clear()
        _end(entries, *self._parts)

    @property
    def _parts(self) -> tuple[BackgroundFiller, Transport, Reaper]:
        return self._filler, self._transport, self._reaper

    def fill_step(self) -> float | None:
        """Have each open file bring a piece of what is missing; return in how many seconds to do so again."""
        if not self._idle_download:
            return None
        with self._lock:
            files = [entry.file for entry in self._entries.values() if entry.file is not None]
        try:
            pauses = [pause for file in files if not self._closed and (pause := file.fill()) is not None]
        except Exception:  # a bug: no caller is waiting for it
            self._logger.exception("smartremote: a bug while filling between reads")
            return None
        return min(pauses, default=None)

    def prune(self) -> None:
        """Close connections that were not used for `idle_timeout` seconds."""
        self._transport.prune()

    def _open(
        self,
        key: tuple[str, str | None],
        remote: Remote,
        destination: Callable[[], Destination],
        options: DownloadOptions,
    ) -> RemoteFile:
        self._reaper.start()  # here, for the collector must not start a thread
        with self._lock:
            self._check_open(remote.name)
            entry = self._entries.setdefault(key, SharedFile())
            entry.uses += 1
        try:
            with entry.opening:
                if entry.file is None:
                    entry.file = self._make(remote, destination(), options)
                elif options.checksum is not None:
                    entry.file.expect(options.checksum)
                opened = entry.file
            with self._lock:
                if self._closed:
                    opened.close()
                self._check_open(remote.name)
                handle = RemoteFile(
                    opened, lambda: self._release(key, entry), lambda work: self._reaper.hand_over(work)
                )
                self._handles.add(handle)
        except BaseException:
            self._release(key, entry)
            raise
        return handle

    def _make(self, remote: Remote, destination: Destination, options: DownloadOptions) -> OpenFile:
        return OpenFile(
            remote,
            destination,
            options,
            connections=self._connections,
            listener=self._tell,
            wake=self._filler.wake,
        )

    def _release(self, key: tuple[str, str | None], entry: SharedFile) -> None:
        with self._lock:
            entry.uses -= 1
            if entry.uses:
                return
        with entry.opening:  # who opens the same again meanwhile waits until this one has let go of the file
            if entry.uses:
                return
            opened, entry.file = entry.file, None
            try:
                if opened is not None:
                    opened.close()
            finally:
                with self._lock:
                    if not entry.uses and self._entries.get(key) is entry:
                        del self._entries[key]

    def _cache(self) -> Cache:
        with self._lock:
            if self._shared_cache is None:
                self._shared_cache = self._make_cache()
            return self._shared_cache

    def _make_cache(self) -> Cache:
        if self._folder is not None:
            return Cache(self._folder, NO_LIMIT)  # a folder of the caller's is the caller's to clean
        return default_cache()

    def _check_open(self, name: str) -> None:
        if self._closed:
            raise ClosedError(name, "the download manager is closed")

    def _after_fork_in_child(self) -> None:
        """Go on in a child process: threads and connections are the parent's."""
        self._begin_process()
        if self._limiter is not None:
            self._limiter.after_fork_in_child()
        if self._client is not None:  # its connections are in use by the parent: two would read one stream
            self._transport.close()
        for entry in self._entries.values():
            entry.opening = threading.RLock()
            if entry.file is not None:
                entry.file.after_fork_in_child(self._transport, self._filler.wake)
        for handle in list(self._handles):
            handle.after_fork_in_child()


def _end(entries: list[SharedFile], filler: BackgroundFiller, transport: Transport, reaper: Reaper) -> None:
    """Close what a manager had, which may be gone itself by now."""
    filler.stop()
    for entry in entries:
        with entry.opening:
            if entry.file is not None:
                entry.file.close()
    transport.close()
    filler.stop(SHUTDOWN_TIMEOUT_SECONDS)
    reaper.stop(SHUTDOWN_TIMEOUT_SECONDS)


def _tell(logger: logging.Logger, event: Event) -> None:
    if isinstance(event, Retrying):
        logger.info("%s; again in %.1f s", event.why, event.pause)
    elif isinstance(event, Notice):
        logger.log(logging.DEBUG if event.detail else logging.WARNING, "%s", event.text)


def _after_fork_in_child() -> None:
    for manager in list(_managers):
        manager._after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
