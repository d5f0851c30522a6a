"""What an earlier run left behind, read without changing it: the data file, its record, and where they agree."""

from __future__ import annotations

import errno
import os
import stat

from ..core.blocks import BLOCK, MAX_SIZE, BlockMap
from ..core.ranges import ByteRange
from ..errors import DamagedError, LocalError
from .files import holes, is_marked, local
from .part import MAX_RECORD, Record, decode
from .resume import OnDisk


def record_path(path: str) -> str:
    """Return where the part record of the data file *path* is."""
    return f"{path}.part"


def inspect(path: str) -> OnDisk | None:
    """Return what is at *path*, None for nothing; `LocalError` when it is no regular file."""
    with local(path):
        try:
            found = os.stat(path)
        except FileNotFoundError:
            if os.path.islink(path):
                raise LocalError(path, "a symbolic link to nothing") from None
            return None
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        raise LocalError(path, f"is {kind}")
    return OnDisk(found.st_size, marked=is_marked(path))


def load_record(path: str) -> Record | None:
    """Return the record of the data file *path*, None when there is none; `DamagedError` when it is unreadable."""
    data = read_record(record_path(path), MAX_RECORD)
    return None if data is None else decode(data, record_path(path))


def read_record(name: str, most: int) -> bytes | None:
    """Return what the record *name* holds, None when there is none; `DamagedError` when that is more than *most* bytes.

    Raises `LocalError` for what is no regular file.
    """
    with local(name):
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise LocalError(name, "refusing to read a part record through a symbolic link") from error
            if error.errno == errno.ENAMETOOLONG:
                return None
            raise
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise LocalError(name, "is not a regular file")
            if found.st_size > most:
                raise DamagedError(name, f"{found.st_size} bytes are no part record")
            return file.read(found.st_size)  # read() allocates all that it is asked for


def survey(path: str, record: Record) -> BlockMap:
    """Return which blocks of *record* the data file *path* can hold, without locking or changing it.

    Without a recorded size, the map is as large as maps can be.
    """
    with local(path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return BlockMap(_size(record))
        try:
            return blocks_in_file(descriptor, record)
        finally:
            os.close(descriptor)


def blocks_in_file(descriptor: int, record: Record) -> BlockMap:
    """Return the blocks of *record* that lie neither past the end of the open data file nor in its holes."""
    blocks = BlockMap.fitting(_size(record), record.bits)
    here = os.fstat(descriptor).st_size
    if here < blocks.size:
        blocks.forget(ByteRange(here // BLOCK * BLOCK, MAX_SIZE))
    for hole in holes(descriptor, min(here, blocks.size)):
        blocks.forget(hole)
    return blocks


def _size(record: Record) -> int:
    size = None if record.identity is None else record.identity.size
    return MAX_SIZE if size is None else size
