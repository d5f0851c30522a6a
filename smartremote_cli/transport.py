"""The one module that knows httpx and httpcore: requests out, answers in, foreign exceptions translated.

Strategy: httpx carries requests, TLS set-up, proxies and pools; its own redirects, logging and body reading are
left aside, because they forward every header across origins, print secrets, and read 64 KiB at a time. A body
that is length-delimited and came over one of our own wires is taken straight from the socket; all others
(chunked, through a proxy, on a caller's client) go through `iter_raw`.
"""

from __future__ import annotations

import base64
import contextlib
import netrc
import os
import socket
import ssl
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from . import __version__
from .errors import (
    AttemptFailed,
    ClosedError,
    RefusedError,
    RemoteNotFoundError,
    RemotePermissionError,
    SmartRemoteError,
    UsageError,
)
from .headers import Asked, Headers, Unbelievable, content_length, retry_after
from .sockets import Wire, connect
from .urls import check_url, credentials_of, origin_of, redact, without_credentials

# httpx imports its own command line, 47 ms of click, rich and pygments, unless that import fails.
_absent = sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
import httpcore  # noqa: E402
import httpx  # noqa: E402

if _absent is None:
    sys.modules.pop("httpx._main", None)

MOST_REDIRECTS = 10
IDLE_SECONDS = 300.0
USER_AGENT = f"smartremote/{__version__}"

# What carries the ranges and the coding belongs to the engine.
RESERVED = frozenset(
    "range if-range if-match if-none-match if-modified-since if-unmodified-since accept-encoding "
    "content-length transfer-encoding connection".split()
)

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

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
)


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
    ) -> None:
        """Use *client*, which stays the caller's to close, instead of pools of our own when it is given.

        No more than *most* requests are under way at once; further ones wait.
        """
        self.options = options or Options()
        self._client = client
        self._pools: dict[tuple[str, str | None], _Pool] = {}
        self._lock = threading.Lock()  # guards _pools, _answers, _closed
        self._answers: weakref.WeakSet[Response] = weakref.WeakSet()
        self._closed = False
        self._context: ssl.SSLContext | None = None
        self._slots = None if most is None else threading.BoundedSemaphore(most)

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
            pool.backend.abort(thread)

    def prune(self) -> None:
        """Close connections that were idle for `IDLE_SECONDS`."""
        with self._lock:
            pools = list(self._pools.values())
        for pool in pools:
            pool.backend.prune()

    def send(self, url: str, headers: Iterable[tuple[str, str]]) -> Response:
        """Send one GET and return its answer once the head is whole. Redirects are not followed.

        Raises `AttemptFailed` for what another attempt may mend, `RefusedError` for what it will not.
        """
        request = httpx.Request("GET", url, headers=list(headers), extensions=self._extensions())
        release = self._take_slot(url)
        try:
            if self._client is not None:
                raw = self._client.send(request, stream=True, auth=None, follow_redirects=False)
            else:
                raw = self._pool_for(url).handle_request(request)
        except FOREIGN as error:
            release()
            raise translate(error, url) from error
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
                    proxy, self._tls_context() if needs_tls else None, lambda: self._closed
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
        self._chunks: Iterator[bytes] | None = None
        self._rest = memoryview(b"")
        self._ended = False
        length = content_length(self.headers)
        bodiless = self.status in (204, 304) or 100 <= self.status < 200
        self.length: int | None = 0 if bodiless else None if isinstance(length, Unbelievable) else length
        self._left = self.length if self.length is not None else -1
        stream = self._stream
        drains = isinstance(stream, _Stream) and stream.drains and self._left >= 0
        self._wire: Wire | None = stream.wire if isinstance(stream, _Stream) and drains else None

    def read_into(self, view: memoryview) -> int:
        """Fill *view* with the next body bytes, as many as are here; return how many, 0 at the announced end.

        Raises `AttemptFailed` when the connection breaks, stalls, or ends before the announced length.
        """
        try:
            count = self._drain(view) if self._wire is not None else self._pull(view)
        except FOREIGN as error:
            raise translate(error, self.url) from error
        return count

    def _drain(self, view: memoryview) -> int:
        assert self._wire is not None
        if not self._left:
            return 0
        count = self._wire.read_into(view[: self._left], self._timeout)
        if not count:
            raise AttemptFailed(
                redact(self.url), f"the connection ended {self._left} bytes before the body did"
            )
        self._left -= count
        return count

    def _pull(self, view: memoryview) -> int:
        if self._chunks is None:
            self._chunks = self._raw.iter_raw()
        while not self._rest:
            chunk = next(self._chunks, None)
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

    def skip(self, most: int) -> None:
        """Read the rest of the body and drop it where it is announced and short, so that the connection lives."""
        if 0 < self._left <= most:
            view = memoryview(bytearray(min(self._left, 64 * 1024)))
            with contextlib.suppress(SmartRemoteError):
                while self.read_into(view):
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
            self._wire.reusable = self._left == 0 and not self._wire.has_leftovers and self._may_persist()
        elif self._left == 0 and not self._ended:
            with contextlib.suppress(Exception):  # lets httpcore see the end, which it needs for keep-alive
                next(self._chunks if self._chunks is not None else self._raw.iter_raw(), None)
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


class Remote:
    """One resource: its URL, and where redirects led, which is remembered for this run."""

    def __init__(self, url: str, transport: Transport) -> None:
        """Check *url*; `UsageError` when it is none. User and password in it become credentials."""
        self._credentials = credentials_of(check_url(url))
        self.url = without_credentials(check_url(url))
        self.transport = transport
        self._final: str | None = None
        self._has_answered = False

    @property
    def name(self) -> str:
        """The URL as it may be shown."""
        return redact(self.url)

    def ask(self, asked: Asked, extra: Iterable[tuple[str, str]] = ()) -> Response:
        """Send a GET for *asked*, follow redirects, and return the answer to it, whatever its status.

        A remembered redirect that is refused now is resolved afresh once: signed URLs expire.
        """
        final = self._final
        if final is not None:
            response = self._send(final, asked, extra)
            if response.status not in (401, 403, 404, 410) and response.status not in _REDIRECTS:
                return response
            response.skip(64 * 1024)
            response.close()
            self._final = None
        return self._follow(asked, extra)

    def _follow(self, asked: Asked, extra: Iterable[tuple[str, str]]) -> Response:
        url = self.url
        for _ in range(MOST_REDIRECTS + 1):
            response = self._send(url, asked, extra)
            if response.status not in _REDIRECTS:
                self._final = url if url != self.url and response.status in (200, 206, 304) else None
                return response
            target = response.headers.get("location")
            response.skip(64 * 1024)
            response.close()
            if not target:
                raise RefusedError(redact(url), f"a redirect ({response.status}) that does not say where to")
            url = self._next_hop(url, target)
        raise RefusedError(self.name, f"more than {MOST_REDIRECTS} redirects")

    def _next_hop(self, url: str, target: str) -> str:
        try:
            following = without_credentials(check_url(urljoin(url, target)))
        except (UsageError, ValueError) as error:
            raise RefusedError(
                redact(url), f"a redirect to {redact(target)}, which is no http URL"
            ) from error
        if url.lower().startswith("https:") and not following.lower().startswith("https:"):
            raise RefusedError(redact(url), f"a redirect from https down to {redact(following)}")
        return following

    def _send(self, url: str, asked: Asked, extra: Iterable[tuple[str, str]]) -> Response:
        options = self.transport.options
        headers = [("User-Agent", options.user_agent), ("Accept", "*/*"), ("Accept-Encoding", "identity")]
        if asked.header is not None:
            headers.append(("Range", asked.header))
        headers += extra
        if origin_of(url) == origin_of(self.url):
            own = {name.lower() for name, _ in options.headers}
            headers = [
                field for field in headers if field[0].lower() not in own or field[0].lower() in RESERVED
            ]
            headers += options.headers
            pair = options.user or self._credentials or _from_netrc(url, options.netrc)
            if pair is not None and "authorization" not in own:
                token = base64.b64encode(f"{pair[0]}:{pair[1]}".encode()).decode("ascii")
                headers.append(("Authorization", f"Basic {token}"))
        return self.transport.send(url, headers)


def check_header(text: str) -> tuple[str, str]:
    """Return the (name, value) of a header given as ``Name: value``; `UsageError` when it is none."""
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
        raise UsageError("--header", "expected 'Name: value'")
    if any(ord(char) < 32 or char == "\x7f" for char in value) or not value.isascii():
        raise UsageError("--header", f"the value of {name} holds characters that a header cannot carry")
    if name.lower() in RESERVED:
        raise UsageError("--header", f"{name} is smartremote's own to set")
    return name, value


def refusal(response: Response, name: str) -> SmartRemoteError:
    """Return the error that a status other than 200, 206, 304, 412 and 416 stands for."""
    status = response.status
    try:
        phrase = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = f"status {status}"
    if status in (408, 425, 429) or status >= 500:
        wait = retry_after(response.headers, time.time())
        return AttemptFailed(name, phrase, crowded=status in (429, 503), retry_after=wait)
    if status in (404, 410):
        return RemoteNotFoundError(name, phrase)
    if status in (401, 403, 407):
        hint = "give --user NAME or a header with -H" if status == 401 else None
        return RemotePermissionError(name, phrase, hint=hint)
    return RefusedError(name, phrase)


def translate(error: BaseException, url: str) -> SmartRemoteError:
    """Return our word for what httpx, httpcore or the system raised while talking to *url*."""
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
        if isinstance(cause, ssl.SSLError):
            reason = (cause.reason or "error").replace("_", " ").lower()
            return RefusedError(name, f"TLS failed: {reason}")
    for cause in chain:
        if isinstance(cause, ConnectionRefusedError):
            return AttemptFailed(name, "connection refused", crowded=True, refused=True)
        if isinstance(cause, (TimeoutError, httpx.TimeoutException, httpcore.TimeoutException)):
            return AttemptFailed(name, str(cause) or "no byte came in time", stalled=True)
    if isinstance(error, (httpx.ProxyError, httpcore.ProxyError)):
        text = str(error)
        if text[:1] == "4":
            return RemotePermissionError(name, f"the proxy refuses: {text}")
        return AttemptFailed(name, f"the proxy failed: {text}")
    if isinstance(
        error, (httpx.UnsupportedProtocol, httpcore.UnsupportedProtocol, httpx.InvalidURL, ImportError)
    ):
        return UsageError(name, str(error))
    reason = next((os.strerror(c.errno) for c in chain if isinstance(c, OSError) and c.errno), str(error))
    return AttemptFailed(name, reason.rstrip(".").lower() or "the connection broke")


def tls_context(cacert: str | None, insecure: bool) -> ssl.SSLContext:
    """Return a client context: the system's store, SSL_CERT_FILE and SSL_CERT_DIR, or *cacert* alone.

    Where OpenSSL was built for another system's paths, the usual bundles and then certifi's are tried.
    """
    if insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if cacert is not None:
        try:
            return ssl.create_default_context(cafile=cacert)
        except (OSError, ssl.SSLError) as error:
            raise UsageError("--cacert", f"{cacert} cannot be read as certificates") from error
    paths = ssl.get_default_verify_paths()
    if paths.cafile or paths.capath:
        return ssl.create_default_context()
    bundle = next((path for path in _BUNDLES if os.path.exists(path)), None)
    if bundle is None:
        import certifi

        bundle = certifi.where()
    return ssl.create_default_context(cafile=bundle)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _from_netrc(url: str, wanted: bool) -> tuple[str, str] | None:
    """Return the credentials that ~/.netrc, or $NETRC, has for the host of *url*; an unreadable file has none."""
    if not wanted:
        return None
    path = os.environ.get("NETRC") or os.path.expanduser("~/.netrc")
    try:
        found = netrc.netrc(path).authenticators(urlsplit(url).hostname or "")
    except (OSError, netrc.NetrcParseError, UnicodeError):
        return None
    return None if found is None else (found[0] or "", found[2] or "")


class _Pool(httpx.BaseTransport):
    """An httpcore pool over our own wires, direct or through a proxy."""

    def __init__(
        self, proxy: str | None, context: ssl.SSLContext | None, stopped: Callable[[], bool]
    ) -> None:
        self.backend = _Backend(reuses=proxy is None, stopped=stopped)
        common: dict[str, Any] = {
            # The pool must never make a request wait (encode/httpcore#1110): the engine bounds connections.
            "max_connections": None,
            "max_keepalive_connections": None,
            "keepalive_expiry": IDLE_SECONDS,
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
        elif parts.scheme == "https":  # TLS within TLS is httpcore's own stream's to do
            self._pool = httpcore.HTTPProxy(address, proxy_auth=auth, proxy_ssl_context=context, **common)
        else:
            self._pool = httpcore.HTTPProxy(address, proxy_auth=auth, network_backend=self.backend, **common)

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
        self.backend.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


class _Stream(httpcore.NetworkStream):
    """A wire as httpcore wants it."""

    def __init__(self, wire: Wire, drains: bool) -> None:
        self.wire = wire
        self.drains = drains

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _mapped(httpcore.ReadTimeout, httpcore.ReadError):
            return self.wire.receive(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _mapped(httpcore.WriteTimeout, httpcore.WriteError):
            self.wire.send(buffer, timeout)

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
    """Makes wires, and keeps those whose last body was drained to its end for the next request.

    httpcore never saw such a body and closes the connection; the wire then comes back here. Through a proxy a
    wire is bound to more than host and port, so that it is not kept.
    """

    def __init__(self, reuses: bool, stopped: Callable[[], bool]) -> None:
        self._reuses = reuses
        self._stopped = stopped
        self._lock = threading.Lock()  # guards _idle and _users
        self._idle: dict[tuple[str, int], list[tuple[float, Wire]]] = {}
        self._users: weakref.WeakKeyDictionary[Wire, int] = weakref.WeakKeyDictionary()  # thread by wire

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        wire = self._take(host, port)
        if wire is None:
            with _mapped(httpcore.ConnectTimeout, httpcore.ConnectError):
                sock = connect(host, port, timeout, self._stopped)
            wire = Wire(sock, (lambda it: self._give_back(host, port, it)) if self._reuses else None)
        with self._lock:
            self._users[wire] = threading.get_ident()
        return _Stream(wire, drains=self._reuses)

    def abort(self, thread: int | None) -> None:
        with self._lock:
            wires = [wire for wire, user in self._users.items() if user == thread]
        for wire in wires:
            wire.abort()

    def prune(self) -> None:
        limit = time.monotonic() - IDLE_SECONDS
        with self._lock:
            old = [wire for wires in self._idle.values() for since, wire in wires if since < limit]
            for key, wires in self._idle.items():
                self._idle[key] = [entry for entry in wires if entry[0] >= limit]
        for wire in old:
            wire.discard()

    def close(self) -> None:
        with self._lock:
            wires = [wire for wires in self._idle.values() for _, wire in wires]
            self._idle.clear()
        for wire in wires:
            wire.discard()

    def _take(self, host: str, port: int) -> Wire | None:
        self.prune()
        while True:
            with self._lock:
                wires = self._idle.get((host, port))
                if not wires:
                    return None
                wire = wires.pop()[1]
            if not wire.is_readable:
                return wire
            wire.discard()  # the server ended it, or sent what nobody asked for

    def _give_back(self, host: str, port: int, wire: Wire) -> bool:
        if not wire.reusable or self._stopped():
            return False
        with self._lock:
            self._users.pop(wire, None)
            self._idle.setdefault((host, port), []).append((time.monotonic(), wire))
        return True


@contextlib.contextmanager
def _mapped(timeout: type[Exception], failure: type[Exception]) -> Iterator[None]:
    """Raise httpcore's exceptions for the system's, with the cause kept for `translate`."""
    try:
        yield
    except TimeoutError as error:
        raise timeout(str(error)) from error
    except OSError as error:
        raise failure(str(error)) from error
