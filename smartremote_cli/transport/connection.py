"""Wire: one TCP or TLS connection that gives the HTTP parser the head of an answer and its owner the body.

Strategy: a parser that sees every byte costs more than the bytes do. So `receive` returns exactly one head (what
follows stays here), and the owner of a believed answer of known length takes the body with `read_into`, from
this buffer first and then straight from the socket. Sockets are non-blocking throughout and waited for with
poll(2), so that every wait has a deadline and ends when the wire is aborted from another thread.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable

from .tls import NestedTls, reader

# RFC 9112, 3 and 5 set no bound; servers send a few KiB, and curl gives up at 300 KiB. Interim answers count too.
MAX_HEAD = 256 * 1024

# A buffer that is not full is handed over when nothing comes for so many seconds, and after so many at the latest.
_LINGER = 0.005
_MAX_FILL = 0.05

_PROTOCOL = b"HTTP/1."
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_INTERIM = re.compile(rb"HTTP/1\.\d 1\d\d")
_CHUNK = 64 * 1024

# A header field as RFC 9110, 5 has it, and how lines that are none are told from those that must not be lost.
_FIELD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\x00\x0b\x0c\r]*")
# Compiled when it is first used: few servers send such lines.
_WEIGHTY = rb"(?i:\s*(content-|transfer-encoding|etag|last-modified|location|connection|\S*digest))"


class GarbledError(ConnectionError):
    """What came is not the head of an HTTP/1 answer."""


class Wire:
    """A connection. One thread uses it at a time; `abort` may be called from any."""

    def __init__(self, sock: socket.socket, on_close: Callable[[Wire], bool] | None = None) -> None:
        sock.setblocking(False)
        self._sock: socket.socket | NestedTls = sock
        self._fill: Callable[[memoryview], int] = sock.recv_into
        self.on_close = on_close  # takes it back, or says no
        self._buffer = b""
        self._in_head = True
        self._deadline = 0.0
        self._aborted = False
        self._heads = 0  # of answers so far
        self._head_bytes = 0  # of the answer to come and its interim answers
        self._answered = False
        self._ended = False
        self.user: int | None = None  # the thread that waits for an answer
        self.tls: tuple[ssl.SSLContext, str | None] | None = None
        self.reusable = False
        self.lay_idle = False  # before its first request: its end says nothing about that

    @property
    def sock(self) -> socket.socket | NestedTls:
        return self._sock

    @property
    def has_leftovers(self) -> bool:
        """Whether bytes were read that nobody asked for yet; TLS may have them, where poll(2) does not look."""
        return bool(self._buffer) or (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0)

    @property
    def has_answered(self) -> bool:
        """Whether it has ever brought the head of an answer."""
        return self._heads > 0

    @property
    def is_stale(self) -> bool:
        """Whether it lay idle, after an answer or before the first one, and ended before a byte of the next one."""
        idle = self._heads > 0 or self.lay_idle
        return idle and self._ended and not self._answered and not self._aborted

    @property
    def is_readable(self) -> bool:
        """Whether an idle wire has bytes, or its end, to read: in either case it is of no more use.

        What TLS says for itself, like the tickets that follow a handshake, is taken in and does not count.
        """
        if self.has_leftovers:
            return True
        if not self._wait(select.POLLIN, 0):
            return False
        if self.tls is not None:
            try:
                self._buffer = self._sock.recv(1)
            except ssl.SSLWantReadError:
                return False
            except OSError:
                pass
        return True

    def send(self, data: bytes, timeout: float | None) -> None:
        """Send all of *data*, within *timeout* seconds a piece.

        After a request, which begins with the letters of its method, a head is expected; what a SOCKS proxy is
        told begins with a number.
        """
        view = memoryview(data)
        self.user = threading.get_ident()
        if data:
            self._answered = False
        while view:
            try:
                view = view[self._sock.send(view) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._wait_or_fail(select.POLLOUT, timeout)
            except ssl.SSLWantReadError:
                self._wait_or_fail(select.POLLIN, timeout)
            except OSError:
                self._ended = True
                raise
        self._in_head = not data or data[:1].isalpha()
        self._head_bytes = 0
        self.reusable = False
        self._deadline = time.monotonic() + timeout if timeout is not None else float("inf")

    def receive(self, most: int, timeout: float | None) -> bytes:
        """Return the next head whole, or, after it, whatever body bytes are here; empty at the end.

        The head's deadline counts from the request: a drip does not extend it.
        """
        if not self._in_head:
            data, self._buffer = self._buffer[:most], self._buffer[most:]
            return data or self._recv(most, timeout)
        while (end := _END_OF_HEAD.search(self._buffer)) is None:
            if self._head_bytes + len(self._buffer) > MAX_HEAD:
                break
            if not _PROTOCOL.startswith(self._buffer[: len(_PROTOCOL)]):
                raise GarbledError("it is not HTTP/1")
            more = self._recv(_CHUNK, self._deadline - time.monotonic())
            if not more:
                head, self._buffer = self._buffer, b""
                return head
            self._buffer += more
        self._head_bytes += MAX_HEAD if end is None else end.end()
        if end is None or self._head_bytes > MAX_HEAD:
            raise GarbledError(f"headers of more than {MAX_HEAD} bytes")
        if time.monotonic() > self._deadline:  # interim answers may come without end
            raise TimeoutError("no answer came in time")
        head, self._buffer = self._buffer[: end.end()], self._buffer[end.end() :]
        self._in_head = _INTERIM.match(head) is not None
        self._heads += not self._in_head
        return readable(head)

    def unread(self, data: bytes) -> None:
        """Take *data* back, which `receive` returned: it is not the body's."""
        self._buffer = data + self._buffer

    def read_into(self, view: memoryview, timeout: float | None) -> int:
        """Fill *view* with body bytes as far as they come without a pause; return how many, 0 at the end.

        Waits up to *timeout* seconds for the first byte.
        """
        if self._buffer:
            count = min(len(self._buffer), len(view))
            view[:count] = self._buffer[:count]
            self._buffer = self._buffer[count:]
            return count
        while True:
            try:
                count = self._fill(view)
                break
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait_or_fail(select.POLLIN, timeout)
            except OSError:
                if self._aborted:
                    raise ConnectionAbortedError("stopped") from None
                raise
        if self._aborted and not count:
            raise ConnectionAbortedError("stopped")
        return count + self._read_on(view[count:]) if count else 0

    def _read_on(self, view: memoryview) -> int:
        """Fill *view* with what comes without a pause, maybe nothing; what went wrong, `read_into` meets next time."""
        count, size, last = 0, len(view), 0.0
        while count < size and not self._aborted:
            try:
                got = self._fill(view[count:])
                if not got:
                    break
                count += got
            except (BlockingIOError, ssl.SSLWantReadError):
                now = time.monotonic()
                last = last or now + _MAX_FILL
                if now > last or not self._wait(select.POLLIN, _LINGER):
                    break
            except OSError:
                break
        return count

    def start_tls(self, context: ssl.SSLContext, hostname: str | None, timeout: float | None) -> None:
        """Speak TLS from here on, within the TLS to a proxy if need be.

        A wire that is used again, and already does for the same host, is left as it is.
        """
        if self.tls == (context, hostname) and self.on_close is not None:
            return
        if self._buffer:  # anybody on the way may have sent it
            raise GarbledError("bytes that came before TLS")
        deadline = time.monotonic() + timeout if timeout is not None else float("inf")
        under = self._sock
        sock: ssl.SSLSocket | NestedTls
        if isinstance(under, ssl.SSLSocket):
            sock = NestedTls(under, context, hostname)
            self._fill = sock.recv_into
        else:
            assert isinstance(under, socket.socket)
            sock = context.wrap_socket(under, server_hostname=hostname, do_handshake_on_connect=False)
            self._fill = reader(sock)
        self._sock = sock
        while True:
            try:
                sock.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._wait_or_fail(select.POLLIN, deadline - time.monotonic())
            except ssl.SSLWantWriteError:
                self._wait_or_fail(select.POLLOUT, deadline - time.monotonic())
        self.tls = (context, hostname)
        self._heads = 0  # those were a proxy's

    def abort(self) -> None:
        """Make every use of this wire fail from now on, also one that is waiting in another thread."""
        self._aborted = True
        with contextlib.suppress(OSError):
            # The plain socket's method: SSLSocket.shutdown would let another thread read ciphertext as text.
            outer = self._sock.outer if isinstance(self._sock, NestedTls) else self._sock
            # A server that waits for room is told at once that there will be none: closing resets the connection.
            outer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            socket.socket.shutdown(outer, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, unless whoever made it takes it back for the next request."""
        if self._aborted or self.on_close is None or not self.on_close(self):
            self._sock.close()

    def discard(self) -> None:
        self._sock.close()

    def _recv(self, most: int, timeout: float | None) -> bytes:
        while True:
            try:
                data = self._sock.recv(most)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait_or_fail(select.POLLIN, timeout)
                continue
            except OSError:
                self._ended = True
                if self._aborted:
                    raise ConnectionAbortedError("stopped") from None
                raise
            if self._aborted:
                raise ConnectionAbortedError("stopped")
            self._answered = self._answered or bool(data)
            self._ended = not data
            return data

    def _wait_or_fail(self, event: int, timeout: float | None) -> None:
        if not self._wait(event, timeout):
            raise TimeoutError("no byte came in time")
        if self._aborted:
            raise ConnectionAbortedError("stopped")

    def _wait(self, event: int, timeout: float | None) -> bool:
        if self._sock.fileno() < 0:
            raise ConnectionAbortedError("closed")
        poller = select.poll()
        poller.register(self._sock, event)
        limit = None if timeout is None or timeout == float("inf") else max(0, int(timeout * 1000 + 0.999))
        return bool(poller.poll(limit))


def readable(head: bytes) -> bytes:
    """Return *head* without lines that are no header fields and say nothing that counts: parsers refuse them all."""
    first, *lines = head.split(b"\n")
    kept, drops = [first], False
    for line in lines:
        field = line.removesuffix(b"\r")
        # A line that begins with a blank continues the one before (obs-fold).
        if not field.startswith((b" ", b"\t")) or len(kept) == 1:
            drops = bool(field) and not _FIELD.fullmatch(field) and not re.match(_WEIGHTY, field)
        if not drops:
            kept.append(line)
    return b"\n".join(kept)
