"""Proxies: which one leads to a host, and how to get through it.

An HTTP proxy is asked for http URLs in absolute form (RFC 9112, 3.2.2), and for a tunnel to everything else (CONNECT;
RFC 9110, 9.3.6). A SOCKS 5 proxy (RFC 1928, RFC 1929) is told where to connect and then is as good as a wire.
"""

from __future__ import annotations

import binascii
import os
import sys
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from ..core.addresses import Endpoint
from ..core.urls import credentials_of, redact
from ..errors import UsageError
from ..protocol.http1 import build_request
from .connection import Connection, ConnectionEndedError
from .heads import receive_head

_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}  # 1080: RFC 1928, 3

# What a SOCKS 5 proxy answers instead of success (RFC 1928, 6).
_SOCKS_FAILURES = {
    1: "general failure",
    2: "connection not allowed by ruleset",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}


class ProxyError(ConnectionError):
    """The proxy does not lead on. *status* is what an HTTP proxy answered, None where it answered otherwise."""

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


class Proxy(NamedTuple):
    """A proxy: how to speak to it, where it is, and as which user (with a password, maybe empty)."""

    scheme: str
    host: str
    port: int
    user: tuple[str, str] | None

    @property
    def is_socks(self) -> bool:
        return self.scheme.startswith("socks")

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The header fields that are for the proxy alone."""
        if self.user is None:
            return []
        token = binascii.b2a_base64(":".join(self.user).encode(), newline=False).decode("ascii")
        return [("Proxy-Authorization", f"Basic {token}")]


def parse_proxy(text: str) -> Proxy:
    """Return the proxy that *text* names, http where it names no scheme; `UsageError` when it is none."""
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError(redact(url), "not a proxy URL: its host or port is malformed") from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not parts.hostname or not parts.hostname.isascii():
        raise UsageError(redact(url), "not a proxy URL (http, https or socks5)")
    return Proxy(scheme, parts.hostname, port or _PORTS[scheme], credentials_of(url))


def proxy_for(endpoint: Endpoint, chosen: str | None) -> Proxy | None:
    """Return the proxy that leads to *endpoint*: the *chosen* one ("" for none), else what the environment says."""
    text = _from_environment(endpoint) if chosen is None else chosen
    return parse_proxy(text) if text else None


def _from_environment(endpoint: Endpoint) -> str | None:
    # urllib.request loads half of the standard library, and most environments name no proxy. macOS and Windows have
    # settings for them, too.
    if sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass

    found = getproxies()
    text = found.get(endpoint.scheme) or found.get("all")
    if text and (proxy_bypass(endpoint.authority) or proxy_bypass(endpoint.host)):
        return None
    return text


def open_tunnel(connection: Connection, proxy: Proxy, endpoint: Endpoint, timeout: float) -> None:
    """Have an HTTP *proxy* connect on to *endpoint*. Raises `ProxyError` where it does not."""
    there = endpoint.authority
    fields = [("Accept", "*/*"), *proxy.fields]
    connection.send(build_request(there, there, fields, method="CONNECT"), timeout)
    status = receive_head(connection, timeout).status
    if not 200 <= status < 300:
        raise ProxyError(f"status {status}", status)


def negotiate_socks(connection: Connection, proxy: Proxy, endpoint: Endpoint, timeout: float) -> None:
    """Have a SOCKS 5 *proxy* connect on to *endpoint*, whose name it resolves. Raises `ProxyError` where it does not.

    All of it has *timeout* seconds.
    """
    try:
        from socksio import ProtocolError, SOCKSError, socks5
    except ImportError as error:
        raise UsageError(
            f"{proxy.scheme}://{proxy.host}:{proxy.port}",
            "a SOCKS proxy needs the package socksio",
            hint="pip install 'smartremote-cli[socks]'",
        ) from error
    talk = _SocksTalk(connection, timeout)
    methods = socks5.SOCKS5AuthMethod
    method = methods.NO_AUTH_REQUIRED if proxy.user is None else methods.USERNAME_PASSWORD
    state = socks5.SOCKS5Connection()
    try:
        state.send(socks5.SOCKS5AuthMethodsRequest([method]))
        answer = state.receive_data(talk.exchange(state.data_to_send(), 2, version=5))
        if getattr(answer, "method", None) != method:
            raise ProxyError("it wants another way to log in")
        if proxy.user is not None:
            name, password = proxy.user
            state.send(socks5.SOCKS5UsernamePasswordRequest(name.encode(), password.encode()))
            if not getattr(
                state.receive_data(talk.exchange(state.data_to_send(), 2, version=1)), "success", False
            ):
                raise ProxyError("wrong user or password")
        command = socks5.SOCKS5Command.CONNECT
        there = endpoint.host.encode("ascii"), endpoint.port
        state.send(socks5.SOCKS5CommandRequest.from_address(command, there))
        reply = talk.exchange(state.data_to_send(), 4, version=5)
        if reply[1]:
            raise ProxyError(_SOCKS_FAILURES.get(reply[1], f"SOCKS error {reply[1]}"))
        talk.skip_address(reply[3])
    except (ProtocolError, SOCKSError, OverflowError) as error:  # a name or password of more than 255 bytes
        raise ProxyError(f"it does not speak SOCKS 5: {error}") from error


class _SocksTalk:
    """Sends what a SOCKS proxy is told, and reads exactly what it answers: the next byte is the server's."""

    def __init__(self, connection: Connection, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout

    def exchange(self, data: bytes, count: int, *, version: int) -> bytes:
        """Send *data* and return *count* bytes of the answer, which begins with *version* (RFC 1928 or RFC 1929)."""
        self._connection.send(data, self._timeout)
        reply = self._read(count)
        if reply[0] != version:
            raise ProxyError("it does not speak SOCKS 5")
        return reply

    def skip_address(self, kind: int) -> None:
        """Read the address and port from which the proxy connects (RFC 1928, 6), which nothing here needs."""
        length = {1: 4, 4: 16}.get(kind)
        self._read((self._read(1)[0] if length is None else length) + 2)

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no answer of the proxy within {self._timeout:g} s")
            more = self._connection.receive(count - len(data), left)
            if not more:
                raise ConnectionEndedError("the proxy ended the connection")
            data += more
        return data
