"""Transport: requests out, answers in, over connections that threads share."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from ..core.urls import redact
from ..errors import AttemptFailed, ClosedError
from .body import Answer
from .dialer import Dialer
from .direct import DirectSender
from .exchange import Exchange
from .options import Options
from .preconnect import Preconnection
from .response import Response
from .visitor import Credentials, Visitor

if TYPE_CHECKING:
    import httpx

# Servers close idle connections after 5 s (Apache) to 75 s (nginx), load balancers after 60 to 350: longer is no use.
IDLE_SECONDS = 300.0
# A request that waits for its turn looks this often whether it was stopped meanwhile.
_POLL_SECONDS = 0.1


class Sender(Protocol):
    """What carries requests: connections of our own, or a caller's client."""

    def send(self, url: str, headers: list[tuple[str, str]], *, own: bool, exchange: Exchange) -> Answer: ...

    def prune(self) -> None: ...

    def close(self) -> None: ...


class Transport:
    """Connections to any number of servers, shared by threads. Close it, or use it as a context manager."""

    def __init__(
        self,
        options: Options | None = None,
        client: httpx.Client | None = None,
        max_requests: int | None = None,
        idle_timeout: float = IDLE_SECONDS,
        preconnection: Preconnection | None = None,
    ) -> None:
        """Use *client*, which stays the caller's to close, instead of connections of our own when it is given.

        No more than *max_requests* are under way at once; further ones wait. Connections that were idle for
        *idle_timeout* seconds are closed. The first request uses *preconnection*, begun with what *options* say, if
        it leads there.
        """
        self.options = options or Options()
        self.client = client
        self._lock = threading.Lock()  # guards _exchanges, _closed, _visitors
        self._exchanges: weakref.WeakSet[Exchange] = weakref.WeakSet()
        self._closed = False
        self._slots = None if max_requests is None else threading.BoundedSemaphore(max_requests)
        self._visitors: dict[tuple[str, str] | None, Visitor] = {}
        self.keeps_cookies = client is None  # a caller's client keeps those of its own origin itself
        self._sender = self._sender_over(client, idle_timeout, preconnection)

    def _sender_over(
        self, client: httpx.Client | None, idle_timeout: float, preconnection: Preconnection | None
    ) -> Sender:
        options = self.options
        if client is not None:
            from .httpx_client import ClientSender

            return ClientSender(client, options.timeout)
        dialer = Dialer(options, preconnection)
        return DirectSender(dialer, options.proxy, options.timeout, idle_timeout, lambda: self._closed)

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def visitor(self, in_url: tuple[str, str] | None) -> Visitor:
        """Return who we are to the servers of a resource, whose URL has the credentials *in_url*.

        Resources with the same ones share what the servers told, and no others.
        """
        options = self.options
        own = Credentials(*options.user, "--user") if options.user else None
        if own is None and in_url is not None:
            own = Credentials(*in_url, "the URL")
        with self._lock:
            visitor = self._visitors.get(in_url)
            if visitor is None:
                visitor = self._visitors[in_url] = Visitor(
                    own, options.netrc, options.netrc_file, options.cookies
                )
            return visitor

    def close(self) -> None:
        """Close every connection; requests in flight fail with `AttemptFailed`."""
        with self._lock:
            self._closed = True
            exchanges = list(self._exchanges)
        for exchange in exchanges:
            exchange.abort()
        self._sender.close()

    def abort(self, thread: int | None) -> None:
        """Make the request fail that *thread* has sent: the wait for its connection, its head, or its body."""
        with self._lock:
            exchanges = [exchange for exchange in self._exchanges if exchange.thread == thread]
        for exchange in exchanges:
            exchange.abort()

    def prune(self) -> None:
        """Close connections that were idle for too long."""
        self._sender.prune()

    def send(
        self,
        url: str,
        headers: Iterable[tuple[str, str]],
        *,
        own: bool = False,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Response:
        """Send one GET and return its answer once the head is whole. Redirects are not followed.

        What the caller's client has set (headers, cookies, authentication) goes to its *own* origin only. Once
        *stopped* says so the request fails, as after `abort`. Raises `AttemptFailed` for what another attempt may
        mend, `RefusedError` for what it will not.
        """
        exchange = Exchange(lambda: self._closed or stopped())
        with self._lock:
            self._check_open(url)
            self._exchanges.add(exchange)
        release = self._take_slot(url, exchange)
        try:
            answer = self._sender.send(url, list(headers), own=own, exchange=exchange)
        except BaseException:
            exchange.detach()
            release()
            raise
        return Response(url, answer, self.options.timeout, exchange, release)

    def _take_slot(self, url: str, exchange: Exchange) -> Callable[[], None]:
        """Wait until one more request may be under way; return what to call when it is over."""
        if self._slots is None:
            return lambda: None
        while not self._slots.acquire(timeout=_POLL_SECONDS):
            self._check_open(url)
            if exchange.is_stopped():
                raise AttemptFailed(redact(url), "stopped")
        return self._slots.release

    def _check_open(self, url: str) -> None:
        if self._closed:
            raise ClosedError(redact(url), "the connections were closed")
