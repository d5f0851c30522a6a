"""DirectSender: requests over connections of our own, which it keeps for the next ones."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..core.addresses import Endpoint, absolute_of, endpoint_of, target_of
from ..core.urls import redact
from ..errors import RefusedError, UsageError
from ..protocol.http1 import Head, build_request, framing_of
from .body import Answer, ConnectionBody
from .connection import Connection, ConnectionEndedError, OtherVersionError
from .connections import ConnectionPool
from .dialer import Dialer, Route
from .exchange import Exchange
from .failures import FOREIGN, translate
from .heads import receive_head
from .proxy import proxy_for, refused_by


class DirectSender:
    """Sends requests over connections of *dialer*; *proxy* is the chosen proxy, None for what the environment says.

    Idle connections are closed after *idle_timeout* seconds, and none is kept once *stopped* says so.
    """

    def __init__(
        self,
        dialer: Dialer,
        proxy: str | None,
        timeout: float,
        idle_timeout: float,
        stopped: Callable[[], bool],
    ) -> None:
        self._dialer = dialer
        self._proxy = proxy
        self._timeout = timeout
        self._pool = ConnectionPool(idle_timeout, stopped)
        self._lock = threading.Lock()  # guards _routes, _probed
        self._probed: set[Endpoint] = set()  # asked whether they speak HTTP/2
        self._routes: dict[Endpoint, Route] = {}

    def send(self, url: str, headers: list[tuple[str, str]], *, own: bool, exchange: Exchange) -> Answer:
        """Send one GET and return its answer, whose body is attached to *exchange*; see `Transport.send`."""
        try:
            endpoint = endpoint_of(url)
        except UsageError as error:
            if own:
                raise
            raise RefusedError(error.what, error.why) from error
        route = self._route_to(endpoint)
        try:
            request = self._request(url, headers, route)
        except ValueError as error:
            raise UsageError(redact(url), str(error)) from error
        try:
            connection, head = self._ask(route, request, exchange)
        except FOREIGN as error:
            raise translate(error, url, in_head=True) from error
        if head.status == 407 and route.proxy is not None:
            # A server's own 407 would say nothing to us either.
            exchange.detach()
            connection.close()
            raise translate(refused_by(route.proxy, head), url, in_head=True)
        framing = framing_of(head.status, head.headers)
        body = ConnectionBody(connection, head, framing, lambda it: self._pool.give_back(route.key, it))
        return Answer(head.status, head.headers, framing.length, body)

    def prune(self) -> None:
        """Close connections that were idle for too long."""
        self._pool.prune()

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()

    def _route_to(self, endpoint: Endpoint) -> Route:
        with self._lock:
            route = self._routes.get(endpoint)
            if route is None:
                route = self._routes[endpoint] = Route(endpoint, proxy_for(endpoint, self._proxy))
            return route

    def _request(self, url: str, headers: list[tuple[str, str]], route: Route) -> bytes:
        if route.proxy is None or not route.is_forwarded:
            return build_request(target_of(url), route.endpoint.host_field, headers)
        target = absolute_of(url, route.endpoint)
        return build_request(target, route.endpoint.host_field, [*headers, *route.proxy.fields])

    def _ask(self, route: Route, request: bytes, exchange: Exchange) -> tuple[Connection, Head]:
        """Send *request* and return the answer's head, with the connection on which its body comes.

        A connection that lay idle may end in the very moment that the request goes out (RFC 9112, 9.3.1): then the
        request goes out again over another one.
        """
        while True:
            connection = self._connection(route, exchange)
            try:
                connection.send(request, self._timeout)
                return connection, receive_head(connection, self._timeout)
            except BaseException as error:
                exchange.detach()
                alert = connection.last_alert() if isinstance(error, OSError) else None
                connection.close()
                if not isinstance(error, Exception) or not connection.is_stale:
                    self._check_version(route, connection, error, exchange)
                    raise (alert or error) from error.__cause__

    def _check_version(
        self, route: Route, connection: Connection, error: BaseException, exchange: Exchange
    ) -> None:
        """Raise `OtherVersionError` where a server that hung up chooses HTTP/2 when it is offered.

        It did not choose HTTP/1.1 when that was offered alone (ALPN; RFC 7301), so it speaks no other version.
        """
        if not isinstance(error, (ConnectionEndedError, ConnectionResetError, BrokenPipeError)):
            return
        if connection.is_tls and not connection.chose_protocol and not exchange.is_stopped():
            with self._lock:
                if route.endpoint in self._probed:
                    return
                self._probed.add(route.endpoint)
            if self._dialer.chooses_http2(route, exchange):
                raise OtherVersionError("it speaks HTTP/2 only")

    def _connection(self, route: Route, exchange: Exchange) -> Connection:
        """Return an idle connection, else a new one, attached to *exchange*."""
        connection = self._pool.take(route.key)
        if connection is None:
            return self._dialer.dial(route, exchange)
        try:
            exchange.attach(connection)
        except BaseException:
            connection.close()
            raise
        return connection
