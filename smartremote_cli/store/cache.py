"""The cache folder: what was read of a URL, for as long as the server says it is the same.

An entry belongs to a URL and to who asks for it (`variant`: credentials and the headers that the user set). It is a
data file and its record, which carries the identity that the next use is checked against; the record is a part record
while blocks are missing, and has another name (`.whole`) once a complete entry was finished. Entries in use are
locked; of the others, the least recently used are removed first (`cache_trim`), before the folder grows beyond its
limit (`budget`). Whatever is in the way is raised as `LocalError` or `BusyError`: it costs reuse, not the command.
"""

from __future__ import annotations

import contextlib
import copy
import os

from pyroaring import BitMap

from ..core.ranges import ByteRange
from ..core.sizes import parse_size
from ..errors import BusyError, DamagedError, LocalError, SmartRemoteError, UsageError
from ..protocol.identity import Identity, Match
from .budget import Budget, NoBudget
from .cache_names import (
    NotOursError,
    check_folder,
    check_own,
    clear_data,
    entry_name,
    is_given_up,
    is_trusted,
    load,
    whole_path,
)
from .cache_trim import ENTRY_BYTES
from .cached_copy import CachedCopy
from .files import is_at, local, replace, sync_folder
from .leftovers import record_path
from .local_copy import LocalCopy
from .locks import folder_lock
from .part import MAX_RECORD, Record, encode

# Bytes of disk, unless SMARTREMOTE_CACHE_SIZE says otherwise: the contract's default.
DEFAULT_SIZE = 2 * 1024**3

# Larger than any disk: a folder with this limit is not counted.
NO_LIMIT = 2**62

# Bytes of a complete file's record. Computed: that of 2^32 blocks, one run a container, takes less than half of it.
_MAX_WHOLE_RECORD = 2 * 1024**2

# Bytes that are copied from the cache at a time. By judgement: few system calls, and little memory.
_COPY_BYTES = 1024**2


class StaleEntryError(LocalError):
    """Another process has replaced a cached copy between two looks at it."""


class Cache:
    """The entries under *folder*, which is made with mode 0700 when missing; *limit* is in bytes of disk.

    *variant* says who asks, and never holds a secret in clear. With *trouble* there is no folder at all.
    """

    def __init__(
        self, folder: str, limit: int = DEFAULT_SIZE, *, variant: str = "", trouble: LocalError | None = None
    ) -> None:
        self.folder = os.path.abspath(folder)
        self.limit = limit
        self._variant = variant
        self._trouble = trouble
        self._said: list[str] = []  # shared with what `for_variant` returns
        self._budget = NoBudget() if limit >= NO_LIMIT else Budget(self.folder, limit)

    def for_variant(self, variant: str) -> Cache:
        """Return the same folder for who asks as *variant* says."""
        other = copy.copy(self)
        other._variant = variant
        return other

    def is_news(self, error: SmartRemoteError) -> bool:
        """Return whether *error* is the first trouble with this folder that a person is told of."""
        if self._said:
            return False
        self._said.append(str(error))
        return True

    def path_of(self, url: str) -> str:
        """Return where the data file of *url*, given without user:password, is or would be."""
        return os.path.join(self.folder, entry_name(self._key(url)))

    def _key(self, url: str) -> str:
        """Return what the entry of *url* is named by, and what its record says as its URL."""
        return f"{url}#smartremote={self._variant}"

    def find(self, url: str) -> Record | None:
        """Return the record of what is cached of *url*; None when nothing usable is."""
        path = self.path_of(url)
        try:
            if self._trouble is not None or not check_folder(self.folder, make=False):
                return None
            record = load(whole_path(path), _MAX_WHOLE_RECORD) or load(record_path(path), MAX_RECORD)
        except (DamagedError, LocalError):
            return None
        if record is None or record.identity is None or record.url != self._key(url):
            return None
        return record if is_trusted(path) else None

    def open(self, url: str, record: Record) -> CachedCopy:
        """Open the entry of *url* as *record*, just found, has it."""
        self._prepare()
        path = self.path_of(url)
        with folder_lock(self.folder):
            found = self.find(url)
            if found is None or found.identity is None or found.identity != record.identity:
                raise StaleEntryError(path, "another process has just replaced the cached copy")
            return self._reopen(path, url, found)

    def _reopen(self, path: str, url: str, found: Record) -> CachedCopy:
        """Open the entry. The folder's lock is held."""
        check_own(path)
        with local(path), contextlib.suppress(FileNotFoundError):
            if os.path.lexists(record_path(path)):
                os.unlink(whole_path(path))
            else:
                os.replace(whole_path(path), record_path(path))
        opened = CachedCopy.reopen(path, self._key(url), found, shared=True)
        opened.budget = self._budget
        return opened

    def finish(self, copy: LocalCopy) -> None:
        """Note that *copy* is complete: give its record the other name."""
        copy.checkpoint(copy.draft_record())
        copy.finish(keep=whole_path(copy.path))

    def reopen_record(self, copy: LocalCopy) -> None:
        """Give *copy* its part record back."""
        if is_at(copy.descriptor, copy.path):  # else another process's entry has the name
            with contextlib.suppress(OSError):
                os.unlink(whole_path(copy.path))  # first: it would go on saying that all is here
        copy.reopen_record()

    def create(self, url: str, identity: Identity) -> CachedCopy:
        """Begin the entry of *url* anew, unless another process has just begun the same.

        A process that reads the old version goes on reading its own file. The removal of the old names is durable
        before they are given again: no power cut may leave one version's record beside the other's data. That takes
        a sync, which the folder's lock must not wait for. So the record says meanwhile that it is of nothing, and
        who finds it like that syncs as well.
        """
        self._prepare()
        path = self.path_of(url)
        self._budget.take(ENTRY_BYTES)
        try:
            with folder_lock(self.folder):
                check_own(path)
                found = self._begin(path, url, identity)
                if found is not None:
                    return found
                clear_data(path)
                with local(path):
                    replace(
                        record_path(path),
                        encode(Record(BitMap(), Identity(None), self._key(url))),
                        sync=False,
                    )
            sync_folder(self.folder)
            with folder_lock(self.folder):
                found = self._begin(path, url, identity, is_synced=True)
            if found is None:
                raise BusyError(path, "another process has just begun this entry")
            return found
        finally:
            self._budget.wrote(ENTRY_BYTES)

    def _begin(
        self, path: str, url: str, identity: Identity, *, is_synced: bool = False
    ) -> CachedCopy | None:
        """Open or make the entry; None where something older stands in the way. The folder's lock is held."""
        record = self.find(url)
        if record is not None and record.identity is not None and record.identity == identity:
            if confirms(record.identity, identity):
                return self._reopen(path, url, record)
        names = (path, record_path(path), whole_path(path))
        if not (is_given_up(path) if is_synced else not any(map(os.path.lexists, names))):
            return None
        made = CachedCopy.create(path, self._key(url), identity, shared=True)
        made.budget = self._budget
        return made

    def copy_into(self, copy: LocalCopy, url: str, identity: Identity) -> None:
        """Copy the blocks that are cached of this very resource into *copy*; a failure costs a download at most."""
        record = self.find(url)
        if record is None or record.identity is None or not confirms(record.identity, identity):
            return
        with contextlib.suppress(SmartRemoteError):
            cached = self.open(url, record)
            try:
                for run in cached.blocks.present():
                    for start in range(run.start, run.stop, _COPY_BYTES):
                        part = ByteRange(start, min(start + _COPY_BYTES, run.stop))
                        data = cached.read(part)
                        if data:  # fewer where a block is damaged
                            copy.write(part.start, memoryview(data))
                            copy.blocks.hold(ByteRange(part.start, part.start + len(data)))
            finally:
                cached.close()

    def touch(self, url: str) -> None:
        """Note that *url* was used now, and trim the folder where it has grown beyond the limit."""
        path = self.path_of(url)
        for record in (record_path(path), whole_path(path)):
            if is_trusted(record):
                with contextlib.suppress(OSError):
                    os.utime(record, follow_symlinks=False)
        with contextlib.suppress(SmartRemoteError, OSError):
            self._budget.give_back()

    def _prepare(self) -> None:
        if self._trouble is not None:
            raise self._trouble
        check_folder(self.folder, make=True)
        lock = os.path.join(self.folder, ".lock")
        if os.path.lexists(lock) and not is_trusted(lock):
            raise NotOursError(lock, "is not a file that smartremote made: left alone")


def confirms(known: Identity, now: Identity) -> bool:
    """Return whether an answer with *now* proves that bytes fetched as *known* are still the resource's.

    It takes a validator that was strong for those bytes, equal in both.
    """
    if not known.is_proof or known.size is None or known.size != now.size:
        return False
    if known.compare(now) is not Match.SAME:
        return False
    if known.strong_etag is not None and known.strong_etag == now.strong_etag:
        return True
    return known.settled and known.last_modified is not None and known.last_modified == now.last_modified


def parse_limit(text: str | None) -> int:
    """Return the cache's size limit that *text* (SMARTREMOTE_CACHE_SIZE, as `2G`) names, in bytes."""
    if not text:
        return DEFAULT_SIZE
    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError("SMARTREMOTE_CACHE_SIZE", str(error)) from error


def default_cache(folder: str | None = None) -> Cache:
    """Return the cache in *folder*, by default the per-user one, with the limit that the environment names.

    For a user without a home it is one that cannot be used, and says so.
    """
    limit = parse_limit(os.environ.get("SMARTREMOTE_CACHE_SIZE"))
    try:
        return Cache(folder or default_folder(), limit)
    except LocalError as error:
        return Cache(os.curdir, limit, trouble=error)


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
