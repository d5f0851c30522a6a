"""Bodies: what a response reads from, and the body that comes over a connection of our own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ..protocol.chunked import Chunks
from ..protocol.headers import Headers
from ..protocol.http1 import Framing, Head
from .connection import Connection, ConnectionEndedError

# A chunk is kept back for this long until it is whole, by judgement: on a slow link its bytes are wanted earlier.
_HOLD_SECONDS = 1.0

_CHUNK_BYTES = 64 * 1024  # read at once of a chunked body, and decoded into the caller's view


class Body(Protocol):
    """The bytes after a head. One thread reads them; `abort` may be called from any."""

    def read_into(self, view: memoryview, timeout: float) -> int:
        """Fill *view* with the next bytes that come within *timeout* seconds; return how many, 0 at the end."""

    @property
    def unconfirmed(self) -> int:
        """How many of the bytes read last nothing proves yet: they are of a chunk whose end has not come."""

    def finish(self, timeout: float, patience: float) -> bool:
        """Read what ends a body of unknown length; return whether it ended where its bytes did.

        Its last chunk has *timeout* seconds, what may follow that has *patience* seconds.
        """

    def close(self, *, drained: bool) -> None:
        """Give the connection back where the body has ended, else close it.

        *drained* says that a body of announced length was read to its end.
        """

    def abort(self) -> None:
        """Make a read that waits in another thread fail."""


class Answer(NamedTuple):
    """What a sender returns for a request: the head, the body's *length* in bytes if it is announced, the body."""

    status: int
    headers: Headers
    length: int | None
    body: Body


class ConnectionBody:
    """A body that is read from *connection*, which then goes to *give_back* if another request may use it."""

    def __init__(
        self, connection: Connection, head: Head, framing: Framing, give_back: Callable[[Connection], None]
    ) -> None:
        self._connection = connection
        self._head = head
        self._chunks = Chunks() if framing.chunked else None
        self._give_back = give_back

    def read_into(self, view: memoryview, timeout: float) -> int:
        if self._chunks is None:
            return self._connection.read_into(view, timeout)
        return self._decode(self._chunks, view, timeout)

    @property
    def unconfirmed(self) -> int:
        return 0 if self._chunks is None else self._chunks.unconfirmed

    def _decode(self, chunks: Chunks, view: memoryview, timeout: float) -> int:
        """Fill *view* from a chunked body. Sizes and extensions, which are no body, do not extend the deadline."""
        since = time.monotonic()
        deadline = since + timeout
        while not (count := chunks.take(view)) and not chunks.is_whole:
            data = self._connection.receive(_CHUNK_BYTES, deadline - time.monotonic())
            if not data:
                raise ConnectionEndedError("the connection ended before the body did")
            chunks.feed(data)
            now = time.monotonic()
            if now > deadline:
                raise TimeoutError(f"no byte of the body within {timeout:g} s")
            if now > since + _HOLD_SECONDS:
                chunks.release()
        return count

    def finish(self, timeout: float, patience: float) -> bool:
        more = memoryview(bytearray(1))
        if self._chunks is None:
            with contextlib.suppress(OSError):
                # A server that keeps the connection open, or resets it, ends it too.
                return not self._connection.read_into(more, patience)
            return True
        if self._decode(self._chunks, more, timeout):
            return False
        with contextlib.suppress(TimeoutError):  # trailers say nothing that is needed
            deadline = time.monotonic() + patience
            while not self._chunks.take(more) and not self._chunks.is_over:
                if not (data := self._connection.receive(_CHUNK_BYTES, deadline - time.monotonic())):
                    return False
                self._chunks.feed(data)
        return True

    def close(self, *, drained: bool) -> None:
        connection = self._connection
        if self._chunks is not None:
            connection.unread(self._chunks.leftovers)
            drained = self._chunks.is_over
        if drained and self._head.persists and not connection.has_leftovers:
            self._give_back(connection)
        else:
            connection.close()

    def abort(self) -> None:
        self._connection.abort()
