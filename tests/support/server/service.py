"""The listening server below HTTP: sockets, a thread for each connection, and an end that leaves neither behind."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import select
import socket
import ssl
import struct
import termios
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from tests.support.threads import PATIENCE

PIECE = (
    256 * 1024
)  # bytes handed to the kernel at a time: few system calls, and breaks still strike to the byte
MAX_HEAD = 64 * 1024  # bytes of a request's head; nginx allows about half of that

T = TypeVar("T")


class ServerClosedError(Exception):
    """The server is closing: every thread leaves what it is doing."""


class HangUpError(Exception):
    """The connection ends here, because a fault says so or because the client left."""


class Wire:
    """One TCP connection whose every wait ends when the service closes."""

    def __init__(self, sock: socket.socket, closing: socket.socket) -> None:
        self._sock = sock
        self._closing = closing
        self._buffer = bytearray()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        return self._sock.fileno()

    def start_tls(self, context: ssl.SSLContext) -> None:
        secured = context.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
        self._sock = secured
        self._until_done(secured.do_handshake, select.POLLIN)

    def receive(self) -> bytes:
        """Return what has arrived, after waiting for it; nothing at the end of the stream."""
        if self._buffer:
            arrived, self._buffer = bytes(self._buffer), bytearray()
            return arrived
        try:
            return self._until_done(partial(self._sock.recv, PIECE), select.POLLIN)
        except HangUpError:
            return b""

    def exactly(self, count: int) -> bytes:
        """Wait for *count* bytes and return exactly those."""
        while len(self._buffer) < count:
            held, self._buffer = self._buffer, bytearray()
            if not (arrived := self.receive()):
                raise HangUpError
            self._buffer = held + arrived
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def receive_head(self) -> bytes | None:
        """Return a header section with its empty line, or None at the end of the stream."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD:
                raise HangUpError
            held, self._buffer = self._buffer, bytearray()
            arrived = self.receive()
            self._buffer = held + arrived
            if not arrived:
                return None
        head = bytes(self._buffer[: end + 4])
        del self._buffer[: end + 4]
        return head

    def send(self, data: bytes | memoryview, attempt: Callable[[int, int], None] | None = None) -> None:
        """Send all of it. *attempt* is told how many bytes are gone and how many are being tried."""
        view = memoryview(data)
        done = 0
        while done < len(view):
            rest = view[done:]
            if attempt:
                attempt(done, len(rest))
            sent = self._until_done(partial(self._sock.send, rest), select.POLLOUT)
            done += sent
            if attempt:
                attempt(done, 0)

    @property
    def has_more(self) -> bool:
        """Whether received bytes are waiting to be read."""
        return bool(self._buffer) or (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0)

    def skip(self, count: int) -> None:
        """Read *count* bytes and forget them."""
        while count > 0:
            arrived = self.receive()
            if not arrived:
                raise HangUpError
            self._buffer[:0] = arrived[count:]
            count -= len(arrived)

    def limit_buffer(self, size: int) -> None:
        """Let the kernel hold about *size* unsent bytes, so that what is sent is nearly what was received."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    def nap(self, seconds: float) -> None:
        """Wait; leave at once when the service closes or the client hangs up."""
        poller = select.poll()
        poller.register(self._closing, select.POLLIN)
        poller.register(self._sock, getattr(select, "POLLRDHUP", 0))
        ready = [fd for fd, _ in poller.poll(max(0.0, min(seconds, 1e6)) * 1000)]
        if self._closing.fileno() in ready:
            raise ServerClosedError
        if ready:
            raise HangUpError

    def close(self) -> None:
        """Close in order: what was sent arrives, then the end of the stream (over TLS, close_notify)."""
        with contextlib.suppress(OSError):
            if isinstance(self._sock, ssl.SSLSocket):
                self._sock.unwrap()
        self.cut()

    def cut(self) -> None:
        """End the stream (FIN) without the close_notify of TLS."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
        self._sock.close()

    def reset(self, patience: float = 1.0) -> None:
        """Send RST, once the other side has what was sent before it."""
        give_up = time.monotonic() + patience
        while patience and self._unsent and time.monotonic() < give_up:
            time.sleep(0.001)
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    @property
    def _unsent(self) -> int:
        try:
            answer = fcntl.ioctl(self._sock.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
        except OSError:
            return 0
        return int(struct.unpack("i", answer)[0])

    def _until_done(self, step: Callable[[], T], waits_for: int) -> T:
        while True:
            try:
                return step()
            except BlockingIOError:
                self._wait(waits_for)
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)
            except OSError as lost:
                raise HangUpError from lost

    def _wait(self, events: int) -> None:
        poller = select.poll()
        poller.register(self._closing, select.POLLIN)
        poller.register(self._sock, events)
        if any(fd == self._closing.fileno() for fd, _ in poller.poll()):
            raise ServerClosedError


class Service:
    """A listening socket, a thread for each connection, and an end that leaves neither behind."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.tls = tls
        self.connections = 0  # accepted since the log was last reset
        self.open_connections = 0
        self.drop: Callable[[int], bool] = lambda connection: False  # True: RST as soon as it is accepted
        self.failures: list[BaseException] = []  # unforeseen; leaving the block raises the first
        self.lock = threading.RLock()  # guards everything above and the log
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._closing, self._close = socket.socketpair()
        self._numbers = itertools.count(1)
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.port = port
        try:
            self.accept_connections()
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is None and self.failures:
            raise self.failures[0]

    @property
    def netloc(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def accept_connections(self) -> None:
        """Listen, again on the same port after `refuse_connections`."""
        listener = socket.socket(self._family)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.host, self.port))
            listener.listen(128)
        except OSError:
            listener.close()
            raise
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._start(self._accept, listener)

    def refuse_connections(self) -> None:
        """Close the listening socket: a client that connects is refused. Open connections live on."""
        with self.lock:
            listener, self._listener = self._listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread, which closes it
            while listener.fileno() >= 0:
                time.sleep(0.001)

    def close(self) -> None:
        """Reset every connection and wait until all threads are gone."""
        self._close.close()
        give_up = time.monotonic() + PATIENCE
        while left := [thread for thread in list(self._threads) if thread.is_alive()]:
            if time.monotonic() > give_up:
                raise RuntimeError(f"threads that do not end: {[thread.name for thread in left]}")
            left[0].join(0.1)  # the accepting thread may add to the list until it has ended
        self._closing.close()

    def serve(self, wire: Wire, connection: int) -> None:
        raise NotImplementedError

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(
            target=target, args=arguments, name=f"{type(self).__name__} {target.__name__}"
        )
        with self.lock:
            self._threads = [known for known in self._threads if known.is_alive()] + [thread]
            thread.start()

    def _accept(self, listener: socket.socket) -> None:
        poller = select.poll()
        poller.register(listener, select.POLLIN)
        poller.register(self._closing, select.POLLIN)
        with listener:
            while not any(fd == self._closing.fileno() for fd, _ in poller.poll()):
                try:
                    sock, _ = listener.accept()
                except BlockingIOError:
                    continue
                except OSError:  # shut down by refuse_connections
                    return
                with self.lock:
                    self.connections += 1
                    number = next(self._numbers)
                    dropped = self.drop(number)
                    self.open_connections += not dropped
                wire = Wire(sock, self._closing)
                if dropped:
                    wire.reset(patience=0)
                else:
                    self._start(self._connection, wire, number)

    def _connection(self, wire: Wire, number: int) -> None:
        try:
            if self.tls:
                wire.start_tls(self.tls)
            self.serve(wire, number)
            wire.close()
        except HangUpError:
            wire.cut()
        except ServerClosedError:
            wire.reset(patience=0)
        except BaseException as failure:
            traceback.print_exc()
            self.failures.append(failure)
            wire.reset(patience=0)
        finally:
            with self.lock:
                self.open_connections -= 1


def unused_port(host: str = "127.0.0.1") -> int:
    """Return a port without a listener: a connection to it is refused."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def unanswered_port(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Yield a port that neither accepts nor refuses: its queue is full, as behind a firewall that drops."""
    with contextlib.ExitStack() as stack:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = stack.enter_context(socket.socket(family))
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])
