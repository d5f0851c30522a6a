"""Pool: httpcore over our own wires, direct or through a proxy."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from ..core.urls import credentials_of, redact, without_credentials
from ..errors import UsageError
from .connection import Wire
from .libraries import httpcore, httpx
from .preconnect import Early
from .wires import Wires


class Pool(httpx.BaseTransport):
    """An httpcore pool over our own wires, direct or through a proxy."""

    def __init__(
        self,
        proxy: str | None,
        context: ssl.SSLContext | None,
        stopped: Callable[[], bool],
        idle: float,
        early: Early | None = None,
    ) -> None:
        wires = Wires(proxy is None, stopped, idle, early if proxy is None else None)
        self.backend = _Backend(wires, reuses=proxy is None)
        common: dict[str, Any] = {
            # The pool must never make a request wait (encode/httpcore#1110): the engine bounds connections.
            "max_connections": None,
            "max_keepalive_connections": None,
            "keepalive_expiry": idle,
            "ssl_context": context,
        }
        if proxy is None:
            self._pool = httpcore.ConnectionPool(network_backend=self.backend, **common)
            return
        parts = urlsplit(proxy)
        if parts.scheme not in ("http", "https", "socks5", "socks5h") or not parts.hostname:
            raise UsageError(redact(proxy), "not a proxy URL (http, https or socks5)")
        user = credentials_of(proxy)
        auth = None if user is None else (user[0].encode(), user[1].encode())
        address = without_credentials(proxy)
        if parts.scheme.startswith("socks5"):
            try:
                self._pool = httpcore.SOCKSProxy(
                    address, proxy_auth=auth, network_backend=self.backend, **common
                )
            except (ImportError, RuntimeError) as error:
                raise UsageError(redact(proxy), "a SOCKS proxy needs the package socksio") from error
            return
        tls = context if parts.scheme == "https" else None
        self._pool = httpcore.HTTPProxy(
            address, proxy_auth=auth, proxy_ssl_context=tls, network_backend=self.backend, **common
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        answer = self._pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                ),
                headers=request.headers.raw,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        self._pool.close()
        self.backend.wires.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


class Stream(httpcore.NetworkStream):
    """A wire as httpcore wants it. *patience* is in seconds, for what httpcore would wait for without end."""

    def __init__(self, wire: Wire, drains: bool, patience: float | None) -> None:
        self.transport = wire
        self.drains = drains
        self.deadline: float | None = None  # of the next piece of a body, however many reads it takes
        self._patience = patience

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        limit = self._patience if timeout is None else timeout
        if self.deadline is not None:
            limit = self.deadline - time.monotonic()
        with _mapped(httpcore.ReadTimeout, httpcore.ReadError):
            if limit is not None and limit <= 0:
                raise TimeoutError("no byte of the body came in time")
            return self.transport.receive(max_bytes, limit)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.deadline = None
        with _mapped(httpcore.WriteTimeout, httpcore.WriteError):
            self.transport.send(buffer, self._patience if timeout is None else timeout)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            with _mapped(httpcore.ConnectTimeout, httpcore.ConnectError):
                self.transport.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            self.transport.discard()
            raise
        return self

    def close(self) -> None:
        self.transport.close()

    def get_extra_info(self, info: str) -> Any:
        match info:
            case "ssl_object":
                return self.transport.sock if self.transport.tls else None
            case "socket":
                return self.transport.sock
            case "is_readable":
                return self.transport.is_readable
            case "client_addr":
                return self.transport.sock.getsockname()
            case "server_addr":
                return self.transport.sock.getpeername()
        return None


class _Backend(httpcore.NetworkBackend):
    """Hands httpcore our own wires.

    httpcore never sees a body that was drained, and closes the connection; the wire then goes back to `wires`.
    Through a proxy a wire is bound to more than host and port, so that it is not kept.
    """

    def __init__(self, wires: Wires, reuses: bool) -> None:
        self.wires = wires
        self._reuses = reuses

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        with _mapped(httpcore.ConnectTimeout, httpcore.ConnectError):
            return Stream(self.wires.connect(host, port, timeout), self._reuses, timeout)


@contextlib.contextmanager
def _mapped(timeout: type[Exception], failure: type[Exception]) -> Iterator[None]:
    """Raise httpcore's exceptions for the system's, with the cause kept for `translate`."""
    try:
        yield
    except TimeoutError as error:
        raise timeout(str(error)) from error
    except OSError as error:
        raise failure(str(error)) from error
