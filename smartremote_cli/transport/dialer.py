"""Dialer: connections to where a request has to go, directly or through a proxy, with TLS where it is spoken."""

from __future__ import annotations

import socket
import threading
from collections.abc import Hashable
from typing import TYPE_CHECKING, NamedTuple

from ..core.addresses import Endpoint
from ..protocol.http1 import GarbledError
from .connection import Connection
from .exchange import Exchange
from .failures import is_distrust
from .happy_eyeballs import connect
from .options import Options
from .preconnect import Preconnection
from .proxy import Proxy, ProxyError, ProxyUnreachableError, open_tunnel

if TYPE_CHECKING:
    from .tls import Trust


class Route(NamedTuple):
    """How a request gets to its *endpoint*."""

    endpoint: Endpoint
    proxy: Proxy | None

    @property
    def is_forwarded(self) -> bool:
        """Whether an HTTP proxy reads the request and sends one of its own."""
        return self.proxy is not None and not self.proxy.is_socks and self.endpoint.scheme == "http"

    @property
    def key(self) -> Hashable:
        """What connections must have in common to stand in for each other."""
        return self.proxy if self.is_forwarded else self


class Dialer:
    """Makes connections. Each step of one (TCP, the proxy's answer, each TLS handshake) has *timeout* seconds.

    The first direct connection is the *preconnection*, where there is one that leads there.
    """

    def __init__(self, options: Options, preconnection: Preconnection | None) -> None:
        self._options = options
        self._timeout = options.timeout
        self._preconnection = preconnection
        self._lock = threading.Lock()  # guards _trust, _proxy_trust
        self._trust = None if preconnection is None else preconnection.trust
        self._proxy_trust: Trust | None = None

    def dial(self, route: Route, exchange: Exchange) -> Connection:
        """Return a new connection for *exchange*, which may abort it from its first moment on.

        Raises what connecting raises: gaierror, TimeoutError, `HandshakeError`, `ProxyError` and other OSErrors.
        """
        needs_tls = route.endpoint.scheme == "https" or (route.proxy and route.proxy.scheme == "https")
        trust = self._trusting() if needs_tls else None
        while True:
            is_final = trust is None or trust.is_whole
            try:
                return self._dial(route, exchange, trust)
            except OSError as error:
                if trust is None or is_final or not is_distrust(error):
                    raise
                trust.complete()

    def _dial(self, route: Route, exchange: Exchange, trust: Trust | None) -> Connection:
        endpoint, proxy = route
        connection = self._preconnected(endpoint, exchange) if proxy is None else None
        if connection is None:
            connection = Connection(self._connect(endpoint, proxy, exchange))
        try:
            exchange.attach(connection)
            if proxy is not None:
                self._pass_through(connection, proxy, route, exchange)
            if endpoint.scheme == "https" and (proxy is not None or not connection.is_tls):
                assert trust is not None
                connection.start_tls(trust.context, endpoint.host, self._timeout)
        except BaseException:
            exchange.detach()
            connection.close()
            raise
        return connection

    def chooses_http2(self, route: Route, exchange: Exchange) -> bool:
        """Return whether the server chooses HTTP/2 when it is offered that alone."""
        from .tls import Trust

        options = self._options
        trust = Trust(options.cacert, options.insecure, options.cert, options.key, protocol="h2")
        trust.complete()
        try:
            connection = self._dial(route, exchange, trust)
        except OSError:
            return False
        exchange.detach()
        connection.close()
        return connection.chose_protocol

    def _connect(self, endpoint: Endpoint, proxy: Proxy | None, exchange: Exchange) -> socket.socket:
        if proxy is None:
            host, port = endpoint.host, endpoint.port
            return connect(host, port, self._timeout, exchange.is_stopped, self._options.interface)
        try:
            host, port = proxy.host, proxy.port
            return connect(host, port, self._timeout, exchange.is_stopped, self._options.interface)
        except OSError as error:
            if exchange.is_stopped():
                raise
            raise ProxyUnreachableError(proxy) from error

    def _preconnected(self, endpoint: Endpoint, exchange: Exchange) -> Connection | None:
        """Return the connection that was begun before there was a request, if it leads to *endpoint*."""
        if self._preconnection is None:
            return None
        connection = self._preconnection.take(endpoint.host, endpoint.port, exchange.is_stopped)
        if connection is not None and connection.is_tls and endpoint.scheme != "https":
            connection.close()
            return None
        return connection

    def _pass_through(self, connection: Connection, proxy: Proxy, route: Route, exchange: Exchange) -> None:
        """Have *proxy* lead on to where *route* does, unless it is asked to forward the request itself."""
        try:
            self._negotiate(connection, proxy, route)
        except ProxyError:
            raise
        except (OSError, GarbledError) as error:
            if exchange.is_stopped():
                raise
            raise ProxyUnreachableError(proxy) from error

    def _negotiate(self, connection: Connection, proxy: Proxy, route: Route) -> None:
        if proxy.scheme == "https":
            connection.start_tls(self._trusting_proxy().context, proxy.host, self._timeout)
        if proxy.is_socks:
            from .socks import negotiate

            negotiate(connection, proxy, route.endpoint, self._timeout)
        elif not route.is_forwarded:
            open_tunnel(connection, proxy, route.endpoint, self._timeout)

    def _trusting(self) -> Trust:
        with self._lock:
            if self._trust is None:
                from .tls import Trust

                options = self._options
                self._trust = Trust(options.cacert, options.insecure, options.cert, options.key)
            return self._trust

    def _trusting_proxy(self) -> Trust:
        """Return the same trust for a proxy, to which the client certificate is not shown."""
        if self._options.cert is None:
            return self._trusting()
        with self._lock:
            if self._proxy_trust is None:
                from .tls import Trust

                self._proxy_trust = Trust(self._options.cacert, self._options.insecure)
                self._proxy_trust.complete()
            return self._proxy_trust
