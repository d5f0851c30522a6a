"""What the system, and this package, raise while a request is under way, in the words of `errors`."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

from ..core.urls import redact
from ..errors import (
    AttemptFailed,
    RefusedError,
    RemoteFailure,
    RemotePermissionError,
    SmartRemoteError,
    UsageError,
)
from ..protocol.chunked import ChunkError
from ..protocol.http1 import GarbledError
from .connection import ConnectionEndedError, HandshakeError, OtherVersionError, UnexpectedBytesError
from .happy_eyeballs import InterfaceError, LookupTimeoutError
from .proxy import ProxyError, ProxyUnreachableError

# What a request raises that this module has words for. ValueError: what came is not what the protocol says.
FOREIGN = (OSError, ValueError)

MAX_REASON = 200  # characters of what others say, who may quote a whole body: two lines of a terminal

# What getaddrinfo says where the name is known not to be there; anything else is trouble of the resolver, which passes.
_UNKNOWN_HOST = {
    getattr(socket, name, None) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY", "EAI_FAMILY")
}
# Alerts by which a server refuses the client's certificate, or that there is none (RFC 8446, 6.2).
_CERTIFICATE_ALERTS = (
    "CERTIFICATE_REQUIRED",
    "ALERT_BAD_CERTIFICATE",
    "ALERT_UNSUPPORTED_CERTIFICATE",
    "ALERT_CERTIFICATE_REVOKED",
    "ALERT_CERTIFICATE_EXPIRED",
    "ALERT_CERTIFICATE_UNKNOWN",
    "ALERT_UNKNOWN_CA",
    "ALERT_ACCESS_DENIED",
)
_CERTIFICATE_HINT = "--cert FILE and --key FILE name a client certificate"
_DISTRUST_HINT = "--cacert FILE if you know who signed it; -k skips the check"


def translate(error: BaseException, url: str, *, in_head: bool = False) -> SmartRemoteError:
    """Return our word for what was raised while talking to *url*.

    *in_head* says that no answer had begun, or not a whole head of one.
    """
    name = redact(url)
    chain = list(causes(error))
    known = recognize(chain, url, connecting=any(isinstance(cause, HandshakeError) for cause in chain))
    if known is not None:
        return known
    for cause in chain:
        if isinstance(cause, ProxyError):
            said = str(cause)
            why = (
                phrase_of(cause.status)
                if cause.status is not None and said == f"status {cause.status}"
                else said
            )
            return refusal_of_proxy(name, why, cause.status, cause.hint)
        if isinstance(cause, LookupTimeoutError):
            return AttemptFailed(name, described(cause), refused=True)
        if isinstance(cause, ConnectionRefusedError):
            return AttemptFailed(name, "connection refused", crowded=True, refused=True)
        if isinstance(cause, TimeoutError):
            return AttemptFailed(name, described(cause), stalled=True)
        if in_head and isinstance(cause, (ConnectionResetError, BrokenPipeError)):
            return AttemptFailed(name, "the connection was reset before an answer came", crowded=True)
        if in_head and isinstance(cause, ConnectionEndedError):
            return AttemptFailed(name, str(cause), crowded=True)
    return AttemptFailed(name, next(filter(None, map(described, chain)), "the connection broke"))


def recognize(chain: list[BaseException], url: str, *, connecting: bool) -> SmartRemoteError | None:
    """Return our word for the first of *chain* that says what happened wherever it is raised, None without one.

    A failure of TLS while *connecting* is for good; a later one is a broken connection.
    """
    name = redact(url)
    for cause in chain:
        if isinstance(cause, SmartRemoteError):
            return cause
        if isinstance(cause, InterfaceError):
            return UsageError("--interface", str(cause))
        if isinstance(cause, ProxyUnreachableError):
            return _of_unreachable(cause, name)
        if isinstance(cause, OtherVersionError):
            return RefusedError(name, f"the server does not speak HTTP/1.1: {cause}")
        if isinstance(cause, socket.gaierror):
            if cause.errno not in _UNKNOWN_HOST:
                return AttemptFailed(name, "the host name could not be looked up", refused=True)
            return RefusedError(name, f"unknown host {urlsplit(url).hostname}")
        if isinstance(cause, (GarbledError, ChunkError, UnexpectedBytesError)):
            return AttemptFailed(name, f"the server's answer is inconsistent: {cause}", garbled=True)
        found = _of_tls(cause, name, connecting)
        if found is not None:
            return found
    return None


def _of_unreachable(error: ProxyUnreachableError, name: str) -> SmartRemoteError:
    """Return the error for a proxy that does not lead on: what it would be for a server, with the proxy named."""
    proxy, chain = error.proxy.name, list(causes(error))[1:]
    if any(isinstance(cause, socket.gaierror) and cause.errno in _UNKNOWN_HOST for cause in chain):
        return RefusedError(name, f"unknown host of the proxy {proxy}")
    under = translate(chain[0], proxy, in_head=True) if chain else AttemptFailed(proxy, "it is not there")
    why = f"{error}: {under.why if isinstance(under, RemoteFailure) else under}"
    if isinstance(under, AttemptFailed):
        return AttemptFailed(
            name,
            why,
            crowded=under.crowded,
            refused=under.refused,
            stalled=under.stalled,
            garbled=under.garbled,
        )
    return RefusedError(name, why, hint=under.hint) if isinstance(under, RefusedError) else under


def refusal_of_proxy(name: str, why: str, status: int | None, hint: str | None = None) -> SmartRemoteError:
    """Return the error for a proxy that does not lead on: what is the request's fault (4xx) is for good."""
    if status is not None and 400 <= status < 500:
        return RemotePermissionError(name, f"the proxy refuses: {why}", hint=hint)
    return AttemptFailed(name, f"the proxy failed: {why}")


def phrase_of(status: int) -> str:
    """Return *status* with the standard's words for it: what the server says instead may be anything."""
    from http import HTTPStatus

    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"status {status}"


def is_distrust(error: BaseException) -> bool:
    """Return whether *error* is about a certificate that could not be verified."""
    if "ssl" not in sys.modules:
        return False
    import ssl

    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes(error))


def described(cause: BaseException) -> str:
    """Return the system's words for *cause*, or its own, in lower case and one short line."""
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno).lower()
    return " ".join(str(cause).split())[:MAX_REASON].rstrip(".")


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield *error* and what it came from."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if not (isinstance(current, BlockingIOError) or type(current).__name__.startswith("SSLWant")):
            yield current  # waiting is no cause
        current = current.__cause__ or current.__context__


def _of_tls(cause: BaseException, name: str, connecting: bool) -> SmartRemoteError | None:
    if "ssl" not in sys.modules:  # then nothing can be its error, and importing it takes long
        return None
    import ssl

    if not isinstance(cause, ssl.SSLError):
        return None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return RefusedError(name, f"certificate not trusted: {cause.verify_message}", hint=_DISTRUST_HINT)
    reason = cause.reason or ""
    if reason.endswith(_CERTIFICATE_ALERTS):
        said = reason.partition("ALERT_")[2].replace("_", " ").lower()
        why = f"the server asks for a client certificate that it trusts (TLS alert: {said})"
        return RefusedError(name, why, hint=_CERTIFICATE_HINT)
    if isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)):
        return AttemptFailed(name, "the connection was closed in the middle of TLS")
    if not connecting:
        return AttemptFailed(name, "the connection broke in the middle of TLS")
    if cause.reason == "TLSV1_ALERT_INTERNAL_ERROR":
        return AttemptFailed(name, "the server fails to speak TLS: internal error")
    if reason.endswith("NO_APPLICATION_PROTOCOL"):
        return RefusedError(name, "the server does not speak HTTP/1.1 over TLS: it speaks HTTP/2 only")
    # With TLS 1.2 this is also all that a server says which misses a client certificate (RFC 5246, 7.4.6).
    hint = f"the server may ask for a client certificate: {_CERTIFICATE_HINT}"
    why = f"TLS failed: {(reason or 'error').replace('_', ' ').lower()}"
    return RefusedError(name, why, hint=hint if reason.endswith("ALERT_HANDSHAKE_FAILURE") else None)
