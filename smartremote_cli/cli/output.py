"""Standard output for data: everything that a command prints is written whole, or the command fails.

Python's own streams do not promise that. With PYTHONUNBUFFERED (usual in containers) `sys.stdout.buffer` is the bare
descriptor, whose `write` may take a part of what it is given and says so only in its result; a buffered one raises
BlockingIOError where the other end of a pipe has set O_NONBLOCK. So the descriptor is written to here, and nowhere
else. Errors are its own, so that they are not mistaken for those of another file.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from typing import BinaryIO

from ..errors import LocalError

# While a full non-blocking pipe has no room, look this often whether a signal was delivered to another thread.
# Room itself wakes the wait at once, so this trades a few wake-ups in a second for a prompt Ctrl-C.
_POLL_INTERVAL_MS = 250


class PipeClosed(BrokenPipeError):
    """The program that read our output has closed the pipe.

    It carries no errno on purpose: Click ends the process with 1 for an OSError whose errno is EPIPE.
    """


class Output:
    """Standard output, for bytes. Raises `LocalError` when it is closed or the disk behind it is full."""

    def __init__(self) -> None:
        if sys.stdout is None or sys.stdout.closed:
            raise LocalError("standard output", "is closed")
        self._out = sys.stdout
        self._descriptor = _descriptor(self._out)

    def write(self, data: bytes) -> None:
        """Write all of *data*. Nothing is kept back: what was written before an error has been printed."""
        try:
            self._out.flush()  # what Click or a caller has printed comes first
            if self._descriptor is None:
                _write_to(self._out.buffer, data)
            else:
                write_all(self._descriptor, data)
        except OSError as error:
            raise _translated(error) from error

    def finish(self) -> None:
        """Ask for the errors that come late: some file systems report a full disk or quota only on close (NFS)."""
        try:
            self._out.flush()
            if self._descriptor is not None:
                # Each close of a descriptor reports them, also that of a copy; this one stays open.
                os.close(os.dup(self._descriptor))
        except OSError as error:
            if error.errno not in (errno.EBADF, errno.EMFILE, errno.ENFILE, errno.EINTR):
                raise _translated(error) from error


def write_line(text: str) -> None:
    """Write a line of text to standard output; lone surrogates (surrogateescape) become the bytes they stand for."""
    out = Output()
    out.write(text.encode("utf-8", "surrogateescape") + b"\n")
    out.finish()


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of *data* to *descriptor*, waiting where a non-blocking one has no room. Raises OSError."""
    left = memoryview(data)
    while left:
        try:
            written = os.write(descriptor, left)
        except BlockingIOError:
            _wait_for_room(descriptor)
            continue
        if written == 0:  # no device that works does this; trying again might go on for ever
            raise OSError(errno.EIO, "the device takes no bytes")
        left = left[written:]


def make_whole() -> None:
    """Let what others print to `sys.stdout` (Click's help and version) be written whole too.

    Only the stream of the process needs this: a stream that is no descriptor is somebody's buffer in memory.
    """
    out = sys.stdout
    if out is None or out.closed or (descriptor := _descriptor(out)) is None:
        return
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Whole(descriptor)),
        encoding=out.encoding,
        errors=out.errors,
        line_buffering=out.isatty(),
    )


class _Whole(io.RawIOBase):
    """A descriptor as a stream whose `write` takes everything."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: bytes | memoryview, /) -> int:  # type: ignore[override]
        view = memoryview(data).cast("B")
        write_all(self._descriptor, view)
        return len(view)


def _descriptor(stream: io.TextIOBase | object) -> int | None:
    """Return the descriptor behind *stream*, None when it is a buffer in memory."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        number = stream.fileno()  # type: ignore[union-attr]
        return number if isinstance(number, int) and number >= 0 else None
    return None


def _write_to(buffer: BinaryIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        # What replaces standard output in other programs may return nothing; it takes everything then.
        left = left[buffer.write(left) or len(left) :]


def _wait_for_room(descriptor: int) -> None:
    """Wait until *descriptor* may take bytes. A closed pipe counts as room: the next write says that it is closed."""
    room = select.poll()
    room.register(descriptor, select.POLLOUT)
    while not room.poll(_POLL_INTERVAL_MS):
        pass


def _translated(error: OSError) -> Exception:
    # A socket whose other end is gone resets where a pipe breaks.
    if isinstance(error, (BrokenPipeError, ConnectionResetError)):
        return PipeClosed("the reader of standard output closed it")
    return LocalError("standard output", os.strerror(error.errno) if error.errno else str(error))
