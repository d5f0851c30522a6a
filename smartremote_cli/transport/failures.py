"""What httpx, httpcore and the system raise, in our words."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from ..core.urls import redact
from ..errors import AttemptFailed, RefusedError, RemotePermissionError, SmartRemoteError, UsageError
from ..protocol.chunked import ChunkError
from .connection import GarbledError
from .libraries import httpcore, httpx

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

_MAX_REASON = 200  # characters: what others say may quote a whole body


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
            why = f"its answer cannot be believed: {str(cause).lower()[:_MAX_REASON]}"
            return AttemptFailed(name, why, garbled=True)
    if in_head and isinstance(error, httpcore.RemoteProtocolError):
        return AttemptFailed(name, "the connection ended before an answer came", crowded=True)
    if isinstance(
        error, (httpx.UnsupportedProtocol, httpcore.UnsupportedProtocol, httpx.InvalidURL, ImportError)
    ):
        return UsageError(name, str(error))
    reason = next((os.strerror(c.errno) for c in chain if isinstance(c, OSError) and c.errno), str(error))
    return AttemptFailed(name, reason[:_MAX_REASON].rstrip(".").lower() or "the connection broke")


def is_distrust(error: BaseException) -> bool:
    """Return whether *error* is about a certificate that could not be verified."""
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if not isinstance(current, (ssl.SSLWantReadError, ssl.SSLWantWriteError)):  # waiting is no cause
            yield current
        current = current.__cause__ or current.__context__
