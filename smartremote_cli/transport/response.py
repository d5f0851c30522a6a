"""Response: an answer, and its body taken by the shortest way.

A body that is length-delimited or chunked and came over one of our own wires is taken straight from the socket; all
others (through a proxy, on a caller's client, ended by the connection) go through `iter_raw`.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

from ..core.urls import redact
from ..errors import AttemptFailed, SmartRemoteError
from ..protocol.answers import Unbelievable, content_length
from ..protocol.chunked import ChunkError, Chunks
from ..protocol.headers import Headers, is_chunked
from .connection import Wire
from .failures import FOREIGN, translate
from .libraries import httpx
from .pools import Stream

# So many seconds a saved connection is worth: for a chunked body's end, or a refusal's short body.
_NOT_WORTH_MORE = 0.2
_AT_ONCE = 64 * 1024


class Response:
    """An answer whose head is whole; the body is read by one thread, `abort` may come from any."""

    def __init__(self, raw: httpx.Response, url: str, timeout: float, release: Callable[[], None]) -> None:
        self._raw = raw
        self._release: Callable[[], None] | None = release
        self._closing = threading.Lock()  # guards _release: until then the connection is this answer's
        self._timeout = timeout
        self.url = url
        self.status = raw.status_code
        self.headers = Headers(
            (key.decode("latin-1"), value.decode("latin-1")) for key, value in raw.headers.raw
        )
        self._stream = raw.extensions.get("network_stream")
        self._pieces: Iterator[bytes] | None = None
        self._rest = memoryview(b"")
        self._ended = False
        length = content_length(self.headers)
        bodiless = self.status in (204, 304) or 100 <= self.status < 200
        self.length: int | None = 0 if bodiless else None if isinstance(length, Unbelievable) else length
        self._left = self.length if self.length is not None else -1
        stream = self._stream
        ours = isinstance(stream, Stream) and stream.drains
        self._chunks = Chunks() if ours and not bodiless and is_chunked(self.headers) else None
        drains = ours and (self._left >= 0 or self._chunks is not None)
        self._wire: Wire | None = stream.transport if isinstance(stream, Stream) and drains else None

    def read_into(self, view: memoryview) -> int:
        """Fill *view* with the next body bytes, as many as are here; return how many, 0 at the announced end.

        Raises `AttemptFailed` when the connection breaks, stalls, or ends before the announced length.
        """
        try:
            if self._wire is None:
                return self._pull(view)
            return self._drain(self._wire, view) if self._chunks is None else self._decode(self._wire, view)
        except FOREIGN as error:
            raise translate(error, self.url) from error

    def _drain(self, wire: Wire, view: memoryview) -> int:
        if not self._left:
            return 0
        count = wire.read_into(view[: self._left], self._timeout)
        if not count:
            raise AttemptFailed(
                redact(self.url), f"the connection ended {self._left} bytes before the body did"
            )
        self._left -= count
        return count

    def _decode(self, wire: Wire, view: memoryview) -> int:
        """Fill *view* from a chunked body. What comes and is no body, sizes and extensions, is no sign of life."""
        assert self._chunks is not None
        deadline = time.monotonic() + self._timeout
        while not (count := self._chunks.take(view)) and not self._chunks.is_whole:
            data = wire.receive(_AT_ONCE, deadline - time.monotonic())
            if not data:
                raise AttemptFailed(redact(self.url), "the connection ended before the body did")
            self._chunks.feed(data)
            if time.monotonic() > deadline:
                raise TimeoutError("no byte of the body came in time")
        return count

    def _pull(self, view: memoryview) -> int:
        if self._pieces is None:
            consumed = self._raw.is_stream_consumed  # an answer that a MockTransport made of bytes
            self._pieces = iter((self._raw.content,)) if consumed else self._raw.iter_raw()
        if isinstance(self._stream, Stream):
            self._stream.deadline = time.monotonic() + self._timeout
        while not self._rest:
            chunk = next(self._pieces, None)
            if chunk is None:
                self._ended = True
                if self._left > 0:
                    why = f"the connection ended {self._left} bytes before the body did"
                    raise AttemptFailed(redact(self.url), why)
                return 0
            self._rest = memoryview(chunk)
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        if self._left >= 0:
            self._left -= count
        return count

    def finish(self) -> None:
        """Read what ends a body whose bytes are all here, the last chunk and trailers, so that the connection lives."""
        deadline = time.monotonic() + _NOT_WORTH_MORE
        with contextlib.suppress(SmartRemoteError, ChunkError, *FOREIGN):
            if self._wire is not None and self._chunks is not None:
                more = memoryview(bytearray(1))
                while not self._chunks.take(more) and not self._chunks.is_over:
                    if not (data := self._wire.receive(_AT_ONCE, deadline - time.monotonic())):
                        break
                    self._chunks.feed(data)
            elif self.length is None and isinstance(self._stream, Stream) and is_chunked(self.headers):
                self._timeout = _NOT_WORTH_MORE
                self._pull(memoryview(bytearray(1)))

    def skip(self, most: int) -> None:
        """Read the rest of the body and drop it where it is announced and short, so that the connection lives."""
        if 0 < self._left <= most:
            view = memoryview(bytearray(min(self._left, _AT_ONCE)))
            self._timeout = min(self._timeout, _NOT_WORTH_MORE)
            deadline = time.monotonic() + self._timeout
            with contextlib.suppress(SmartRemoteError):
                while time.monotonic() < deadline and self.read_into(view):
                    pass

    def close(self) -> None:
        """Give the connection back when the body was read to its end, else close it."""
        with self._closing:
            release, self._release = self._release, None
        try:
            self._close()
        finally:
            if release is not None:
                release()

    def _close(self) -> None:
        if self._wire is not None:
            if self._chunks is not None:
                self._wire.unread(self._chunks.leftovers)
            over = self._left == 0 or (self._chunks is not None and self._chunks.is_over)
            self._wire.reusable = over and not self._wire.has_leftovers and self._may_persist()
        elif self._left == 0 and not self._ended:
            with contextlib.suppress(Exception):  # lets httpcore see the end, which it needs for keep-alive
                next(self._pieces if self._pieces is not None else self._raw.iter_raw(), None)
        if isinstance(self._stream, Stream):
            self._stream.transport.user = None
        with contextlib.suppress(RuntimeError, *FOREIGN):
            self._raw.close()

    def abort(self) -> None:
        """Make a read that waits in another thread fail. A closed answer's connection may be another's by now."""
        with self._closing:
            if self._release is None:
                return
            if isinstance(self._stream, Stream):
                self._stream.transport.abort()
            elif self._stream is not None:
                sock = self._stream.get_extra_info("socket")
                if isinstance(sock, socket.socket):
                    with contextlib.suppress(OSError):
                        socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _may_persist(self) -> bool:
        options = ",".join(self.headers.all("connection")).lower()
        version = self._raw.extensions.get("http_version", b"HTTP/1.1")
        return version == b"HTTP/1.1" and "close" not in [option.strip() for option in options.split(",")]
