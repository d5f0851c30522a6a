"""The one module that knows httpx and httpcore: requests out, answers in, foreign exceptions translated.

Strategy: httpx carries requests, TLS set-up, proxies and pools; its own redirects, logging and body reading are
left aside, because they forward every header across origins, print secrets, and read 64 KiB at a time. A body
that is length-delimited or chunked and came over one of our own wires is taken straight from the socket; all others
(through a proxy, on a caller's client, ended by the connection) go through `iter_raw`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from . import __version__
from .chunked import ChunkError, Chunks
from .errors import (
    AttemptFailed,
    ClosedError,
    RefusedError,
    RemotePermissionError,
    SmartRemoteError,
    UsageError,
)
from .headers import Headers, Unbelievable, content_length, is_chunked
from .sockets import GarbledError, Wire
from .tls import tls_context
from .urls import credentials_of, redact, without_credentials
from .wires import Wires

# httpx imports its own command line, 47 ms of click, rich and pygments, unless that import fails.
_absent = sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
import httpcore  # noqa: E402
import httpx  # noqa: E402

if _absent is None:
    sys.modules.pop("httpx._main", None)

IDLE_SECONDS = 300.0
USER_AGENT = f"smartremote/{__version__}"

# What httpx, httpcore and the system raise while a request is under way.
FOREIGN = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    ImportError,
    ValueError,
    OSError,
)
# A failure of TLS while the connection is made is for good, a later one is not.
_CONNECTING = (httpx.ConnectError, httpcore.ConnectError)

# So many seconds a saved connection is worth: for a chunked body's end, or a refusal's short body.
_NOT_WORTH_MORE = 0.2
_AT_ONCE = 64 * 1024
_LONGEST_REASON = 200  # characters: what others say may quote a whole body


@dataclass(frozen=True, slots=True)
class Options:
    """How to talk to servers. *timeout* is in seconds; *headers* and *user* go to the first origin only."""

    headers: tuple[tuple[str, str], ...] = ()
    user: tuple[str, str] | None = None
    netrc: bool = True
    proxy: str | None = None
    cacert: str | None = None
    insecure: bool = False
    user_agent: str = USER_AGENT
    timeout: float = 30.0


class Transport:
    """Connections to any number of servers, shared by threads. Close it, or use it as a context manager."""

    def __init__(
        self,
        options: Options | None = None,
        client: httpx.Client | None = None,
        most: int | None = None,
        idle: float = IDLE_SECONDS,
    ) -> None:
        """Use *client*, which stays the caller's to close, instead of pools of our own when it is given.

        No more than *most* requests are under way at once; further ones wait. Connections that nobody used for
        *idle* seconds are closed.
        """
        self.options = options or Options()
        self._client = client
        self._pools: dict[tuple[str, str | None], _Pool] = {}
        self._lock = threading.Lock()  # guards _pools, _answers, _closed
        self._answers: weakref.WeakSet[Response] = weakref.WeakSet()
        self._closed = False
        self._context: ssl.SSLContext | None = None
        self._slots = None if most is None else threading.BoundedSemaphore(most)
        self._idle = idle

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; requests in flight fail with `AttemptFailed`."""
        with self._lock:
            self._closed = True
            pools, answers = list(self._pools.values()), list(self._answers)
            self._pools.clear()
        for answer in answers:
            answer.abort()
        for pool in pools:
            pool.close()

    def abort(self, thread: int | None) -> None:
        """Make the request that *thread* is waiting for fail, also before its answer's head is here."""
        with self._lock:
            pools = list(self._pools.values())
        for pool in pools:
            pool.backend.wires.abort(thread)

    def prune(self) -> None:
        """Close connections that were idle for too long."""
        with self._lock:
            pools = list(self._pools.values())
        for pool in pools:
            pool.backend.wires.prune()

    def send(self, url: str, headers: Iterable[tuple[str, str]], *, own: bool = False) -> Response:
        """Send one GET and return its answer once the head is whole. Redirects are not followed.

        Only to its *own* origin goes what the caller's client has set: headers, cookies, authentication. Raises
        `AttemptFailed` for what another attempt may mend, `RefusedError` for what it will not.
        """
        try:
            request = self._request(url, list(headers), own)
        except httpx.InvalidURL as error:
            refusal = UsageError if own else RefusedError
            raise refusal(redact(url), f"not a URL: {error}") from error
        release = self._take_slot(url)
        try:
            if self._client is not None:
                auth = httpx.USE_CLIENT_DEFAULT if own else None
                raw = self._client.send(request, stream=True, auth=auth, follow_redirects=False)
            else:
                raw = self._send_to(self._pool_for(url), request)
        except FOREIGN as error:
            release()
            raise translate(error, url, in_head=True) from error
        except RuntimeError as error:  # httpx's word for a client that was closed
            release()
            raise ClosedError(redact(url), "the HTTP client was closed") from error
        except BaseException:
            release()
            raise
        response = Response(raw, url, self.options.timeout, release)
        with self._lock:
            if not self._closed:
                self._answers.add(response)
                return response
        response.close()
        raise ClosedError(redact(url), "the connections were closed")

    def _request(self, url: str, headers: list[tuple[str, str]], own: bool) -> httpx.Request:
        if self._client is None or not own:
            return httpx.Request("GET", url, headers=headers, extensions=self._extensions())
        theirs = {"accept"}
        if not self._client.headers.get("user-agent", "").startswith("python-httpx/"):
            theirs.add("user-agent")
        headers = [field for field in headers if field[0].lower() not in theirs]
        return self._client.build_request("GET", url, headers=headers, extensions=self._extensions())

    def _send_to(self, pool: _Pool, request: httpx.Request) -> httpx.Response:
        """Send *request*; at once again where a connection that had lain idle ends without a byte of answer."""
        while True:
            try:
                return pool.handle_request(request)
            except FOREIGN:
                if not pool.backend.wires.was_stale():
                    pool.backend.wires.drop_unanswered()
                    raise

    def _take_slot(self, url: str) -> Callable[[], None]:
        """Wait until a request more may be under way; return what to call when it is over."""
        if self._slots is None:
            return lambda: None
        while not self._slots.acquire(timeout=0.1):
            if self._closed:
                raise ClosedError(redact(url), "the connections were closed")
        return self._slots.release

    def _extensions(self) -> dict[str, Any]:
        return {"timeout": httpx.Timeout(self.options.timeout, pool=None).as_dict()}

    def _pool_for(self, url: str) -> _Pool:
        parts = urlsplit(url)
        proxy = self._proxy_for(parts.scheme.lower(), parts.hostname or "", parts.netloc.rpartition("@")[2])
        key = (parts.scheme.lower(), proxy)
        with self._lock:
            if self._closed:
                raise ClosedError(redact(url), "the connections were closed")
            if key not in self._pools:
                needs_tls = key[0] == "https" or (proxy or "").startswith("https:")
                self._pools[key] = _Pool(
                    proxy, self._tls_context() if needs_tls else None, lambda: self._closed, self._idle
                )
            return self._pools[key]

    def _proxy_for(self, scheme: str, host: str, netloc: str) -> str | None:
        if self.options.proxy is not None:
            proxy: str | None = self.options.proxy
        else:
            found = getproxies()
            proxy = found.get(scheme) or found.get("all")
            if proxy and (proxy_bypass(netloc) or proxy_bypass(host)):
                proxy = None
        if not proxy:
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    def _tls_context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = tls_context(self.options.cacert, self.options.insecure)
        return self._context


class Response:
    """An answer whose head is whole; the body is read by one thread, `abort` may come from any."""

    def __init__(self, raw: httpx.Response, url: str, timeout: float, release: Callable[[], None]) -> None:
        self._raw = raw
        self._release: Callable[[], None] | None = release
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
        ours = isinstance(stream, _Stream) and stream.drains
        self._chunks = Chunks() if ours and not bodiless and is_chunked(self.headers) else None
        drains = ours and (self._left >= 0 or self._chunks is not None)
        self._wire: Wire | None = stream.wire if isinstance(stream, _Stream) and drains else None

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
        if isinstance(self._stream, _Stream):
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
            elif self.length is None and isinstance(self._stream, _Stream) and is_chunked(self.headers):
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
        if isinstance(self._stream, _Stream):
            self._stream.wire.user = None
        with contextlib.suppress(RuntimeError, *FOREIGN):
            self._raw.close()

    def abort(self) -> None:
        """Make a read that waits in another thread fail."""
        if isinstance(self._stream, _Stream):
            self._stream.wire.abort()
        elif self._stream is not None:
            sock = self._stream.get_extra_info("socket")
            if isinstance(sock, socket.socket):
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _may_persist(self) -> bool:
        options = ",".join(self.headers.all("connection")).lower()
        version = self._raw.extensions.get("http_version", b"HTTP/1.1")
        return version == b"HTTP/1.1" and "close" not in [option.strip() for option in options.split(",")]


def translate(error: BaseException, url: str, *, in_head: bool = False) -> SmartRemoteError:
    """Return our word for what httpx, httpcore or the system raised while talking to *url*.

    *in_head* says that no answer had begun, or not a whole head of one.
    """
    name = redact(url)
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, SmartRemoteError):
            return cause
        if isinstance(cause, ssl.SSLCertVerificationError):
            return RefusedError(name, f"the certificate is not to be trusted: {cause.verify_message}")
        if isinstance(cause, socket.gaierror):
            if cause.errno == socket.EAI_AGAIN:
                return AttemptFailed(name, "the host name could not be looked up", refused=True)
            return RefusedError(name, f"unknown host {urlsplit(url).hostname}")
        if isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)):
            return AttemptFailed(name, "the connection was closed in the middle of TLS")
        if isinstance(cause, (GarbledError, ChunkError)):
            return AttemptFailed(name, f"its answer cannot be believed: {cause}", garbled=True)
        if isinstance(cause, ssl.SSLError) and not any(isinstance(c, _CONNECTING) for c in chain):
            return AttemptFailed(name, "the connection broke in the middle of TLS")
        if isinstance(cause, ssl.SSLError) and cause.reason == "TLSV1_ALERT_INTERNAL_ERROR":
            return AttemptFailed(name, "the server fails to speak TLS: internal error")
        if isinstance(cause, ssl.SSLError):
            reason = (cause.reason or "error").replace("_", " ").lower()
            return RefusedError(name, f"TLS failed: {reason}")
    if isinstance(error, (httpx.ProxyError, httpcore.ProxyError)):
        text = str(error)
        if text[:1] == "4":
            return RemotePermissionError(name, f"the proxy refuses: {text}")
        return AttemptFailed(name, f"the proxy failed: {text}")
    for cause in chain:
        if isinstance(cause, ConnectionRefusedError):
            return AttemptFailed(name, "connection refused", crowded=True, refused=True)
        if isinstance(cause, (TimeoutError, httpx.TimeoutException, httpcore.TimeoutException)):
            return AttemptFailed(name, str(cause) or "no byte came in time", stalled=True)
        if in_head and isinstance(cause, (ConnectionResetError, BrokenPipeError)):
            return AttemptFailed(name, "the connection was reset before an answer came", crowded=True)
        if in_head and type(cause).__module__.startswith("h11"):
            why = f"its answer cannot be believed: {str(cause).lower()[:_LONGEST_REASON]}"
            return AttemptFailed(name, why, garbled=True)
    if in_head and isinstance(error, httpcore.RemoteProtocolError):
        return AttemptFailed(name, "the connection ended before an answer came", crowded=True)
    if isinstance(
        error, (httpx.UnsupportedProtocol, httpcore.UnsupportedProtocol, httpx.InvalidURL, ImportError)
    ):
        return UsageError(name, str(error))
    reason = next((os.strerror(c.errno) for c in chain if isinstance(c, OSError) and c.errno), str(error))
    return AttemptFailed(name, reason[:_LONGEST_REASON].rstrip(".").lower() or "the connection broke")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if not isinstance(current, (ssl.SSLWantReadError, ssl.SSLWantWriteError)):  # waiting is no cause
            yield current
        current = current.__cause__ or current.__context__


class _Pool(httpx.BaseTransport):
    """An httpcore pool over our own wires, direct or through a proxy."""

    def __init__(
        self, proxy: str | None, context: ssl.SSLContext | None, stopped: Callable[[], bool], idle: float
    ) -> None:
        self.backend = _Backend(reuses=proxy is None, stopped=stopped, idle=idle)
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


class _Stream(httpcore.NetworkStream):
    """A wire as httpcore wants it. *patience* is in seconds, for what httpcore would wait for without end."""

    def __init__(self, wire: Wire, drains: bool, patience: float | None) -> None:
        self.wire = wire
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
            return self.wire.receive(max_bytes, limit)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.deadline = None
        with _mapped(httpcore.WriteTimeout, httpcore.WriteError):
            self.wire.send(buffer, self._patience if timeout is None else timeout)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            with _mapped(httpcore.ConnectTimeout, httpcore.ConnectError):
                self.wire.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            self.wire.discard()
            raise
        return self

    def close(self) -> None:
        self.wire.close()

    def get_extra_info(self, info: str) -> Any:
        match info:
            case "ssl_object":
                return self.wire.sock if self.wire.tls else None
            case "socket":
                return self.wire.sock
            case "is_readable":
                return self.wire.is_readable
            case "client_addr":
                return self.wire.sock.getsockname()
            case "server_addr":
                return self.wire.sock.getpeername()
        return None


class _Backend(httpcore.NetworkBackend):
    """Hands httpcore our own wires.

    httpcore never sees a body that was drained, and closes the connection; the wire then goes back to `wires`.
    Through a proxy a wire is bound to more than host and port, so that it is not kept.
    """

    def __init__(self, reuses: bool, stopped: Callable[[], bool], idle: float) -> None:
        self._reuses = reuses
        self.wires = Wires(reuses, stopped, idle)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        with _mapped(httpcore.ConnectTimeout, httpcore.ConnectError):
            return _Stream(self.wires.connect(host, port, timeout), self._reuses, timeout)


@contextlib.contextmanager
def _mapped(timeout: type[Exception], failure: type[Exception]) -> Iterator[None]:
    """Raise httpcore's exceptions for the system's, with the cause kept for `translate`."""
    try:
        yield
    except TimeoutError as error:
        raise timeout(str(error)) from error
    except OSError as error:
        raise failure(str(error)) from error
