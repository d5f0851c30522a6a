"""DataFile: an open file that blocks are written into and read from, by any number of threads.

It notices when another program cuts, replaces or deletes the file meanwhile, and trusts no sync after one that failed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator

from ..core.ranges import ByteRange
from ..errors import ClosedError, LocalError
from .files import folder_of, is_at, local, sync_file

# Bytes that one pread is asked for. Linux returns 0x7ffff000 at most (read(2)): half of that is safe.
_MAX_PREAD_BYTES = 1 << 30

_RUN_AGAIN = "run the same command again"

# What fsync(2) fails with where the file system has no such operation.
_CANNOT_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


class DataFile:
    """The file open as *descriptor*, which is closed once the last of its users has let go of it.

    A thread may be abandoned in the middle of a write; the descriptor's number must not become another file's until
    that write is over. The system's errors are raised as `LocalError` about *path*.
    """

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self._path = path
        self._lock = threading.Lock()  # guards _users and _closed
        self._users = 0
        self._closed = False
        self._min_size = 0  # a shorter file was cut by another program
        self._sync_failure: str | None = None  # why nothing more may be taken for durable

    @property
    def descriptor(self) -> int:
        return self._descriptor

    @contextlib.contextmanager
    def using(self) -> Iterator[int]:
        """Yield the descriptor, which stays open until the end of the block; `ClosedError` when it is closed."""
        with self._lock:
            if self._closed:
                raise ClosedError(self._path, "the file is closed")
            self._users += 1
        try:
            with local(self._path):
                yield self._descriptor
        finally:
            with self._lock:
                self._users -= 1
                last = self._closed and not self._users
            if last:
                os.close(self._descriptor)

    def close(self) -> None:
        """Close it when its last user has let go of it; never waits."""
        with self._lock:
            last = not self._closed and not self._users
            self._closed = True
        if last:
            os.close(self._descriptor)

    def after_fork_in_child(self) -> None:
        """Go on in a child process, where threads that used it or held the lock do not exist."""
        self._lock = threading.Lock()
        self._users = 0

    @property
    def cut_to(self) -> int | None:
        """How many bytes are left when another program has cut the file, else None."""
        size = os.fstat(self._descriptor).st_size
        return size if size < self._min_size else None

    def resize(self, size: int) -> None:
        """Give the file *size* bytes, unless it has them. From now on a shorter one was cut."""
        self._min_size = min(self._min_size, size)
        with self.using() as descriptor:
            if os.fstat(descriptor).st_size != size:
                os.ftruncate(descriptor, size)
        self._min_size = size

    def write(self, offset: int, data: memoryview, wrote: Callable[[int, memoryview], None]) -> None:
        """Write all of *data* at *offset*, telling *wrote* what is written; `LocalError` when the disk is full.

        Raises for a file that was cut: writing past its end would leave a hole that no check finds.
        """
        with self.using() as descriptor:
            self.check_length()
            while data:
                count = os.pwrite(descriptor, data, offset)
                if not count:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                wrote(offset, data[:count])
                data, offset = data[count:], offset + count

    def read(self, wanted: ByteRange) -> bytes:
        """Return the bytes of *wanted*, fewer where the file ends."""
        with self.using() as descriptor:
            parts = []
            offset = wanted.start
            while offset < wanted.stop:
                part = os.pread(descriptor, min(wanted.stop - offset, _MAX_PREAD_BYTES), offset)
                if not part:
                    break
                parts.append(part)
                offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def sync(self, *, names: bool) -> None:
        """Make what was written durable; with *names* also what the file system keeps of the file.

        After one failure it always fails: the system may have marked the lost pages as clean, so that the next sync
        would succeed without them.
        """
        if self._sync_failure is not None:
            raise LocalError(self._path, f"an earlier sync failed: {self._sync_failure}")
        with self.using() as descriptor:
            try:
                sync_file(descriptor, names=names)
            except OSError as error:
                if error.errno in _CANNOT_SYNC:
                    return
                self._sync_failure = error.strerror or str(error)
                raise

    def check_place(self) -> None:
        """Raise unless *path* still names this file: a record beside another would be about the wrong bytes."""
        if not is_at(self._descriptor, self._path):
            what = "replaced" if os.path.lexists(self._path) else "deleted"
            raise LocalError(self._path, f"the file was {what} while it was being filled")

    def check_length(self) -> None:
        """Raise when the file is shorter than it was made."""
        size = self.cut_to
        if size is not None:
            why = f"the file was cut to {size} bytes while it was being filled"
            raise LocalError(self._path, why, hint=_RUN_AGAIN)

    def check_whole(self, size: int | None) -> None:
        """Raise unless *path* still names the file and it has *size* bytes."""
        self.check_place()
        here = os.fstat(self._descriptor).st_size
        if size is not None and here != size:
            why = f"the file was changed while it was being filled: {here} bytes, not {size}"
            raise LocalError(self._path, why, hint=_RUN_AGAIN)

    def check_room(self, missing: int, held: int) -> None:
        """Raise when the file system has visibly less than *missing* bytes of room; *held* are in the file."""
        with self.using() as descriptor:
            try:
                free = os.fstatvfs(descriptor)
            except OSError:  # the file system cannot tell: try
                return
            if not free.f_blocks:  # nor can one that says it has no blocks at all
                return
            allocated = os.fstat(descriptor).st_blocks * 512  # bytes: the unit of st_blocks (stat(3type))
        room = free.f_bavail * free.f_frsize
        if missing > room + max(allocated - held, 0):
            why = f"the disk has {room} bytes free, and {missing} are missing"
            raise LocalError(self._path, why, hint="make room and run the same command again")


def check_room_beside(path: str, missing: int) -> None:
    """Raise `LocalError` when there is visibly no room for *missing* bytes beside *path*."""
    try:
        free = os.statvfs(folder_of(path))
    except OSError:  # the file system cannot tell, or creating the file will say what is wrong: try
        return
    room = free.f_bavail * free.f_frsize
    if free.f_blocks and missing > room:
        why = f"the disk has {room} bytes free, and {missing} are missing"
        raise LocalError(path, why, hint="make room and run the same command again")
