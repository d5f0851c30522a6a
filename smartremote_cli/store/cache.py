"""The cache folder: what was read of a URL, keyed by that URL, for as long as the server says it is the same.

An entry is a data file and its record. The record carries the identity that the next use is checked against; it is a
part record while blocks are missing, and has another name (`.whole`) once a complete entry was finished. Entries in
use are locked; of the others, the least recently used are removed first.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator

from ..core.ranges import ByteRange
from ..core.sizes import parse_size
from ..errors import DamagedError, LocalError, SmartRemoteError, UsageError
from ..protocol.identity import Identity, Match
from .files import folder_lock, local, remove
from .leftovers import inspect, load_record, read_record, record_path
from .local_copy import LocalCopy
from .part import Record, decode
from .sums import sums_path

# Bytes of disk, unless SMARTREMOTE_CACHE_SIZE says otherwise: the contract's default.
DEFAULT_SIZE = 2 * 1024**3

# Bytes of a complete file's record. Computed: that of 2^32 blocks, one run a container, takes less than half of it.
_MAX_WHOLE_RECORD = 2 * 1024**2

# Bytes that are copied from the cache at a time. By judgement: few system calls, and little memory.
_COPY_BYTES = 1024**2

_STAT_BLOCK = 512  # bytes: the unit of st_blocks (stat(3type)), whatever the file system's own blocks are


class StaleEntryError(LocalError):
    """Another process has replaced a cached copy between two looks at it."""


class Cache:
    """The entries under *folder*, which is made with mode 0700 when missing; *limit* is in bytes of disk."""

    def __init__(self, folder: str, limit: int = DEFAULT_SIZE) -> None:
        self.folder = os.path.abspath(folder)
        self.limit = limit

    def path_of(self, url: str) -> str:
        """Return where the data file of *url*, given without user:password, is or would be."""
        return os.path.join(
            self.folder, hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:40]
        )

    def find(self, url: str) -> Record | None:
        """Return the record of what is cached of *url*; None when nothing usable is."""
        path = self.path_of(url)
        try:
            record = _load_whole(path) or load_record(path)
            usable = record is not None and record.identity is not None and inspect(path) is not None
        except (DamagedError, LocalError):
            return None
        return record if usable else None

    def open(self, url: str, record: Record) -> LocalCopy:
        """Open the entry of *url* as *record*, just found, has it."""
        self._prepare()
        path = self.path_of(url)
        with folder_lock(self.folder):
            found = self.find(url)
            if found is None or found.identity is None or found.identity != record.identity:
                raise StaleEntryError(path, "another process has just replaced the cached copy")
            if not os.path.exists(record_path(path)):
                with local(path), contextlib.suppress(FileNotFoundError):
                    os.replace(_whole_path(path), record_path(path))
            return LocalCopy.reopen(path, url, found, shared=True)

    def finish(self, copy: LocalCopy) -> None:
        """Note that *copy* is complete: give its record the other name."""
        copy.checkpoint(copy.draft_record())
        with folder_lock(self.folder):
            copy.finish(keep=_whole_path(copy.path))

    def reopen_record(self, copy: LocalCopy) -> None:
        """Give *copy* its part record back."""
        with folder_lock(self.folder):
            copy.reopen_record()
            with local(copy.path):
                remove(_whole_path(copy.path))

    def create(self, url: str, identity: Identity) -> LocalCopy:
        """Begin the entry of *url* anew, unless another process has just begun the same."""
        self._prepare()
        path = self.path_of(url)
        with folder_lock(self.folder):
            record = self.find(url)
            if record is not None and record.identity == identity and identity.is_strong:
                return LocalCopy.reopen(path, url, record, shared=True)
            # A process that reads the old version goes on reading its own file. Make the removal of the names
            # durable before they are given again: no power cut may leave one version's record beside the other's
            # data.
            with local(path):
                remove(path, record_path(path), _whole_path(path), sums_path(path))
            return LocalCopy.create(path, url, identity, shared=True)

    def copy_into(self, copy: LocalCopy, url: str, identity: Identity) -> None:
        """Copy the blocks that are cached of this very resource into *copy*; a failure costs a download at most."""
        record = self.find(url) if identity.is_strong else None
        if record is None or record.identity is None:
            return
        if record.identity.size != identity.size or record.identity.compare(identity) is not Match.SAME:
            return
        with contextlib.suppress(SmartRemoteError):
            cached = self.open(url, record)
            try:
                for run in cached.blocks.present():
                    for start in range(run.start, run.stop, _COPY_BYTES):
                        part = ByteRange(start, min(start + _COPY_BYTES, run.stop))
                        copy.write(part.start, memoryview(cached.read(part)))
                        copy.blocks.hold(part)
            finally:
                cached.close()

    def touch(self, url: str) -> None:
        """Note that *url* was used now, and remove the least recently used entries beyond the limit."""
        path = self.path_of(url)
        with contextlib.suppress(OSError):
            for record in (record_path(path), _whole_path(path)):
                with contextlib.suppress(FileNotFoundError):
                    os.utime(record)
            with folder_lock(self.folder):
                self._trim(keep=path)

    def _prepare(self) -> None:
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
        except OSError as error:
            raise LocalError.of(self.folder, error) from error

    def _trim(self, keep: str) -> None:
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= self.limit:
                return
            if path != keep and _remove_unused(path):
                total -= size

    def _entries(self) -> Iterator[tuple[float, int, str]]:
        """Yield (last use, bytes of disk, path of the data file)."""
        with os.scandir(self.folder) as found:
            for item in found:
                if (
                    not item.name.startswith(".")
                    and "." not in item.name
                    and item.is_file(follow_symlinks=False)
                ):
                    data = item.stat(follow_symlinks=False)
                    used, more = data.st_mtime, 0
                    for name in (record_path(item.path), _whole_path(item.path)):
                        with contextlib.suppress(OSError):
                            record = os.stat(name)
                            used, more = record.st_mtime, record.st_blocks * _STAT_BLOCK
                    with contextlib.suppress(OSError):
                        more += os.stat(sums_path(item.path)).st_blocks * _STAT_BLOCK
                    yield used, data.st_blocks * _STAT_BLOCK + more, item.path


def parse_limit(text: str | None) -> int:
    """Return the cache's size limit that *text* (SMARTREMOTE_CACHE_SIZE, as `2G`) names, in bytes."""
    if not text:
        return DEFAULT_SIZE
    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError("SMARTREMOTE_CACHE_SIZE", str(error)) from error


def default_folder() -> str:
    """Return the per-user cache folder: SMARTREMOTE_CACHE_DIR, or what the platform provides.

    Raises `LocalError` for a user without a home.
    """
    named = os.environ.get("SMARTREMOTE_CACHE_DIR")
    if named:
        return named
    from platformdirs import user_cache_dir

    try:
        return user_cache_dir("smartremote", appauthor=False)
    except RuntimeError as error:
        hint = "name one in SMARTREMOTE_CACHE_DIR, or do without: --no-cache"
        raise LocalError("the cache folder", "this user has no home folder", hint=hint) from error


def _whole_path(path: str) -> str:
    return f"{path}.whole"


def _load_whole(path: str) -> Record | None:
    data = read_record(_whole_path(path), _MAX_WHOLE_RECORD)
    return None if data is None else decode(data, _whole_path(path))


def _remove_unused(path: str) -> bool:
    """Remove an entry that no process uses; the record goes last."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
        for beside in (sums_path(path), record_path(path), _whole_path(path)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
