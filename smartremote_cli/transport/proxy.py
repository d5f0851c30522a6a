"""Proxies: which one leads to a host, and how an HTTP proxy is got through.

It is asked for http URLs in absolute form (RFC 9112, 3.2.2), and for a tunnel to everything else (CONNECT; RFC 9110,
9.3.6).
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from ..core.addresses import Endpoint
from ..core.urls import credentials_of, redact
from ..errors import UsageError
from ..protocol.http1 import Head, build_request
from .challenges import basic, parse_challenges, unspoken
from .connection import Connection
from .environment import proxy_from_environment
from .heads import receive_head

_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}  # 1080: RFC 1928, 3


class ProxyError(ConnectionError):
    """The proxy does not lead on. *status* is what an HTTP proxy answered, None where it answered otherwise."""

    def __init__(self, why: str, status: int | None = None, hint: str | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.hint = hint


class ProxyUnreachableError(ConnectionError):
    """There is no way through *proxy*, for the reason that is this error's cause: it is not there, or it breaks off."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(f"no way through the proxy {proxy.name}")
        self.proxy = proxy


class Proxy(NamedTuple):
    """A proxy: how to speak to it, where it is, and as which user (with a password, maybe empty)."""

    scheme: str
    host: str
    port: int
    user: tuple[str, str] | None

    @property
    def name(self) -> str:
        """The proxy as messages name it, without its user."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def is_socks(self) -> bool:
        return self.scheme.startswith("socks")

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The header fields that are for the proxy alone."""
        if self.user is None:
            return []
        return [("Proxy-Authorization", basic(*self.user))]


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
    text = proxy_from_environment(endpoint) if chosen is None else chosen
    return parse_proxy(text) if text else None


def open_tunnel(connection: Connection, proxy: Proxy, endpoint: Endpoint, timeout: float) -> None:
    """Have an HTTP *proxy* connect on to *endpoint*. Raises `ProxyError` where it does not."""
    there = endpoint.authority
    fields = [("Accept", "*/*"), *proxy.fields]
    connection.send(build_request(there, there, fields, method="CONNECT"), timeout)
    head = receive_head(connection, timeout)
    if not 200 <= head.status < 300:
        raise refused_by(proxy, head)


def refused_by(proxy: Proxy, head: Head) -> ProxyError:
    """Return the error for the answer *head* of a *proxy* that does not lead on."""
    if head.status != 407:
        return ProxyError(f"status {head.status}", head.status)
    other = unspoken(parse_challenges(head.headers.all("proxy-authenticate")))
    if other is not None:
        why = f"407 Proxy Authentication Required: {proxy.name} asks for {other}, which smartremote does not speak"
        return ProxyError(why, 407)
    why = f"407 Proxy Authentication Required by {proxy.name}"
    if proxy.user is None:
        return ProxyError(why, 407, "give --proxy http://NAME:PASS@HOST:PORT")
    return ProxyError(f"{why}: it does not accept the user and password given for it", 407)
