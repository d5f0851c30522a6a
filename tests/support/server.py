"""A real HTTP/1.1 server on the loopback, with every byte under the control of a test.

    with Server(Resource(Patterned(40 << 20))) as server:
        server.faults.append(faults.reset(after=100_000, when=faults.nth(2)))
        fetch(server.url())
        assert [seen.range for seen in server.requests] == ["bytes=0-65535", ...]

Without faults it does what RFC 9110 asks: preconditions in their order, single ranges, If-Range, 416 and
keep-alive; where the RFC leaves a choice it does what nginx does. Raw sockets and a thread for each
connection: http.server neither lets a test hang up in the middle of a header nor counts what was sent.

An answer is made in three steps: faults edit what was asked (`Exchange.asked`, `Exchange.resource`) or answer
in its place, `respond` makes the right answer, faults edit that `Reply`. All three run under the lock of the
server; sending happens outside it.
"""

from __future__ import annotations

import contextlib
import fcntl
import http
import itertools
import random
import re
import select
import shutil
import socket
import ssl
import struct
import subprocess
import termios
import threading
import time
import traceback
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self, TypeVar

PIECE = 256 * 1024  # bytes handed to the kernel at a time
MAX_HEAD = 64 * 1024

T = TypeVar("T")


class Content(Protocol):
    """Bytes that may be too many to hold: read() returns exactly *length* of them, or fewer at the end."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> memoryview: ...


@dataclass(frozen=True)
class Held:
    """Content that is in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> memoryview:
        return memoryview(self.data)[offset : offset + length]


# A prime above 1 MiB: the pattern repeats after it, so that two blocks of 64 KiB are equal only when they lie
# a multiple of 64 GiB apart.
_PERIOD = 1_048_583


@lru_cache(maxsize=8)
def _pool(seed: int) -> memoryview:
    once = random.Random(seed).randbytes(_PERIOD)
    return memoryview(once + once)


@dataclass(frozen=True)
class Patterned:
    """Content of any size, up to many TiB, that costs nothing and shows every wrong offset."""

    size: int
    seed: int = 0

    def read(self, offset: int, length: int) -> memoryview:
        length = max(0, min(length, self.size - offset))
        pool, start = _pool(self.seed), offset % _PERIOD
        if length <= _PERIOD:
            return pool[start : start + length]
        times = (start + length) // _PERIOD + 1
        return memoryview(bytes(pool[:_PERIOD]) * times)[start : start + length]


@dataclass(frozen=True)
class Patched:
    """Another content with some bytes replaced: *patches* maps offsets to bytes."""

    content: Content
    patches: dict[int, bytes]

    @property
    def size(self) -> int:
        return self.content.size

    def read(self, offset: int, length: int) -> memoryview:
        data = bytearray(self.content.read(offset, length))
        for at, patch in self.patches.items():
            first, last = max(at, offset), min(at + len(patch), offset + len(data))
            if first < last:
                data[first - offset : last - offset] = patch[first - at : last - at]
        return memoryview(data)


def pattern(size: int, seed: int = 0) -> bytes:
    """Return the first *size* bytes of the pattern of *seed*, as `Patterned` serves them."""
    return bytes(Patterned(size, seed).read(0, size))


@dataclass
class Resource:
    """What a path of the server holds. None leaves the header out."""

    content: bytes | Content
    etag: str | None = '"one"'
    last_modified: str | None = "Wed, 01 Jan 2025 00:00:00 GMT"
    headers: list[tuple[str, str]] = field(default_factory=list)
    ranges: bool = True
    content_type: str | None = "application/octet-stream"
    content_disposition: str | None = None

    @property
    def data(self) -> Content:
        return Held(self.content) if isinstance(self.content, bytes) else self.content


class Headers(list[tuple[str, str]]):
    """Header fields in the order in which they travel; names are compared without regard to case."""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """Return the first value of *name*, or None."""
        return next(iter(self.all(name)), None)

    def drop(self, *names: str) -> None:
        gone = {name.lower() for name in names}
        self[:] = [(key, value) for key, value in self if key.lower() not in gone]

    def put(self, name: str, *values: str) -> None:
        """Let *name* have exactly these values; none drops it."""
        self.drop(name)
        self.extend((name, value) for value in values)


@dataclass
class Seen:
    """A request as it arrived, and what became of it: an entry of the log."""

    number: int
    connection: int
    method: str
    target: str
    headers: Headers
    status: int = 0  # 0 until the first byte of the answer is sent
    body_bytes_sent: int = 0  # handed to the kernel; a client that leaves early has received fewer
    sent_headers: Headers = field(default_factory=Headers)
    faults: list[str] = field(default_factory=list)
    finished: bool = False  # the answer was sent to its end

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def range(self) -> str | None:
        return self.headers.get("Range")

    def header(self, name: str) -> str | None:
        return self.headers.get(name)


@dataclass(frozen=True)
class Body:
    """The bytes [start, stop) of a content."""

    content: Content
    start: int
    stop: int

    @classmethod
    def of(cls, data: bytes) -> Self:
        return cls(Held(data), 0, len(data))

    @property
    def size(self) -> int:
        return self.stop - self.start

    def pieces(self, size: int = PIECE) -> Iterator[memoryview]:
        for at in range(self.start, self.stop, size):
            yield self.content.read(at, min(size, self.stop - at))

    def whole(self) -> bytes:
        return b"".join(self.pieces())


Where = Literal["before", "headers", "body"]


@dataclass(frozen=True)
class Break:
    """Something that happens when *after* bytes of the headers or the body are sent.

    First *then* is called with the server, then *gate* waited for, then *seconds*; "go on" leaves the
    connection alive.
    """

    after: int = 0
    where: Where = "body"
    seconds: float = 0
    end: Literal["go on", "fin", "reset"] = "go on"
    then: Callable[[Server], None] | None = None
    gate: threading.Event | None = None


@dataclass(frozen=True)
class Pace:
    """*size* bytes, then a pause of *interval* seconds, and so on."""

    size: int
    interval: float


@dataclass
class Reply:
    """An answer before it is sent. Faults edit it."""

    status: int
    headers: Headers
    body: Body
    reason: str | None = None
    preface: bytes = b""  # before the status line
    head: bytes | None = None  # instead of status line and headers
    endless: bool = False  # header fields without end
    chunk: int = 0  # bytes in a chunk; 0: not chunked
    trailing: bytes = b""  # after the body
    close: bool = False  # hang up afterwards, whether the headers say so or not
    head_pace: Pace | None = None
    body_pace: Pace | None = None
    breaks: list[Break] = field(default_factory=list)

    @classmethod
    def of(cls, status: int, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()) -> Self:
        """Return a complete answer with its Content-Length, where the status allows one."""
        fields = Headers([("Date", formatdate(usegmt=True)), *headers])
        if status >= 200 and status not in (204, 304):
            fields.put("Content-Length", str(len(body)))
        return cls(status, fields, Body.of(body))

    def head_pieces(self) -> Iterator[bytes]:
        if self.head is not None:
            yield self.preface + self.head
            return
        phrases = {known.value: known.phrase for known in http.HTTPStatus}
        reason = phrases.get(self.status, "Unknown") if self.reason is None else self.reason
        lines = [f"HTTP/1.1 {self.status} {reason}", *(f"{name}: {value}" for name, value in self.headers)]
        head = self.preface + "".join(f"{line}\r\n" for line in lines).encode("latin-1")
        if not self.endless:
            yield head + b"\r\n"
            return
        yield head
        for number in itertools.count():
            yield b"X-Filler-%d: %s\r\n" % (number, b"x" * 60)

    def body_pieces(self) -> Iterator[tuple[memoryview, bool]]:
        """Yield what follows the head; True marks bytes of the body, False its framing."""
        if not self.chunk:
            for piece in self.body.pieces():
                yield piece, True
        else:
            for piece in self.body.pieces(self.chunk):
                yield memoryview(b"%x\r\n" % len(piece)), False
                yield piece, True
                yield memoryview(b"\r\n"), False
            yield memoryview(b"0\r\n\r\n"), False
        if self.trailing:
            yield memoryview(self.trailing), False


def parse_head(head: bytes) -> tuple[str, str, Headers] | None:
    """Return method, target and fields of a request, or None when it is none."""
    first, *rest = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    match = re.fullmatch(r"([A-Z]+) (\S+) HTTP/1\.[01]", first)
    fields = [line.partition(":") for line in rest]
    if match is None or any(not colon for _, colon, _ in fields):
        return None
    return match[1], match[2], Headers((name, value.strip()) for name, _, value in fields)


_ONE_RANGE = re.compile(r"bytes=(?:(\d+)-(\d*)|-(\d+))", re.ASCII)


def requested(value: str | None, size: int) -> tuple[int, int] | Literal["unsatisfiable"] | None:
    """Return what a Range header asks of *size* bytes, half-open; None when it is to be ignored.

    Several ranges, other units and bad syntax are ignored, which RFC 9110 (14.2) allows for all of them.
    """
    match = _ONE_RANGE.fullmatch((value or "").strip())
    if match is None:
        return None
    first, last, suffix = match.groups()
    if size == 0:  # like nginx: a range that starts at 0 gets 200, of others it says 416
        return "unsatisfiable" if suffix is None and int(first) else None
    if suffix is not None:
        return (max(0, size - int(suffix)), size) if int(suffix) else "unsatisfiable"
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        return "unsatisfiable"
    return int(first), min(size, int(last) + 1) if last else size


def respond(resource: Resource, method: str, asked: Headers) -> Reply:
    """Return the right answer (RFC 9110, 13.2.2 and 14.2)."""
    data = resource.data
    size = data.size
    headers = Headers([("Date", formatdate(usegmt=True))])
    fields = {
        "Content-Type": resource.content_type,
        "Last-Modified": resource.last_modified,
        "ETag": resource.etag,
        "Content-Disposition": resource.content_disposition,
        "Accept-Ranges": "bytes" if resource.ranges else None,
    }
    headers.extend((name, value) for name, value in fields.items() if value is not None)
    headers.extend(resource.headers)
    if method not in ("GET", "HEAD"):
        return Reply.of(405, b"no such method here\n", [("Allow", "GET, HEAD")])
    match _judge(resource, asked):
        case 412:
            return Reply.of(412, b"precondition failed\n")
        case 304:
            return Reply(304, headers, Body.of(b""))
    asks = requested(asked.get("Range"), size) if resource.ranges and method == "GET" else None
    condition = asked.get("If-Range")
    if condition is not None and not _is_current(resource, condition):
        asks = None
    if asks == "unsatisfiable":
        return Reply.of(416, b"no such range\n", [("Content-Range", f"bytes */{size}")])
    status, (start, stop) = (200, (0, size)) if asks is None else (206, asks)
    if status == 206:
        headers.put("Content-Range", f"bytes {start}-{stop - 1}/{size}")
    headers.put("Content-Length", str(stop - start))
    return Reply(status, headers, Body(data, start, stop))


def _judge(resource: Resource, asked: Headers) -> int:
    """Return 412 or 304 when a precondition says so, else 200."""
    if_match, if_none_match = asked.all("If-Match"), asked.all("If-None-Match")
    if if_match:
        if not _names_tag(resource.etag, if_match, strongly=True):
            return 412
    elif _is_later(resource.last_modified, asked.get("If-Unmodified-Since")):
        return 412
    if if_none_match:
        return 304 if _names_tag(resource.etag, if_none_match, strongly=False) else 200
    return 304 if _is_later(resource.last_modified, asked.get("If-Modified-Since")) is False else 200


def _names_tag(etag: str | None, fields: list[str], *, strongly: bool) -> bool:
    tags = re.findall(r'(?:W/)?"[^"]*"|\*', ",".join(fields))
    if "*" in tags:
        return True
    if etag is None or (strongly and etag.startswith("W/")):
        return False
    if strongly:
        return etag in tags
    return etag.removeprefix("W/") in {tag.removeprefix("W/") for tag in tags}


def _is_later(last_modified: str | None, than: str | None) -> bool | None:
    """Compare two dates; None when one is missing or unreadable, which is ignored (RFC 9110, 13.1.3)."""
    if last_modified is None or than is None:
        return None
    try:
        return parsedate_to_datetime(last_modified) > parsedate_to_datetime(than)
    except (ValueError, TypeError):
        return None


def _is_current(resource: Resource, if_range: str) -> bool:
    """Whether If-Range names this version: a strong tag, or the very date that was sent."""
    if if_range.startswith('"'):
        return if_range == resource.etag
    return if_range == resource.last_modified


class ServerClosedError(Exception):
    """The server is closing: every thread leaves what it is doing."""


class HangUpError(Exception):
    """The connection ends here, as a fault wants it or because the client left."""


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
        """Return just so many bytes, after waiting for them."""
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
        """Whether bytes have been received that nobody has asked for yet."""
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
        """Take leave properly: what was sent arrives, then the end of the stream."""
        with contextlib.suppress(OSError):
            if isinstance(self._sock, ssl.SSLSocket):
                self._sock.unwrap()
        self.cut()

    def cut(self) -> None:
        """End the stream (FIN) without taking leave of TLS."""
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
        give_up = time.monotonic() + 5
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


@dataclass
class Exchange:
    """One request on its way to an answer: what faults look at and edit."""

    server: Server
    seen: Seen
    asked: Headers  # what the server takes for the request's headers
    resource: Resource | None  # a copy, for this request alone
    turn: Turn
    reply: Reply | None = None


@dataclass
class Fault:
    """A switch. *ask* edits what was asked, or answers in place of the server; *answer* edits the answer.

    Once a fault has answered, later ones that *ask* are passed over, and their *when* is not asked at all.
    """

    name: str
    when: Callable[[Exchange], bool]
    ask: Callable[[Exchange], None] | None = None
    answer: Callable[[Exchange, Reply], None] | None = None


class Server(Service):
    """The server. `resources`, `faults` and `drop` may be changed while it runs."""

    def __init__(
        self,
        resource: Resource | Content | bytes | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        send_buffer: int | None = None,
    ) -> None:
        self.resources: dict[str, Resource] = {}
        if resource is not None:
            self.resources["/file.bin"] = resource if isinstance(resource, Resource) else Resource(resource)
        self.faults: list[Fault] = []
        self.requests: list[Seen] = []
        self.active = 0  # requests being answered
        self.peak = 0  # the most that were at one time, refused ones too
        self._send_buffer = send_buffer
        super().__init__(host, port, tls)

    def url(self, path: str = "/file.bin", *, host: str | None = None) -> str:
        netloc = self.netloc if host is None else f"{host}:{self.port}"
        return f"{'https' if self.tls else 'http'}://{netloc}{path}"

    @property
    def resource(self) -> Resource:
        """What is at /file.bin."""
        return self.resources["/file.bin"]

    @property
    def ranges(self) -> list[str | None]:
        """The Range header of every request, in order of arrival."""
        return [seen.range for seen in self.requests]

    @property
    def body_bytes(self) -> int:
        return sum(seen.body_bytes_sent for seen in self.requests)

    def reset_log(self) -> None:
        with self.lock:
            self.requests.clear()
            self.connections = 0
            self.peak = self.active

    def wait_until_idle(self, patience: float = 5) -> None:
        """Wait for the last answer to end, for a log that no longer changes after a client has left."""
        give_up = time.monotonic() + patience
        while self.active:
            if time.monotonic() > give_up:
                raise TimeoutError(f"{self.active} requests are still being answered")
            time.sleep(0.002)

    def serve(self, wire: Wire, connection: int) -> None:
        if self._send_buffer is not None:
            wire.limit_buffer(self._send_buffer)
        while (head := wire.receive_head()) is not None:
            seen = self._log(head, connection)
            if seen is None:
                send_reply(wire, Reply.of(400, b"not a request\n", [("Connection", "close")]))
                return
            wire.skip(int(seen.header("Content-Length") or 0))
            turn = Turn(self)
            try:
                reply = self._decide(seen, turn)
                self._send(wire, seen, reply, turn)
            finally:
                turn.end()
            wants_close = "close" in (seen.header("Connection") or "").lower()
            if reply.close or wants_close or "close" in (reply.headers.get("Connection") or "").lower():
                return

    def _log(self, head: bytes, connection: int) -> Seen | None:
        if (parsed := parse_head(head)) is None:
            return None
        with self.lock:
            seen = Seen(len(self.requests) + 1, connection, *parsed)
            self.requests.append(seen)
        return seen

    def _decide(self, seen: Seen, turn: Turn) -> Reply:
        with self.lock:
            resource = self.resources.get(seen.path)
            own = replace(resource) if resource else None
            exchange = Exchange(self, seen, Headers(seen.headers), own, turn)
            reached: list[Fault] = []
            for fault in list(self.faults):
                passed_over = fault.ask is not None and exchange.reply is not None
                if not passed_over and fault.when(exchange):
                    reached.append(fault)
                    seen.faults.append(fault.name)
                    if fault.ask:
                        fault.ask(exchange)
            if exchange.reply is None:
                exchange.reply = (
                    respond(exchange.resource, seen.method, exchange.asked)
                    if exchange.resource
                    else Reply.of(404, b"nothing here\n")
                )
            for fault in reached:
                if fault.answer:
                    fault.answer(exchange, exchange.reply)
            return exchange.reply

    def _send(self, wire: Wire, seen: Seen, reply: Reply, turn: Turn) -> None:
        seen.sent_headers = Headers(reply.headers)
        bodiless = seen.method == "HEAD"
        nothing_follows = bodiless or reply.body.size == 0

        def start() -> None:
            seen.status = reply.status
            if nothing_follows:
                turn.end()

        def count(done: int) -> None:
            # Told before the bytes go and corrected after: a client that has them all finds them counted.
            seen.body_bytes_sent = done
            if done >= reply.body.size:
                turn.end()

        head = ((memoryview(piece), True) for piece in reply.head_pieces())
        self._send_phase(wire, reply, "headers", head, reply.head_pace, lambda done: start())
        if not bodiless:
            self._send_phase(wire, reply, "body", reply.body_pieces(), reply.body_pace, count)
        seen.finished = True

    def _send_phase(
        self,
        wire: Wire,
        reply: Reply,
        where: Where,
        pieces: Iterable[tuple[memoryview, bool]],
        pace: Pace | None,
        count: Callable[[int], None],
    ) -> None:
        """Send *pieces*, at most *pace* of them at a time, with a stop at every break on the way."""
        here = [
            known
            for known in reply.breaks
            if where == known.where or (where, known.where) == ("headers", "before")
        ]
        breaks = sorted(here, key=lambda known: known.after)
        done = 0
        for piece, counts in pieces:
            if not counts:
                wire.send(piece)
                continue
            while piece:
                while breaks and breaks[0].after <= done:
                    self._break(wire, breaks.pop(0))
                limit = min(
                    len(piece), breaks[0].after - done if breaks else PIECE, pace.size if pace else PIECE
                )
                wire.send(piece[:limit], partial(_count_from, done, count))
                done, piece = done + limit, piece[limit:]
                if pace and piece:
                    wire.nap(pace.interval)
        for known in breaks:
            if known.after <= done:
                self._break(wire, known)

    def _break(self, wire: Wire, known: Break) -> None:
        if known.then:
            known.then(self)
        while known.gate and not known.gate.is_set():
            wire.nap(0.005)
        if known.seconds:
            wire.nap(known.seconds)
        if known.end == "fin":
            raise HangUpError
        if known.end == "reset":
            wire.reset()
            raise HangUpError


class Turn:
    """One request among the active ones. It ends before its last bytes go.

    A client that has them may ask again at once, and must not meet a limit that counts it twice.
    """

    def __init__(self, server: Server) -> None:
        self._server: Server | None = server
        with server.lock:
            server.active += 1
            server.peak = max(server.peak, server.active)

    def end(self) -> None:
        server, self._server = self._server, None
        if server:
            with server.lock:
                server.active -= 1


def _count_from(before: int, count: Callable[[int], None], sent: int, trying: int) -> None:
    count(before + sent + trying)


def send_reply(wire: Wire, reply: Reply) -> None:
    """Send all of *reply* at once."""
    for head in reply.head_pieces():
        wire.send(head)
    for piece, _ in reply.body_pieces():
        wire.send(piece)


def basic(user: str) -> str:
    """Return the Authorization of *user*, a name:password."""
    return f"Basic {b64encode(user.encode()).decode()}"


def unused_port(host: str = "127.0.0.1") -> int:
    """Return a port on which nobody listens: a connection to it is refused."""
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


@dataclass(frozen=True)
class Certificates:
    """Certificates in files: *ca* signed all but "self-signed"."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def files(self, name: str = "good") -> tuple[Path, Path]:
        """Return certificate and key of "good", "expired", "other-name" or "self-signed"."""
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def context(self, name: str = "good") -> ssl.SSLContext:
        """Return what a `Server` takes as *tls*."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.files(name))
        return context


def make_certificates(folder: Path) -> Certificates:
    """Make a CA and certificates for localhost, 127.0.0.1 and ::1 with the openssl binary, about 0.2 s."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise FileNotFoundError("no openssl binary on the PATH")

    def run(*arguments: str) -> None:
        done = subprocess.run([openssl, *arguments], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"openssl {' '.join(arguments)}: {done.stderr}")

    here = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
    elsewhere = "subjectAltName=DNS:elsewhere.example"
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    own = ("req", "-x509", *key, "-days", "30")
    # The default configuration of openssl already makes a CA; naming the extensions twice is an error.
    run(
        *own,
        "-subj",
        "/CN=Tests CA",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-addext",
        "keyUsage=keyCertSign",
    )
    run(
        *own,
        "-subj",
        "/CN=localhost",
        "-keyout",
        "self-signed.key",
        "-out",
        "self-signed.pem",
        "-addext",
        here,
    )
    for name, alternative, days in (
        ("good", here, "30"),
        ("expired", here, "-1"),
        ("other-name", elsewhere, "30"),
    ):
        extensions = f"{alternative}\nauthorityKeyIdentifier=keyid\nbasicConstraints=CA:FALSE\n"
        (folder / f"{name}.ext").write_text(extensions)
        run("req", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", f"{name}.ext")
        run("x509", "-req", "-in", f"{name}.csr", *signing, "-days", days, "-out", f"{name}.pem")
    return Certificates(folder)
