"""The caller's own client: requests over an `httpx.Client`, with its headers, cookies and authentication.

The one module that imports httpx, and itself imported only where a caller brings a client.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from ..core.urls import redact
from ..errors import AttemptFailed, ClosedError, RefusedError, SmartRemoteError, UsageError
from ..protocol.headers import Headers, is_chunked
from ..protocol.http1 import framing_of
from .body import Answer
from .exchange import Exchange
from .failures import MAX_REASON, causes, recognize, refusal_of_proxy, translate

try:
    import httpx
except ImportError as error:
    raise UsageError(
        "client", "needs the package httpx", hint="pip install 'smartremote-cli[httpx]'"
    ) from error

_FOREIGN = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ImportError, ValueError, OSError)


class ClientSender:
    """Sends requests over *client*, which stays the caller's to close. *timeout* is in seconds, for each wait."""

    def __init__(self, client: httpx.Client, timeout: float) -> None:
        self._client = client
        self._timeout = timeout

    def send(self, url: str, headers: list[tuple[str, str]], *, own: bool, exchange: Exchange) -> Answer:
        """Send one GET and return its answer, whose body is attached to *exchange*; see `Transport.send`."""
        try:
            request = self._request(url, headers, own)
        except (httpx.InvalidURL, UnicodeError) as error:
            kind = UsageError if own else RefusedError
            raise kind(redact(url), f"not a URL: {error}") from error
        try:
            auth = httpx.USE_CLIENT_DEFAULT if own else None
            raw = self._client.send(request, stream=True, auth=auth, follow_redirects=False)
        except _FOREIGN as error:
            raise _translate(error, url, self._timeout, in_head=True) from error
        except RuntimeError as error:  # httpx's word for it
            raise ClosedError(redact(url), "the HTTP client was closed") from error
        fields = ((key.decode("latin-1"), value.decode("latin-1")) for key, value in raw.headers.raw)
        headers_in = Headers(fields)
        body = ClientBody(raw, url, self._timeout, chunked=is_chunked(headers_in))
        try:
            exchange.attach(body)
        except BaseException:
            body.close(drained=False)
            raise
        return Answer(raw.status_code, headers_in, framing_of(raw.status_code, headers_in).length, body)

    def prune(self) -> None:
        """Leave the client's idle connections to it."""

    def close(self) -> None:
        """Leave the client open: it is the caller's to close."""

    def _request(self, url: str, headers: list[tuple[str, str]], own: bool) -> httpx.Request:
        extensions = {"timeout": httpx.Timeout(self._timeout, pool=None).as_dict()}
        if not own:
            return httpx.Request("GET", url, headers=headers, extensions=extensions)
        theirs = {"accept"}
        if not self._client.headers.get("user-agent", "").startswith("python-httpx/"):
            theirs.add("user-agent")
        headers = [field for field in headers if field[0].lower() not in theirs]
        return self._client.build_request("GET", url, headers=headers, extensions=extensions)


class ClientBody:
    """The body of httpx's answer *raw*, as its bytes came: no content coding is undone."""

    def __init__(self, raw: httpx.Response, url: str, timeout: float, *, chunked: bool) -> None:
        self._raw = raw
        self._url = url
        self._timeout = timeout
        self._chunked = chunked
        self._pieces: Iterator[bytes] | None = None
        self._rest = memoryview(b"")
        self._ended = False
        self._aborted = False

    def read_into(self, view: memoryview, timeout: float) -> int:
        """Fill *view*. The client has its own timeout, which the request set: *timeout* cannot change it."""
        try:
            while not self._rest and not self._ended:
                self._pull()
        except _FOREIGN as error:
            raise _translate(error, self._url, self._timeout, in_head=False) from error
        if self._aborted and not self._rest:  # the end that `abort` made is not the body's
            raise AttemptFailed(redact(self._url), "stopped")
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _pull(self) -> None:
        if self._pieces is None:
            is_here = self._raw.is_stream_consumed  # an answer that a MockTransport made of bytes
            self._pieces = iter((self._raw.content,)) if is_here else self._raw.iter_raw()
        piece = next(self._pieces, None)
        self._ended = piece is None
        self._rest = memoryview(piece or b"")

    @property
    def unconfirmed(self) -> int:
        """None of its bytes: h11 is under the client, and gives out a chunk as it comes."""
        return 0

    def finish(self, timeout: float, patience: float) -> bool:
        """Return whether a chunked body has ended; the client waits for that as long as for anything else."""
        return not self._chunked or not self.read_into(memoryview(bytearray(1)), timeout)

    def close(self, *, drained: bool) -> None:
        if drained and not self._ended:
            with contextlib.suppress(Exception):  # the client sees the end only when it is asked for more
                self._pull()
        with contextlib.suppress(RuntimeError, *_FOREIGN):
            self._raw.close()

    def abort(self) -> None:
        self._aborted = True
        stream = self._raw.extensions.get("network_stream")
        sock = None if stream is None else stream.get_extra_info("socket")
        if isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _translate(error: BaseException, url: str, timeout: float, *, in_head: bool) -> SmartRemoteError:
    """Return our word for what httpx raised while talking to *url*."""
    name = redact(url)
    chain = list(causes(error))
    known = recognize(chain, url, connecting=any(isinstance(cause, httpx.ConnectError) for cause in chain))
    if known is not None:
        return known
    if isinstance(error, httpx.ProxyError):
        first = str(error)[:3]
        return refusal_of_proxy(name, str(error), int(first) if first.isdigit() else None)
    if isinstance(error, httpx.TimeoutException):
        doing = (
            "could not connect within" if isinstance(error, httpx.ConnectTimeout) else "nothing received for"
        )
        return AttemptFailed(name, f"{doing} {timeout:g} s", stalled=True)
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL, ImportError)):
        return UsageError(name, str(error))
    if in_head and isinstance(error, httpx.RemoteProtocolError):
        if any(type(cause).__module__.startswith("h11") for cause in chain):
            why = f"the server's answer is inconsistent: {str(error).lower()[:MAX_REASON]}"
            return AttemptFailed(name, why, garbled=True)
        return AttemptFailed(name, "the connection ended before an answer came", crowded=True)
    return translate(error, url, in_head=in_head)
