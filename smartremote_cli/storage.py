"""LocalCopy: a sparse data file, its part record, the lock, and the checkpoint that makes progress durable.

Order on disk is the whole point. The record exists before the data file and goes last, so that a data file
without a record is complete; a block is recorded only after its bytes were synced; an unfinished file carries a
mark (an extended attribute), so that losing its record does not make it look complete.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from typing import Protocol

from pyroaring import BitMap

from .blocks import BLOCK, MAX_SIZE, BlockMap
from .errors import BusyError, DamagedError, LocalError
from .headers import Identity
from .part import MAX_RECORD, Record, decode, encode
from .ranges import ByteRange
from .resume import OnDisk

MARK = "user.smartremote.partial"

_LONGEST_NAME = 255
_CLOEXEC = os.O_CLOEXEC


class Copy(Protocol):
    """Where the blocks of one resource are kept. Positional, so that any number of threads may write."""

    blocks: BlockMap
    identity: Identity

    def settle(self, identity: Identity) -> None: ...

    def write(self, offset: int, data: memoryview) -> None: ...

    def read(self, wanted: ByteRange) -> bytes: ...

    def checkpoint(self, snapshot: BlockMap) -> None: ...


def record_path(path: str) -> str:
    """Return where the part record of the data file *path* is."""
    return f"{path}.part"


def inspect(path: str) -> OnDisk | None:
    """Return what stands at *path*, None for nothing; `LocalError` when it is no regular file."""
    with _local(path):
        try:
            found = os.stat(path)
        except FileNotFoundError:
            if os.path.islink(path):
                raise LocalError(path, "a symbolic link to nothing") from None
            return None
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        raise LocalError(path, f"is {kind}")
    return OnDisk(found.st_size, marked=_is_marked(path))


def load_record(path: str) -> Record | None:
    """Return the record of the data file *path*, None when there is none; `DamagedError` when it is unreadable."""
    name = record_path(path)
    with _local(name):
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | _CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise LocalError(name, "is a symbolic link, which a record may not be") from error
            if error.errno == errno.ENAMETOOLONG:
                return None
            raise
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise LocalError(name, "is not a regular file")
            if found.st_size > MAX_RECORD:
                raise DamagedError(name, f"{found.st_size} bytes are no part record")
            return decode(file.read(), name)


def holes(descriptor: int, size: int) -> Iterator[ByteRange]:
    """Yield the holes of an open file of *size* bytes; nothing where the file system cannot tell."""
    position = 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_HOLE)
            if start >= size:
                return
            try:
                stop = os.lseek(descriptor, start, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:  # ENXIO: no data up to the end
                    return
                stop = size
        except OSError:
            return
        yield ByteRange(start, min(stop, size))
        position = stop


def survey(path: str, record: Record) -> BlockMap:
    """Return which of the blocks that *record* claims are in the data file *path*, without opening it for work.

    Without a recorded size, the map is as large as maps can be.
    """
    size = None if record.identity is None else record.identity.size
    blocks = BlockMap.fitting(MAX_SIZE if size is None else size, record.bits)
    with _local(path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _CLOEXEC)
        except FileNotFoundError:
            blocks.clear()
            return blocks
        try:
            _forget_lost(blocks, descriptor, os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)
    return blocks


class LocalCopy:
    """One data file with its record, open and locked. *path* and *url* are as the user knows them.

    The owner guards `blocks`; `write` and `read` are positional and need no lock. `shared` copies (the cache)
    are locked for use, not for ownership: their checkpoints take over what other processes recorded.
    """

    def __init__(
        self,
        path: str,
        url: str,
        identity: Identity,
        blocks: BlockMap,
        descriptor: int,
        *,
        sync: bool = True,
        shared: bool = False,
    ) -> None:
        self.path = path
        self.url = url
        self.identity = identity
        self.blocks = blocks
        self.sync = sync
        self.shared = shared
        self._descriptor = descriptor
        self._folder = os.path.dirname(os.path.abspath(path))
        self._saving = threading.Lock()  # one checkpoint at a time; guards the record's path
        self._has_record = True
        self._closed = False

    @classmethod
    def create(
        cls, path: str, url: str, identity: Identity, *, sync: bool = True, shared: bool = False
    ) -> LocalCopy:
        """Make the record, then the data file, marked and locked; what was at *path* is replaced.

        Raises `BusyError` when another process got there first, `LocalError` for a full disk or no permission.
        """
        size = identity.size
        blocks = BlockMap(MAX_SIZE if size is None else size)
        _check_name(path)
        with _local(path):
            _save(record_path(path), encode(Record(BitMap(), identity, url)), sync)
            try:
                descriptor = _open_locked(path, os.O_CREAT, shared)
            except BaseException as error:
                if not isinstance(error, BusyError):
                    with contextlib.suppress(OSError):
                        os.unlink(record_path(path))
                raise
        copy = cls(path, url, identity, blocks, descriptor, sync=sync, shared=shared)
        try:
            copy._begin()
        except BaseException:
            copy.discard()
            raise
        return copy

    @classmethod
    def reopen(
        cls, path: str, url: str, record: Record, *, sync: bool = True, shared: bool = False
    ) -> LocalCopy:
        """Open the data file that *record* speaks of, making it where it is missing.

        Blocks that do not fit the file, and blocks that lie in holes, are not held any more. A record without a
        size takes the data file's until the server states one. Raises as `create` does.
        """
        with _local(path):
            descriptor = _open_locked(path, os.O_CREAT, shared)
            try:
                here = os.fstat(descriptor).st_size
                identity = record.identity or Identity(None)
                size = identity.size
                blocks = BlockMap.fitting(MAX_SIZE if size is None else size, record.bits)
                _forget_lost(blocks, descriptor, here)
                copy = cls(path, url, identity, blocks, descriptor, sync=sync, shared=shared)
                copy._mark()
            except BaseException:
                os.close(descriptor)
                raise
        return copy

    @property
    def record(self) -> str:
        return record_path(self.path)

    @property
    def descriptor(self) -> int:
        return self._descriptor

    def settle(self, identity: Identity) -> None:
        """Take *identity* as what the held blocks are of; the file gets the size, and the map loses what lies past it.

        The owner holds the guard of `blocks`.
        """
        self.identity = identity
        if identity.size is None:
            return
        if identity.size != self.blocks.size:
            self.blocks = BlockMap.fitting(identity.size, self.blocks.bits)
        with _local(self.path):
            if os.fstat(self._descriptor).st_size != identity.size:
                os.ftruncate(self._descriptor, identity.size)

    def write(self, offset: int, data: memoryview) -> None:
        """Write all of *data* at *offset*; `LocalError` when the disk does not take it."""
        with _local(self.path):
            while data:
                count = os.pwrite(self._descriptor, data, offset)
                if not count:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                data, offset = data[count:], offset + count

    def read(self, wanted: ByteRange) -> bytes:
        """Return the bytes of *wanted*; fewer only where the file ends."""
        with _local(self.path):
            parts = []
            offset = wanted.start
            while offset < wanted.stop:
                part = os.pread(self._descriptor, min(wanted.stop - offset, 1 << 30), offset)
                if not part:
                    break
                parts.append(part)
                offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def checkpoint(self, snapshot: BlockMap) -> None:
        """Make *snapshot*, a map of blocks that are written, survive a crash.

        The data it vouches for is flushed before the record replaces the old one. A crash at any point costs a
        second download, never a hole taken for data. After a failed sync the old record stands: which of the
        pages written since are on the disk, nobody knows.
        """
        with self._saving, _local(self.path):
            if self._closed or not self._has_record:
                return
            if self.sync:
                os.fdatasync(self._descriptor)
            bits = snapshot.bits
            with self._merging() as others:
                if others is not None:
                    bits |= others
                _save(self.record, encode(Record(bits, self.identity, self.url)), self.sync)

    def finish(self) -> None:
        """Make the whole file durable and remove the mark, then the record: the file is complete."""
        with self._saving, _local(self.path):
            if not self._has_record:
                return
            if self.sync:
                os.fsync(self._descriptor)
            self._unmark()
            if self.sync:
                os.fsync(self._descriptor)
            if os.path.lexists(self.path):
                os.unlink(self.record)
                self._has_record = False
                _sync_folder(self._folder, self.sync)
            else:
                raise LocalError(self.path, "the file was deleted while it was being filled")

    def close(self) -> None:
        """Close the file and let go of the lock. No checkpoint is made."""
        with self._saving:
            if not self._closed:
                self._closed = True
                os.close(self._descriptor)

    def discard(self) -> None:
        """Remove the data file, then the record, and close: as if it had never been begun."""
        with self._saving, contextlib.suppress(OSError):
            if self._is_ours():
                os.unlink(self.path)
            if self._has_record:
                os.unlink(self.record)
                self._has_record = False
        self.close()

    def room_for(self, missing: int) -> None:
        """Raise `LocalError` when the file system has visibly less than *missing* bytes of room."""
        with contextlib.suppress(OSError):
            free = os.fstatvfs(self._descriptor)
            room = free.f_bavail * free.f_frsize
            spare = self._allocated() - self.blocks.bytes_held if self.identity.size is not None else 0
            if missing > room + max(spare, 0):
                raise _no_room(self.path, missing, room)

    def _allocated(self) -> int:
        return os.fstat(self._descriptor).st_blocks * 512

    def _begin(self) -> None:
        with _local(self.path):
            os.ftruncate(self._descriptor, 0)
            self._mark()
            if self.identity.size is not None:
                os.ftruncate(self._descriptor, self.identity.size)
            _sync_folder(self._folder, self.sync)

    def _mark(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # not every file system, nor system, has them
            os.setxattr(self._descriptor, MARK, b"1")

    def _unmark(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.removexattr(self._descriptor, MARK)

    def _is_ours(self) -> bool:
        """Whether the path still names the open file."""
        try:
            there, here = os.stat(self.path), os.fstat(self._descriptor)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    @contextlib.contextmanager
    def _merging(self) -> Iterator[BitMap | None]:
        """Hold other processes' checkpoints of a shared copy off, and yield the blocks that they recorded."""
        if not self.shared:
            yield None
            return
        with folder_lock(self._folder):
            if not self._is_ours():  # another process found the resource changed and began anew
                self._has_record = False
                raise StaleCopyError(self.path, "the cached copy was replaced")
            try:
                record = load_record(self.path)
            except DamagedError:
                record = None
            same = record is not None and record.identity == self.identity
            yield record.bits if record is not None and same else None


class StaleCopyError(LocalError):
    """A shared copy was replaced by another process; its blocks are of an older version."""


class MemoryCopy:
    """The blocks of a resource in memory: nothing on disk, no record. `forget` bounds it."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.blocks = BlockMap(MAX_SIZE if identity.size is None else identity.size)
        self._lock = threading.Lock()  # guards _blocks
        self._blocks: dict[int, bytearray] = {}

    def settle(self, identity: Identity) -> None:
        self.identity = identity
        if identity.size is not None and identity.size != self.blocks.size:
            self.blocks = BlockMap.fitting(identity.size, self.blocks.bits)

    def checkpoint(self, snapshot: BlockMap) -> None:
        """Do nothing: memory survives no crash."""

    def write(self, offset: int, data: memoryview) -> None:
        while data:
            block, start = divmod(offset, BLOCK)
            count = min(BLOCK - start, len(data))
            with self._lock:
                content = self._blocks.setdefault(block, bytearray())
                if len(content) < start + count:
                    content.extend(bytes(start + count - len(content)))
                content[start : start + count] = data[:count]
            data, offset = data[count:], offset + count

    def read(self, wanted: ByteRange) -> bytes:
        parts = []
        offset = wanted.start
        while offset < wanted.stop:
            block, start = divmod(offset, BLOCK)
            count = min(BLOCK - start, wanted.stop - offset)
            with self._lock:
                part = bytes(memoryview(self._blocks.get(block, b""))[start : start + count])
            parts.append(part)
            if len(part) < count:
                break
            offset += count
        return b"".join(parts)

    def forget(self, dropped: ByteRange) -> None:
        """Drop the blocks that *dropped* touches; the owner forgets them in `blocks`."""
        with self._lock:
            for block in range(dropped.start // BLOCK, -(-dropped.stop // BLOCK)):
                self._blocks.pop(block, None)


@contextlib.contextmanager
def folder_lock(folder: str) -> Iterator[None]:
    """Hold the folder's lock: one process at a time creates, merges or removes shared copies in it."""
    descriptor = os.open(os.path.join(folder, ".lock"), os.O_RDWR | os.O_CREAT | _CLOEXEC, 0o600)
    try:
        with contextlib.suppress(OSError):  # where locks do nothing, bytes are still right
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open_locked(path: str, extra: int, shared: bool) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | _CLOEXEC | extra, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise LocalError(path, "is not a regular file")
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(path, "another process is working on this file") from error
        except OSError:
            pass  # no locks here
        here, there = os.fstat(descriptor), os.stat(path)
        if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
            raise BusyError(path, "another process has just replaced this file")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _forget_lost(blocks: BlockMap, descriptor: int, here: int) -> None:
    """Drop the blocks that the data file, *here* bytes long, cannot hold or has as holes."""
    if here < blocks.size:
        blocks.forget(ByteRange(here // BLOCK * BLOCK, MAX_SIZE))
    for hole in holes(descriptor, min(here, blocks.size)):
        blocks.forget(hole)


def _save(path: str, data: bytes, sync: bool) -> None:
    """Replace the file *path* by *data*, whole or not at all."""
    folder, name = os.path.split(os.path.abspath(path))
    scratch = f"{name}.tmp"
    if len(os.fsencode(scratch)) > _LONGEST_NAME:
        scratch = f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.part.tmp"
    scratch = os.path.join(folder, scratch)
    if os.path.islink(path):
        raise LocalError(path, "is a symbolic link, which a record may not be")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(scratch)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | _CLOEXEC, 0o600)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(scratch, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(scratch)
        raise
    _sync_folder(folder, sync)


def _sync_folder(folder: str, sync: bool) -> None:
    if not sync:
        return
    descriptor = os.open(folder, os.O_RDONLY | _CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot sync a folder, and need not
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_name(path: str) -> None:
    if len(os.fsencode(os.path.basename(record_path(path)))) > _LONGEST_NAME:
        raise LocalError(path, "the name is too long for a part record beside it (250 bytes)")


def _is_marked(path: str) -> bool:
    try:
        os.getxattr(path, MARK)
    except (OSError, AttributeError):
        return False
    return True


def _no_room(path: str, missing: int, room: int) -> LocalError:
    return LocalError(
        path, f"the disk has {room} bytes free, and {missing} are missing", hint="make room, run again"
    )


@contextlib.contextmanager
def _local(path: str) -> Iterator[None]:
    """Translate the system's errors about *path*."""
    try:
        yield
    except LocalError:
        raise
    except BusyError:
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "make room and run the same command again" if full else None
        raise LocalError(path, os.strerror(error.errno) if error.errno else str(error), hint=hint) from error
