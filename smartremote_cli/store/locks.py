"""Locks between processes: on a file while it is written, and on the cache folder while what is shared there changes.

The lock of a file is tried and never waited for. The folder's is waited for, but not for long.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator

from ..errors import BusyError, LocalError
from .files import is_at, local

# Wait this long for a folder's lock, seconds. By judgement: its holders need a millisecond, so that one which has it
# for longer is stopped, or on a disk that hangs. After that, do not wait again for a while, but only look.
LOCK_SECONDS = 0.4
_HOPELESS_SECONDS = 5.0
_LOCK_POLL_SECONDS = 0.002
_HELD_TOO_LONG = "another process does not let go of the cache's lock"
_hopeless_until: dict[str, float] = {}  # by the lock's name; a lost update costs a wait


def open_locked(path: str, extra: int, *, shared: bool = False) -> int:
    """Open the regular file *path* for reading and writing, with the flags *extra*, and lock it for this process.

    Raises `BusyError` when another process has it locked or puts another file in its place at this moment. Where
    the file system has no locks, it goes without: all writes are positional.
    """
    flags, mode = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | extra, 0o666
    if shared:  # the cache is its owner's alone, and holds no links
        flags, mode = flags | os.O_NOFOLLOW, 0o600
    descriptor = os.open(path, flags, mode)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise LocalError(path, "is not a regular file")
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(path, "another process is working on this file") from error
        except OSError:
            pass  # no locks here
        if not is_at(descriptor, path):
            raise BusyError(path, "another process has just replaced this file")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_alone(descriptor: int) -> bool:
    """Return whether no other process has the open file, locked as shared, in use.

    Call it with the folder's lock held: for a moment the file may be without its own.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
    return True


@contextlib.contextmanager
def folder_lock(folder: str) -> Iterator[None]:
    """Hold the folder's lock: one process at a time creates, merges or removes what is shared in it.

    Hold it for no longer than it takes to rewrite a record: not while syncing, listing, or waiting for anything.
    Raises `BusyError` when another process, which may be stopped, does not let go of it.
    """
    name = os.path.join(folder, ".lock")
    with local(name):
        descriptor = os.open(
            name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600
        )
    try:
        _wait_for_lock(descriptor, name)
        yield
    finally:
        with contextlib.suppress(OSError):
            # Closing is not enough: a child forked meanwhile has the descriptor too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _wait_for_lock(descriptor: int, name: str) -> None:
    """Lock *descriptor*, waiting for `LOCK_SECONDS` at most; once that was in vain, look just once for a while."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now = time.monotonic()
            if now < _hopeless_until.get(name, 0.0):
                raise BusyError(name, _HELD_TOO_LONG) from None
            if now >= deadline:
                _hopeless_until[name] = now + _HOPELESS_SECONDS
                raise BusyError(name, _HELD_TOO_LONG) from None
            time.sleep(_LOCK_POLL_SECONDS)
            continue
        except OSError:
            pass  # without locks the bytes are right all the same
        _hopeless_until.pop(name, None)
        return
