"""Budget: how much the cache folder may grow, kept so that its limit holds at every moment, for entries in use too.

Room is granted before bytes are written. The *books*, in the file of the lock, hold what was granted and given back
in all, so that a grant takes one look at one small file. Each process that writes has a *grant* (`.grant-*`): a locked
file that says how much of what it was granted is not on the disk yet. When the books say that the folder is full, the
folder is counted, without a lock, and the least recently used entries go. Every mistake of a count is on the safe
side: what changes meanwhile is counted twice rather than not at all.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
import threading
from typing import NamedTuple

from ..core.blocks import BLOCK
from ..errors import LocalError
from .cache_names import NotOursError, is_trusted
from .cache_trim import evict, take_census
from .files import local
from .locks import folder_lock

# What a new block may take on the disk: itself, and a page each of the sums and of the record.
CHARGE_PER_BLOCK = BLOCK + 4096

# What is granted at a time, at most: by judgement, one look at the books for 64 blocks. A small cache is granted a
# sixteenth, so that several processes find room in it.
_GRANT_BYTES, _GRANTS_PER_LIMIT = 64 * CHARGE_PER_BLOCK, 16

# Count the folder again after this long, for programs that write there without looking at the books.
_RECOUNT_SECONDS = 3600.0

# What is removed beyond what is needed: a sixteenth of the limit, so that a full cache is counted now and then only.
_SPARES_PER_LIMIT = 16

# The folder is counted this often before a request is refused: another process may have taken what became free.
_TRIES = 3

_GRANT = re.compile(r"\.grant-[0-9a-f]{16}")
_GRANT_RECORD = struct.Struct("<8sQ")
_GRANT_MAGIC = b"SMRTgrnt"
_BOOKS_RECORD = struct.Struct("<8sQQQd")
_BOOKS_MAGIC = b"SMRTbook"


class CacheFullError(LocalError):
    """The cache may not grow: its limit is reached, and all that could be removed is in use."""


class Books(NamedTuple):
    """What was granted and given back since the last count, which *generation* numbers.

    *counted* is the time of the file at that count.
    """

    generation: int = 0
    granted: int = 0
    released: int = 0
    counted: float = 0.0

    @property
    def total(self) -> int:
        return max(0, self.granted - self.released)


class Budget:
    """What one process may add to *folder*, whose limit is *limit* bytes of disk."""

    def __init__(self, folder: str, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._after_fork()

    def _after_fork(self) -> None:
        self._growing = threading.Lock()  # one thread at a time asks for more
        self._lock = threading.Lock()  # guards what follows
        self._left = 0  # granted, and not used yet
        self._flying = 0  # granted, and being written
        self._grant: int | None = None  # the descriptor of the grant
        self._name = ""

    def after_fork_in_child(self) -> None:
        """Go on in a child process: what was granted is the parent's."""
        if self._grant is not None:
            os.close(self._grant)  # the lock is the parent's as long as it has the file open
        self._after_fork()

    def take(self, count: int) -> None:
        """Take room for *count* bytes that are about to be written; `CacheFullError` when there is none."""
        if self._try_take(count):
            return
        with self._growing:
            if self._try_take(count):
                return
            share = min(_GRANT_BYTES, self._limit // _GRANTS_PER_LIMIT)
            if not (self._grow(max(count, share)) or self._grow(count)) or not self._try_take(count):
                raise CacheFullError(self._folder, f"the cache is full, at {self._limit} bytes")

    def wrote(self, count: int) -> None:
        """Note that *count* bytes which were taken are on the disk, or never will be."""
        with self._lock:
            self._flying -= count

    def give_back(self) -> None:
        """Give back what was granted and not used, and trim the folder where it has grown beyond its limit."""
        with self._growing:
            with self._lock:
                left, self._left = self._left, 0
                done = not self._flying
                grant, self._grant = (self._grant, None) if done else (None, self._grant)
            try:
                with folder_lock(self._folder):
                    books = self._read_books()
                    if books is not None and left:
                        books = books._replace(released=books.released + left)
                        self._write_books(books)
                    since = 0.0 if books is None else abs(self._moment() - books.counted)
            finally:
                if grant is not None:
                    with contextlib.suppress(OSError):
                        os.unlink(self._name)
                    os.close(grant)
            if books is None or books.total > self._limit or since > _RECOUNT_SECONDS:
                self._count(0)

    def _try_take(self, count: int) -> bool:
        with self._lock:
            if self._left < count:
                return False
            self._left -= count
            self._flying += count
            return True

    def _grow(self, need: int) -> bool:
        """Have *need* bytes more granted, after making room where there is none."""
        if need > self._limit:
            return False
        for _ in range(_TRIES):
            with folder_lock(self._folder):
                books = self._read_books()
                if books is not None and books.total + need <= self._limit:
                    with self._lock:
                        self._write_grant(self._left + self._flying + need)
                        self._left += need
                    self._write_books(books._replace(granted=books.granted + need))
                    return True
            if not self._count(need):
                return False
        return False

    def _count(self, need: int) -> bool:
        """Count the folder and remove entries until *need* bytes have room; return whether they have.

        The books are read before the grants, and the grants before the entries: so what another process does
        meanwhile is counted in one of them at least.
        """
        with folder_lock(self._folder):
            before = self._read_books() or Books()
            self._write_books(before)
            moment = self._moment()
        with self._lock:
            own = self._left + self._flying
        names = os.listdir(self._folder)
        promised = own + sum(self._promised(name) for name in names if _GRANT.fullmatch(name))
        census = take_census(self._folder, names)
        total = evict(
            self._folder, census, self._limit - promised - need, self._limit // _SPARES_PER_LIMIT, moment
        )
        with folder_lock(self._folder):
            now = self._read_books() or Books()
            if now.generation == before.generation:
                granted = total + promised + max(0, now.granted - before.granted)
                now = Books(now.generation + 1, granted, 0, moment)
                self._write_books(now)
        return now.total + need <= self._limit

    def _promised(self, name: str) -> int:
        """Return what the grant *name* promises to its process; remove it when that process has gone."""
        path = os.path.join(self._folder, name)
        if path == self._name or not is_trusted(path):
            return 0
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return 0
        try:
            data = os.read(descriptor, _GRANT_RECORD.size)
            if len(data) < _GRANT_RECORD.size or data[:8] != _GRANT_MAGIC:
                return 0
            with contextlib.suppress(OSError):  # it is locked, or there are no locks here: take it for alive
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
                return 0
            return int(_GRANT_RECORD.unpack(data)[1])
        finally:
            os.close(descriptor)

    def _write_grant(self, count: int) -> None:
        """Say that *count* bytes were promised to this process and are not on the disk. The folder's lock is held."""
        with local(self._folder):
            if self._grant is None:
                name = os.path.join(self._folder, f".grant-{os.urandom(8).hex()}")
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                self._grant, self._name = os.open(name, flags, 0o600), name
                with contextlib.suppress(OSError):
                    fcntl.flock(self._grant, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.pwrite(self._grant, _GRANT_RECORD.pack(_GRANT_MAGIC, count), 0)

    def _read_books(self) -> Books | None:
        """Return the books, None where there are none yet. Raises `NotOursError` for a file that is something else."""
        path = self._books_path
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise NotOursError(path, "the cache's books cannot be read") from error
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(_BOOKS_RECORD.size + 1)
        if not data:
            return None
        if not is_trusted(path) or len(data) != _BOOKS_RECORD.size or data[:8] != _BOOKS_MAGIC:
            raise NotOursError(path, "is not a file that smartremote made: left alone")
        _, generation, granted, released, counted = _BOOKS_RECORD.unpack(data)
        return Books(generation, granted, released, counted)

    def _write_books(self, books: Books) -> None:
        with local(self._books_path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(self._books_path, flags, 0o600)
            try:
                os.pwrite(descriptor, _BOOKS_RECORD.pack(_BOOKS_MAGIC, *books), 0)
            finally:
                os.close(descriptor)

    def _moment(self) -> float:
        """Return when the books were written last, by the clock that the entries' times are of."""
        with local(self._books_path):
            return os.stat(self._books_path).st_mtime

    @property
    def _books_path(self) -> str:
        return os.path.join(self._folder, ".lock")


class NoBudget(Budget):
    """The budget of a folder without a limit: nothing is counted."""

    def __init__(self) -> None:
        super().__init__("", 0)

    def take(self, count: int) -> None:
        """Do nothing: there is always room."""

    def wrote(self, count: int) -> None:
        """Do nothing."""

    def give_back(self) -> None:
        """Do nothing."""
