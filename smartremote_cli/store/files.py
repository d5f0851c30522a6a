"""Files handled with care: replaced whole or not at all, made durable in order, marked while unfinished.

Nothing here knows of blocks or records. Errors of the system pass as they are; `local` translates them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator

from ..core.file_names import shortened
from ..core.ranges import ByteRange
from ..errors import BusyError, LocalError
from ..threads import start

MARK = "user.smartremote.partial"
NAME_MAX = 255  # bytes of a file's name: NAME_MAX of Linux and of the file systems in use

LONGEST_BESIDE = ".part.sums"  # the longest ending of what is kept beside a file

_CLOEXEC = os.O_CLOEXEC

_BEING_WRITTEN = "another process is writing this file at the same moment"

# What link(2) fails with for reasons that would make rename(2) fail too. File systems without hard links fail with
# one of many other codes.
_NOT_ABOUT_LINKS = (
    errno.EEXIST,
    errno.ENOENT,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.EROFS,
)

# What a person can do about an error of the system.
_HINTS = {
    errno.ENOSPC: "make room and run the same command again",
    errno.EDQUOT: "make room and run the same command again",
    errno.EFBIG: "this file system, or a limit of yours, allows no file of that size: choose another folder",
}


@contextlib.contextmanager
def local(path: str) -> Iterator[None]:
    """Translate the system's errors about *path* into `LocalError`."""
    try:
        yield
    except (LocalError, BusyError):
        raise
    except OSError as error:
        raise LocalError.of(path, error, hint=_HINTS.get(error.errno or 0)) from error


def open_nameless(folder: str) -> int:
    """Open a new file in *folder* without a name; closing it removes it."""
    import tempfile

    descriptor, name = tempfile.mkstemp(prefix=".", dir=folder)
    os.unlink(name)
    return descriptor


def is_at(descriptor: int, path: str) -> bool:
    """Return whether *path* names the open file."""
    try:
        there, here = os.stat(path), os.fstat(descriptor)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def replace(path: str, data: bytes, *, sync: bool, new: bool = False) -> None:
    """Replace the file *path* by *data*, whole or not at all.

    Raises `BusyError` when another process replaces the same file at this moment (locks prevent that where they
    work), and, with *new*, when there is such a file already.
    """
    scratch = scratch_of(path)
    if os.path.islink(path):
        raise LocalError(path, "refusing to write a part record through a symbolic link")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(scratch)
    with synced_folder(folder_of(scratch), sync):
        try:
            descriptor = os.open(
                scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | _CLOEXEC, 0o600
            )
        except FileExistsError as error:
            raise BusyError(path, _BEING_WRITTEN) from error
        try:
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
                if sync:
                    sync_file(descriptor)
            finally:
                os.close(descriptor)
            if new:
                _link_new(scratch, path)
            else:
                _rename(scratch, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(scratch)
            raise


def _rename(scratch: str, path: str) -> None:
    try:
        os.replace(scratch, path)
    except FileNotFoundError as error:
        if os.path.isdir(folder_of(scratch)):
            raise BusyError(path, _BEING_WRITTEN) from error
        raise


def remove(*paths: str) -> None:
    """Remove those of *paths*, all in one folder, that exist, and make that durable."""
    found = False
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            found = True
    if found:
        sync_folder(folder_of(paths[0]))


def folder_of(path: str) -> str:
    """Return the folder of *path* without resolving `..`: after a symbolic link, text alone cannot tell where it is."""
    return os.path.dirname(path) or os.curdir


def scratch_of(path: str) -> str:
    """Return the temporary name that `replace` uses: always the same, so that the next run removes a crash's."""
    return beside(path, ".tmp", ".part.tmp")


def beside(path: str, ending: str, ending_of_digest: str) -> str:
    """Return *path* with *ending*; where the folder takes no name so long, a digest of the name with another ending."""
    folder, name = os.path.split(path)
    longer = f"{name}{ending}"
    if len(os.fsencode(longer)) > max_name(folder or os.curdir):
        longer = f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}{ending_of_digest}"
    return os.path.join(folder, longer)


def max_name(folder: str) -> int:
    """Return how many bytes a name in *folder* may have: 143 on eCryptfs, 255 almost anywhere else."""
    try:
        return min(NAME_MAX, os.pathconf(folder, "PC_NAME_MAX"))
    except (OSError, ValueError, AttributeError):  # the folder is missing, or the system has no such limit
        return NAME_MAX


def fitting_name(name: str, folder: str) -> str:
    """Return *name*, shortened with its ending kept where *folder* takes no such name with a record beside it."""
    return shortened(name, max_name(folder) - len(LONGEST_BESIDE))


def sync_file(descriptor: int, *, names: bool = True) -> None:
    """Make what was written to the open file durable; with *names* also what the file system keeps of it.

    On macOS fsync leaves bytes in the drive's cache, and F_FULLFSYNC does not (fsync(2)); there is no fdatasync.
    """
    full: int | None = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        try:
            fcntl.fcntl(descriptor, full)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOTTY):  # not every file system has it
                raise
    if names or not hasattr(os, "fdatasync"):
        os.fsync(descriptor)
    else:
        os.fdatasync(descriptor)


def sync_folder(folder: str, sync: bool = True) -> None:
    """Make the names in *folder* durable, where the file system and our rights allow it."""
    with synced_folder(folder, sync):
        pass


@contextlib.contextmanager
def synced_folder(folder: str, sync: bool = True) -> Iterator[None]:
    """Make the names in *folder* durable at the end of the block; a failure to open the folder comes before it."""
    descriptor: int | None = None
    if sync:
        # A folder that may be written but not read cannot be synced.
        with contextlib.suppress(PermissionError):
            descriptor = os.open(folder, os.O_RDONLY | _CLOEXEC)
    try:
        yield
        if descriptor is not None:
            with contextlib.suppress(OSError):  # some file systems cannot sync a folder, and need not
                os.fsync(descriptor)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def interruptibly(action: Callable[[], None]) -> None:
    """Run *action*, which may hang in the kernel, in a thread of its own: a signal ends the wait, not the action.

    Python runs a signal's handler in the main thread alone, and only once the system call there is over.
    """
    if threading.current_thread() is not threading.main_thread():
        action()
        return
    failures: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="smartremote-sync", daemon=True)
    if not start(thread):
        action()
        return
    thread.join()
    if failures:
        raise failures[0]


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
        except (OSError, AttributeError):
            return
        yield ByteRange(start, min(stop, size))
        position = stop


def mark(descriptor: int) -> None:
    """Mark the file as unfinished, where the file system and the system have extended attributes."""
    if not is_marked(descriptor):  # marking it again would change its time of change
        with contextlib.suppress(OSError, AttributeError):
            os.setxattr(descriptor, MARK, b"1")


def unmark(descriptor: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        os.removexattr(descriptor, MARK)


def is_marked(path: str | int) -> bool:
    try:
        os.getxattr(path, MARK)
    except (OSError, AttributeError):
        return False
    return True


def _link_new(scratch: str, path: str) -> None:
    """Give *scratch* the name *path*; `BusyError` when another process has taken it meanwhile."""
    try:
        try:
            os.link(scratch, path)
        except OSError as error:
            if error.errno in _NOT_ABOUT_LINKS:
                raise
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
            os.replace(scratch, path)
            return
        os.unlink(scratch)
    except (FileExistsError, FileNotFoundError) as error:  # not found: another process cleaned our scratch up
        raise BusyError(path, "another process has just begun this file") from error
