"""RemoteFile: a resource as Python's own files are: read, seek, tell, close, over an `OpenFile`."""

from __future__ import annotations

import io
import operator
import os
import sys
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex

from ..core.blocks import BLOCK, BlockMap
from ..errors import ClosedError
from ..events import Snapshot
from .open_file import OpenFile

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# How many bytes `readline` looks at at a time: what io.DEFAULT_BUFFER_SIZE is, a long line or a few short ones.
_PEEK_BYTES = 8 * 1024


class RemoteFile(io.RawIOBase):
    """A resource opened for reading. Offsets and lengths are bytes.

    Safe to use from several threads: `read` and `seek` share one position, `read_at` has none. Reads return as
    much as was asked for, unless the end comes first. Errors are `smartremote_cli.errors`, most of them OSErrors.
    After a fork it goes on in both processes. It cannot be pickled: open the URL again in the other process.
    """

    warns_when_forgotten = True  # callers by way of fsspec do not close their files

    def __init__(self, opened: OpenFile, release: Callable[[], None]) -> None:
        """Read *opened*; *release* is called once, when this file is closed."""
        super().__init__()
        self._opened = opened
        self._release: Callable[[], None] | None = release
        self._owned: Callable[[], None] | None = None
        self._position = 0
        self._lock = threading.RLock()  # guards _position and _digest, through a whole read
        self._digest = opened.stream_digest()

    def __repr__(self) -> str:
        state = " closed" if self.closed else ""
        return f"<RemoteFile {self._opened.remote.name}{state}>"

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if getattr(self, "_release", None) is not None:
            if self.warns_when_forgotten:
                _warn(f"unclosed file {self!r}", ResourceWarning, source=self, stacklevel=2)
            if not sys.is_finalizing():  # else the threads to stop stand still already
                self.close()

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

    def set_size(self, size: int) -> None:
        """State the size in bytes, which saves asking; an answer that says otherwise is `RemoteChangedError`."""
        self._open().state_size(size)

    @property
    def blocks(self) -> BlockMap:
        """A copy of the map of the 64 KiB blocks that are held."""
        return self._open().blocks()

    def stat(self) -> os.stat_result:
        """Return the data file's stat result, its st_size being the resource's size."""
        return self._open().stat()

    def readable(self) -> bool:
        self._open()
        return True

    def seekable(self) -> bool:
        self._open()
        return True

    def read(self, size: SupportsIndex | None = -1, /) -> bytes:
        """Return the next *size* bytes, all up to the end for -1 or None; fewer only where the file ends.

        Where all of the file was read in order, the last of these reads raises `ChecksumError` when that is not what
        the server's digest, or the checksum given to `open`, says. What is held is forgotten then.
        """
        opened = self._open()
        wanted = -1 if size is None else operator.index(size)
        with self._lock:
            if wanted < 0:
                wanted = max(0, opened.size - self._position)
            data = opened.read_at(self._position, wanted, self._is_closed)
            self._hand_out(data)
        return data

    def _hand_out(self, data: bytes) -> None:
        """Move on by *data*; `ChecksumError` instead where a resource that is wrong ends with it."""
        if self._digest.take(self._position, data):
            self._digest.verify()
        self._position += len(data)

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

    def peek(self, size: int = 1, /) -> bytes:
        """Return some of the next bytes without moving on, at least one unless the end is here.

        What it fetches is the block that the position is in.
        """
        opened = self._open()
        with self._lock:
            return opened.read_at(
                self._position, min(_PEEK_BYTES, BLOCK - self._position % BLOCK), self._is_closed
            )

    def readline(self, size: SupportsIndex | None = -1, /) -> bytes:
        """Return the next bytes up to and with a newline, at most *size* of them; what is left at the end."""
        left = -1 if size is None else operator.index(size)
        parts = []
        with self._lock:
            while left:  # io.IOBase.readline would do the same byte by byte
                part = self.peek()
                if left > 0:
                    part = part[:left]
                    left -= len(part)
                end = part.find(b"\n") + 1
                parts.append(part[:end] if end else part)
                self._hand_out(parts[-1])
                if end or not part:
                    break
        return b"".join(parts)

    def read_at(self, offset: int, length: int = -1) -> bytes:
        """Return *length* bytes from *offset* on, without moving the position; -1 means up to the end."""
        opened = self._open()
        if offset < 0:
            raise ValueError(f"negative offset {offset}")
        wanted = max(0, opened.size - offset) if length < 0 else length
        data = opened.read_at(offset, wanted, self._is_closed)
        if not offset:
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
        with self._lock:
            match whence:
                case os.SEEK_SET:
                    if distance < 0:
                        raise ValueError(f"negative seek value {distance}")
                    self._position = distance
                case os.SEEK_CUR:
                    self._position = max(0, self._position + distance)
                case os.SEEK_END:
                    self._position = max(0, opened.size + distance)
                case _:
                    raise ValueError(f"invalid whence ({whence}, should be 0, 1 or 2)")
            return self._position

    def tell(self) -> int:
        self._open()
        return self._position

    def complete(self, listener: Callable[[Snapshot], None] | None = None) -> None:
        """Fetch all that is missing; the record is gone then. *listener* is given a `Snapshot` now and then.

        Raises the error that stops it; what had arrived by then is kept.
        """
        self._open().complete(listener)

    def save_part(self) -> None:
        """Save the part record now; it is saved every second anyway while bytes arrive."""
        self._open().save_part()

    def invalidate(self, offset: int, length: int) -> None:
        """Forget the blocks that hold any of those bytes, so that they are fetched again when read.

        A complete file becomes a partial one: its record is written first.
        """
        self._open().invalidate(offset, length)

    def close(self) -> None:
        """Close the file. An incomplete one is kept with its record; reads in other threads end in `ClosedError`."""
        release, self._release = getattr(self, "_release", None), None
        super().close()
        if release is not None:
            try:
                release()
            finally:
                if self._owned is not None:
                    self._owned()

    def on_close(self, owned: Callable[[], None]) -> None:
        """Have *owned*, a manager's close for one, called after this file is closed."""
        self._owned = owned

    def after_fork_in_child(self) -> None:
        """Go on in a child process: the lock may be held by a thread that is not here."""
        self._lock = threading.RLock()

    def _is_closed(self) -> bool:
        return self.closed

    def _open(self) -> OpenFile:
        if self.closed:
            raise ClosedError(self._opened.remote.name, "I/O operation on closed file")
        return self._opened
