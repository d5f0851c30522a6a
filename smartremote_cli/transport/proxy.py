"""Proxies: which one leads to a host, and how an HTTP proxy is got through.

It is asked for http URLs in absolute form (RFC 9112, 3.2.2), and for a tunnel to everything else (CONNECT; RFC 9110,
9.3.6).
"""

from __future__ import annotations

import binascii
import os
import sys
from typing import NamedTuple
from urllib.parse import urlsplit

from ..core.addresses import Endpoint
from ..core.urls import credentials_of, redact
from ..errors import UsageError
from ..protocol.http1 import build_request
from .connection import Connection
from .heads import receive_head

_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}  # 1080: RFC 1928, 3


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
