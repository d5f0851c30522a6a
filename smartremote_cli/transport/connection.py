"""Connection: one TCP or TLS connection that carries requests out and brings heads and bodies in.

Strategy: a parser that sees every byte costs more than the bytes do. So `heads` takes exactly one head out of what
comes and puts back the rest, and the body is filled into the caller's view by `read_into`, from that buffer first and
then straight from the socket. Sockets are non-blocking throughout and waited for with poll(2), so that every wait has
a deadline and ends when the connection is aborted from another thread.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    from .tls import TlsSocket

# `read_into` waits this long for more bytes once some have come, and fills its view for this long at the most. A trade:
# each call costs its caller a lock and a write, and bytes that wait here are bytes that a reader does not have.
_LINGER_SECONDS = 0.005
_MAX_FILL_SECONDS = 0.05

# SO_LINGER on with 0 seconds: closing resets the connection instead of waiting for what is unsent.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ConnectionEndedError(ConnectionError):
    """The other end closed the connection before an answer's head was whole."""


class UnexpectedBytesError(ConnectionError):
    """Something came before it was its turn."""


class OtherVersionError(ConnectionError):
    """The server speaks a version of HTTP that we do not. Its text says which."""


class HandshakeError(ConnectionError):
    """TLS could not be begun, for the reason that is this error's cause."""


class Connection:
    """A connection. One thread uses it at a time; `abort` may be called from any."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._plain = sock
        self._sock: socket.socket | TlsSocket = sock
        self._fill: Callable[[memoryview], int] = sock.recv_into
        self._tls: TlsSocket | None = None
        # Whether the server chose the protocol that it was offered within TLS (ALPN).
        self.chose_protocol = False
        self._buffer = b""
        self.sent_at = 0.0  # when the last `send` was done
        self._aborted = False
        self._answered = False  # whether a byte has come since then
        self._ended = False
        self.lay_idle = False  # whether it waited unused, after an answer or before its first request

    @property
    def sock(self) -> socket.socket | TlsSocket:
        return self._sock

    @property
    def is_tls(self) -> bool:
        return self._tls is not None

    @property
    def has_leftovers(self) -> bool:
        """Whether bytes were read that were not asked for; TLS may have them, where poll(2) does not look."""
        return bool(self._buffer) or (self._tls is not None and self._tls.pending() > 0)

    @property
    def is_stale(self) -> bool:
        """Whether it lay idle, and ended before a byte of the next answer: the request may go out again."""
        return self.lay_idle and self._ended and not self._answered and not self._aborted

    def check_quiet(self) -> bool:
        """Return whether an idle connection may be used again: neither bytes nor its end have come.

        Takes in what TLS says for itself, like the tickets that follow a handshake, which does not count.
        """
        if self.has_leftovers or self._aborted:
            return False
        if not self._wait(select.POLLIN, 0):
            return True
        if self._tls is None:
            return False
        try:
            self._buffer = self._tls.recv(1)
        except OSError as error:
            return self._tls.event_for(error) != 0
        return False

    def send(self, data: bytes, timeout: float) -> None:
        """Send all of *data*, waiting up to *timeout* seconds for room each time."""
        view = memoryview(data)
        self._answered = False
        while view:
            try:
                view = view[self._sock.send(view) :]
            except OSError as error:
                self._wait_out(error, select.POLLOUT, timeout, f"the server took nothing for {timeout:g} s")
        self.sent_at = time.monotonic()

    def receive(self, limit: int, timeout: float, silence: str | None = None) -> bytes:
        """Return up to *limit* bytes as soon as there are some; empty at the end.

        TimeoutError after *timeout* seconds; *silence* is what it says then.
        """
        data, self._buffer = self._buffer[:limit], self._buffer[limit:]
        return data or self._recv(limit, timeout, silence or f"nothing received for {timeout:g} s")

    def unread(self, data: bytes) -> None:
        """Take *data* back, which `receive` returned: it comes first again."""
        self._buffer = data + self._buffer

    def read_into(self, view: memoryview, timeout: float) -> int:
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
            except OSError as error:
                self._wait_out(error, select.POLLIN, timeout, f"nothing received for {timeout:g} s")
        if self._aborted and not count:
            raise ConnectionAbortedError("stopped")
        return count + self._read_on(view[count:]) if count else 0

    def _read_on(self, view: memoryview) -> int:
        """Fill *view* with what comes without a pause, maybe nothing. A failure shows at the next `read_into`."""
        count, size, last = 0, len(view), 0.0
        while count < size and not self._aborted:
            try:
                got = self._fill(view[count:])
            except OSError as error:
                if not self._event_for(error, select.POLLIN):
                    break
                now = time.monotonic()
                last = last or now + _MAX_FILL_SECONDS
                if now > last or not self._wait(select.POLLIN, _LINGER_SECONDS):
                    break
                continue
            if not got:
                break
            count += got
        return count

    def start_tls(self, context: ssl.SSLContext, host: str, timeout: float) -> None:
        """Speak TLS with *host* from here on, within the TLS to a proxy if there is one.

        The handshake has *timeout* seconds.
        """
        from .tls import wrap

        if self._buffer:  # anyone on the way may have sent it
            raise UnexpectedBytesError("bytes that came before TLS")
        deadline = time.monotonic() + timeout
        self._tls = wrap(self._tls or self._plain, context, host)
        self._sock, self._fill, self._plain = self._tls, self._tls.recv_into, self._tls.outermost
        if self._aborted:  # maybe while the socket changed hands
            raise ConnectionAbortedError("stopped")
        while True:
            try:
                self._tls.do_handshake()
                self.chose_protocol = self._tls.selected_alpn_protocol() is not None
                break
            except OSError as error:
                if not self._event_for(error, select.POLLIN) and not self._aborted:
                    self._ended = True
                    raise HandshakeError("TLS could not be begun") from error
                silence = f"no TLS handshake within {timeout:g} s"
                self._wait_out(error, select.POLLIN, deadline - time.monotonic(), silence)

    def last_alert(self) -> OSError | None:
        """Return what TLS says of a connection that broke while a request went out, None for nothing.

        A server that wants a client certificate says so after the handshake (TLS 1.3), and closes the connection.
        """
        if self._tls is None or self._aborted:
            return None
        try:
            while self._tls.recv(1):
                pass
        except OSError as error:
            is_end = isinstance(error, ConnectionError) or self._tls.event_for(error)
            return None if is_end else error
        return None

    def abort(self) -> None:
        """Make every use of this connection fail from now on, also one that is waiting in another thread."""
        self._aborted = True
        with contextlib.suppress(OSError):
            # A server that waits for room is told at once that there will be none: closing resets the connection.
            self._plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            # The plain socket's method: SSLSocket.shutdown would let another thread read ciphertext as text.
            socket.socket.shutdown(self._plain, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._plain.close()

    def _recv(self, limit: int, timeout: float, silence: str) -> bytes:
        while True:
            try:
                data = self._sock.recv(limit)
                break
            except OSError as error:
                self._wait_out(error, select.POLLIN, timeout, silence)
        if self._aborted:
            raise ConnectionAbortedError("stopped")
        self._answered = self._answered or bool(data)
        self._ended = not data
        return data

    def _wait_out(self, error: OSError, usual: int, timeout: float, silence: str) -> None:
        """Wait until what failed with *error* can be tried again; raise it where waiting does not help.

        TimeoutError with the text *silence* after *timeout* seconds.
        """
        event = self._event_for(error, usual)
        if not event:
            self._ended = True
            if self._aborted:
                raise ConnectionAbortedError("stopped") from None
            raise error
        if not self._wait(event, timeout):
            raise TimeoutError(silence) from None
        if self._aborted:
            raise ConnectionAbortedError("stopped") from None

    def _event_for(self, error: OSError, usual: int) -> int:
        """Return what to wait for after *error*, 0 for a failure; *usual* is what the system's "not now" stands for."""
        if isinstance(error, BlockingIOError):
            return usual
        return 0 if self._tls is None else self._tls.event_for(error)

    def _wait(self, event: int, timeout: float) -> bool:
        if self._sock.fileno() < 0:
            raise ConnectionAbortedError("closed")
        poller = select.poll()
        poller.register(self._sock, event)
        return bool(poller.poll(None if timeout == float("inf") else max(0, int(timeout * 1000 + 0.999))))
