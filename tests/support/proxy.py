"""Proxies for tests: one for HTTP, with tunnels, and one for SOCKS 5 (RFC 1928, RFC 1929)."""

from __future__ import annotations

import select
import socket
import ssl
from typing import Any, Literal
from urllib.parse import urlsplit

from tests.support.server import (
    HangUpError,
    Reply,
    Seen,
    ServerClosedError,
    Service,
    Wire,
    basic,
    parse_head,
    send_reply,
)


class Relay(Service):
    """A service that passes bytes on. *hosts* maps names that no resolver knows to addresses."""

    def __init__(
        self, *, hosts: dict[str, tuple[str, int]] | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.hosts = hosts or {}
        super().__init__(tls=tls)

    def _reach(self, there: tuple[str, int]) -> Wire | None:
        try:
            return Wire(socket.create_connection(self.hosts.get(there[0], there), 5), self._closing)
        except OSError:
            return None

    def _relay(self, wire: Wire, upstream: Wire, *, tunnel: bool) -> bool:
        """Pass bytes on until one side ends; return whether the client asks again, outside a tunnel."""
        poller = select.poll()
        for end in (wire, upstream, self._closing):
            poller.register(end, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poller.poll()] if not wire.has_more else [wire.fileno()]
            if self._closing.fileno() in ready:
                raise ServerClosedError
            if upstream.fileno() in ready:
                if not (arrived := upstream.receive()):
                    return False
                wire.send(arrived)
            if wire.fileno() in ready:
                if not tunnel:
                    return True
                if not (arrived := wire.receive()):
                    return False
                upstream.send(arrived)


class Proxy(Relay):
    """A forward proxy: requests in absolute form are passed on, CONNECT opens a tunnel.

    *user* is the name:password that it demands (407). *failure* is what everyone gets who has passed: a status,
    or the end of the connection. *promise* is said in a tunnel before the server says anything.
    """

    def __init__(
        self,
        *,
        user: str | None = None,
        hosts: dict[str, tuple[str, int]] | None = None,
        failure: int | Literal["close", "reset"] | None = None,
        tls: ssl.SSLContext | None = None,
        promise: bytes = b"",
    ) -> None:
        self.user = user
        self.failure = failure
        self.promise = promise
        self.requests: list[Seen] = []  # the status is the proxy's own: 0 for what was passed on
        super().__init__(hosts=hosts, tls=tls)

    def url(self, user: str | None = None) -> str:
        return f"http{'s' if self.tls else ''}://{user + '@' if user else ''}{self.netloc}"

    def serve(self, wire: Wire, connection: int) -> None:
        upstream: Wire | None = None
        reached: tuple[str, int] | None = None
        try:
            while (head := wire.receive_head()) is not None:
                parsed = parse_head(head)
                if parsed is None:
                    send_reply(wire, Reply.of(400, b"not a request\n"))
                    return
                with self.lock:
                    seen = Seen(len(self.requests) + 1, connection, *parsed)
                    self.requests.append(seen)
                refusal = self._refuse(seen, wire)
                if refusal:
                    send_reply(wire, refusal)
                    continue
                tunnel = seen.method == "CONNECT"
                url = urlsplit(f"//{seen.target}" if tunnel else seen.target)
                there = (url.hostname or "", url.port or 80)
                if upstream is None or there != reached:
                    if upstream:
                        upstream.cut()
                    upstream, reached = self._reach(there), there
                if upstream is None:
                    seen.status = 502
                    send_reply(wire, Reply.of(502, b"nobody there\n"))
                elif tunnel:
                    seen.status = 200
                    wire.send(b"HTTP/1.1 200 Connection established\r\n\r\n" + self.promise)
                    self._relay(wire, upstream, tunnel=True)
                    return
                else:
                    upstream.send(_origin_form(seen))
                    if not self._relay(wire, upstream, tunnel=False):
                        return
        finally:
            if upstream:
                upstream.cut()

    def _refuse(self, seen: Seen, wire: Wire) -> Reply | None:
        if self.user and seen.header("Proxy-Authorization") != basic(self.user):
            seen.status = 407
            return Reply.of(407, b"who are you?\n", [("Proxy-Authenticate", 'Basic realm="proxy"')])
        failure = self.failure  # once: a client that is reset may change it
        if failure == "reset":
            wire.reset()
        if isinstance(failure, str):
            raise HangUpError
        if failure is not None:
            seen.status = failure
            return Reply.of(failure, b"the proxy will not\n")
        return None


def _origin_form(seen: Seen) -> bytes:
    url = urlsplit(seen.target)
    target = f"{url.path or '/'}{'?' + url.query if url.query else ''}"
    fields = [(name, value) for name, value in seen.headers if not name.lower().startswith("proxy-")]
    lines = [f"{seen.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


class SocksProxy(Relay):
    """A SOCKS 5 proxy. *user* is the name:password that it demands; a *silent* one accepts and never answers."""

    def __init__(self, *, user: str | None = None, silent: bool = False, **more: Any) -> None:
        self.user = user
        self.silent = silent
        self.reached: list[tuple[str, int]] = []
        super().__init__(**more)

    def url(self, user: str | None = None) -> str:
        return f"socks5://{user + '@' if user else ''}{self.netloc}"

    def serve(self, wire: Wire, connection: int) -> None:
        methods = wire.exactly(wire.exactly(2)[1])
        if self.silent:
            wire.nap(3600)
        if self.user:
            if 2 not in methods:
                wire.send(b"\5\xff")
                return
            wire.send(b"\5\2")
            name = wire.exactly(wire.exactly(2)[1])
            password = wire.exactly(wire.exactly(1)[0])
            right = (name + b":" + password).decode() == self.user
            wire.send(b"\1" + (b"\0" if right else b"\1"))
            if not right:
                return
        else:
            wire.send(b"\5\0")
        kind = wire.exactly(4)[3]
        match kind:
            case 1:
                host = socket.inet_ntop(socket.AF_INET, wire.exactly(4))
            case 4:
                host = socket.inet_ntop(socket.AF_INET6, wire.exactly(16))
            case _:
                host = wire.exactly(wire.exactly(1)[0]).decode()
        there = (host, int.from_bytes(wire.exactly(2), "big"))
        self.reached.append(there)
        upstream = self._reach(there)
        wire.send(b"\5" + (b"\0" if upstream else b"\5") + b"\0\1" + bytes(6))
        if upstream:
            try:
                self._relay(wire, upstream, tunnel=True)
            finally:
                upstream.cut()
