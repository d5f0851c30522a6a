"""RemoteFile: a resource as Python's own files are: read, seek, tell, close, over an `OpenFile`."""

from __future__ import annotations

import contextlib
import io
import operator
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex

from ..core.blocks import BLOCK, BlockMap
from ..errors import ClosedError, LocalError, RemoteFailure, SmartRemoteError
from ..events import Snapshot
from .open_file import OpenFile
from .position import Position, Reservation

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# How many bytes `readline` looks at at a time: what io.DEFAULT_BUFFER_SIZE is, a long line or a few short ones.
_PEEK_BYTES = 8 * 1024


class RemoteFile(io.RawIOBase):
    """A resource opened for reading. Offsets and lengths are bytes.

    Safe to use from several threads: `read` and `seek` share one position, `read_at` has none. A read moves the
    position at once and fetches its bytes afterwards, so that threads wait for their own bytes alone. Reads return
    as much as was asked for, unless the end comes first. Offsets and lengths may be anything with `__index__`.
    Errors are `smartremote_cli.errors`, most of them OSErrors. After a fork it goes on in both processes. It cannot
    be pickled: open the URL again in the other process.
    """

    warns_when_forgotten = True  # callers by way of fsspec do not close their files

    def __init__(
        self, opened: OpenFile, release: Callable[[], None], hand_over: Callable[[Callable[[], None]], None]
    ) -> None:
        """Read *opened*; *release* is called once, when this file is closed.

        *hand_over* has another thread close a file that was forgotten.
        """
        super().__init__()
        self._hand_over = hand_over
        self._opened = opened
        self._release: Callable[[], None] | None = release
        self._owned: Callable[[], None] | None = None
        self._position = Position()
        self._digest = opened.stream_digest()
        self._digesting = threading.Lock()  # guards _digest

    def __repr__(self) -> str:
        state = " closed" if self.closed else ""
        return f"<RemoteFile {self._opened.remote.name}{state}>"

    def __del__(self, _warn: Any = warnings.warn) -> None:
        # The collector calls this anywhere, also under locks: no lock is taken here, and nothing read or written.
        release, self._release = getattr(self, "_release", None), None
        if release is None:
            return
        if not sys.is_finalizing():  # else the threads stand still already
            self._hand_over(partial(_close, release, self._owned))
        if self.warns_when_forgotten:
            _warn(f"unclosed file {self!r}", ResourceWarning, source=self, stacklevel=2)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close. A program that swallowed an error of ours, and made its own of it, raises ours.

        zipfile calls everything that it cannot read "not a zip file", a resource that is missing too.
        """
        self.close()
        swallowed = _swallowed(error)
        if swallowed is not None:
            raise swallowed from error

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle {self!r}: open its URL again in the other process")

    @property
    def name(self) -> str:
        """The data file's path; the URL, as it may be shown, when there is none."""
        return self._opened.path or self._opened.remote.name

    @property
    def mode(self) -> str:
        return "rb"

    @property
    def url(self) -> str:
        """The URL, without user and password."""
        return self._opened.remote.url

    @property
    def size(self) -> int:
        """The resource's size in bytes; the first use asks the server when it is not known."""
        return self._open().size

    @property
    def modified(self) -> datetime | None:
        """When the resource was modified, as the server dates it; the first use asks. None where it gives no date."""
        return self._open().modified

    def set_size(self, size: SupportsIndex) -> None:
        """State the size in bytes, which saves asking; an answer that says otherwise is `RemoteChangedError`."""
        self._open().state_size(operator.index(size))

    @property
    def blocks(self) -> BlockMap:
        """A copy of the map of the 64 KiB blocks that are held."""
        return self._open().blocks()

    def stat(self) -> os.stat_result:
        """Return the data file's stat result, its st_size being the resource's size."""
        return self._open().stat()

    def readable(self) -> bool:
        self._open().check_refused()
        return True

    def seekable(self) -> bool:
        self._open().check_refused()
        return True

    def read(self, size: SupportsIndex | None = -1, /) -> bytes:
        """Return the next *size* bytes, all up to the end for -1 or None; fewer only where the file ends.

        Where all of the file was read in order, the last of these reads raises `ChecksumError` when that is not what
        the server's digest, or the checksum given to `open`, says. What is held is forgotten then. A read that raises
        leaves the position where it was.
        """
        wanted = -1 if size is None else operator.index(size)
        opened = self._open()
        reserved = self._reserve_rest(opened) if wanted < 0 else self._position.reserve(wanted)
        with self._giving_back(reserved):
            data = opened.read_at(reserved.start, reserved.stop - reserved.start, self._is_closed)
            self._note_read(reserved.start, data)
        if len(data) < reserved.stop - reserved.start:
            known = opened.known_size
            stop = reserved.start if known is None else known
            self._position.stop_at(reserved.start + len(data) if data else stop, reserved)
        return data

    def _reserve_rest(self, opened: OpenFile) -> Reservation:
        """Reserve everything up to the end; where that is not known it is asked for, which holds up no other read."""
        while True:  # until no other thread reads on from the same place meanwhile
            seen = self._position.look()
            reserved = self._position.try_move(seen, max(seen.start, opened.size))
            if reserved is not None:
                return reserved

    @contextlib.contextmanager
    def _giving_back(self, reserved: Reservation) -> Iterator[None]:
        """Return to where *reserved* began when the block raises."""
        try:
            yield
        except BaseException:
            self._position.give_back(reserved)
            raise

    def _note_read(self, start: int, data: bytes) -> None:
        """Have *data* digested; `ChecksumError` where a resource that is wrong ends with it."""
        with self._digesting:
            if self._digest.take(start, data):
                self._digest.verify()

    def readall(self) -> bytes:
        """Return everything from the position to the end."""
        return self.read()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill *buffer* from the position on; return how many bytes, fewer than it holds only at the end."""
        self._open()
        with memoryview(buffer) as view:
            if view.readonly:
                raise TypeError("readinto() needs a buffer that can be written to")
            if not view.nbytes:
                return 0
            with view.cast("B") as flat:
                data = self.read(len(flat))
                flat[: len(data)] = data
        return len(data)

    def peek(self, size: SupportsIndex = 1, /) -> bytes:
        """Return some of the next bytes without moving on, at least one unless the end is here.

        What it fetches is the block that the position is in.
        """
        operator.index(size)
        return self._peek(self._open(), self._position.tell())

    def _peek(self, opened: OpenFile, start: int) -> bytes:
        return opened.read_at(start, min(_PEEK_BYTES, BLOCK - start % BLOCK), self._is_closed)

    def readline(self, size: SupportsIndex | None = -1, /) -> bytes:
        """Return the next bytes up to and with a newline, at most *size* of them; what is left at the end."""
        most = -1 if size is None else operator.index(size)
        opened = self._open()
        while True:  # until no other thread reads on from the same place meanwhile
            seen = self._position.look()
            line = self._line(opened, seen.start, most)
            reserved = self._position.try_move(seen, seen.start + len(line))
            if reserved is not None:
                with self._giving_back(reserved):
                    self._note_read(seen.start, line)
                return line

    def _line(self, opened: OpenFile, start: int, most: int) -> bytes:
        """Return the line at *start*, up to *most* bytes of it where that is not negative."""
        parts, length = [], 0
        while length != most:  # io.IOBase.readline would do the same byte by byte
            part = self._peek(opened, start + length)
            if most >= 0:
                part = part[: most - length]
            end = part.find(b"\n") + 1
            parts.append(part[:end] if end else part)
            length += len(parts[-1])
            if end or not part:
                break
        return b"".join(parts)

    def read_at(self, offset: SupportsIndex, length: SupportsIndex | None = -1) -> bytes:
        """Return *length* bytes from *offset* on, without moving the position; -1 or None means up to the end."""
        opened = self._open()
        start, wanted = operator.index(offset), -1 if length is None else operator.index(length)
        if start < 0:
            raise ValueError(f"negative offset {start}")
        if wanted < 0:
            wanted = max(0, opened.size - start)
        data = opened.read_at(start, wanted, self._is_closed)
        if not start:
            digest = opened.stream_digest()
            if digest.take(0, data):
                digest.verify()
        return data

    def write(self, data: Any, /) -> NoReturn:
        raise io.UnsupportedOperation("not writable")

    def seek(self, offset: SupportsIndex, whence: int = os.SEEK_SET, /) -> int:
        """Move the position and return it. Past the end is allowed; before the start is 0, as with io.BytesIO."""
        opened = self._open()
        distance = operator.index(offset)
        if whence != os.SEEK_END:
            opened.check_refused()
        size = opened.size if whence == os.SEEK_END else 0  # which may ask the server: not under the lock
        return self._position.seek(distance, whence, size)

    def tell(self) -> int:
        self._open().check_refused()
        return self._position.tell()

    def ask(self) -> None:
        """Ask the server for the first bytes now, unless it has answered before; what it refuses with is raised."""
        self._open().ask()

    def complete(self, listener: Callable[[Snapshot], None] | None = None) -> None:
        """Fetch all that is missing; the record is gone then. *listener* is given a `Snapshot` now and then.

        Raises the error that stops it; what had arrived by then is kept.
        """
        self._open().complete(listener)

    def save_part(self) -> None:
        """Save the part record now; it is saved every second anyway while bytes arrive."""
        self._open().save_part()

    def invalidate(self, offset: SupportsIndex, length: SupportsIndex) -> None:
        """Forget the blocks that hold any of those bytes, so that they are fetched again when read.

        A complete file becomes a partial one: its record is written first.
        """
        self._open().invalidate(operator.index(offset), operator.index(length))

    def close(self) -> None:
        """Close the file. An incomplete one is kept with its record; reads in other threads end in `ClosedError`."""
        release, self._release = getattr(self, "_release", None), None
        super().close()
        if release is not None:
            _close(release, self._owned)

    def on_close(self, owned: Callable[[], None]) -> None:
        """Have *owned*, a manager's close for one, called after this file is closed."""
        self._owned = owned

    def after_fork_in_child(self) -> None:
        """Go on in a child process: the locks may be held by threads that are not here."""
        self._digesting = threading.Lock()
        self._position.after_fork_in_child()

    def _is_closed(self) -> bool:
        return self.closed

    def _open(self) -> OpenFile:
        if self.closed:
            raise ClosedError(self._opened.remote.name, "I/O operation on closed file")
        return self._opened


def _swallowed(error: BaseException | None) -> SmartRemoteError | None:
    """Return the error of ours that a foreign *error* was raised on account of."""
    if not isinstance(error, Exception) or isinstance(error, SmartRemoteError):
        return None
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, RemoteFailure | LocalError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _close(release: Callable[[], None], owned: Callable[[], None] | None) -> None:
    """Let go of a file, then of a manager that is its *owned* one."""
    try:
        release()
    finally:
        if owned is not None:
            owned()
