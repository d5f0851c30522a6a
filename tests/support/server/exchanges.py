"""The HTTP server: it logs each request, makes the answer under the faults that are switched on, and sends it."""

from __future__ import annotations

import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from tests.support.threads import PATIENCE

from .answers import Break, Headers, Pace, Reply, Where, parse_head, respond
from .contents import Content, Resource
from .service import PIECE, HangUpError, Service, Wire


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
        self.peak = 0  # the highest that `active` was, refused requests included
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

    def wait_until_idle(self, patience: float = PATIENCE) -> None:
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
            # Count the bytes before they go and correct the count after: a client that has them all finds them counted.
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
