"""Transport: requests out, answers in, over pools of connections that threads share."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from .. import __version__
from ..core.urls import redact
from ..errors import ClosedError, RefusedError, UsageError
from .failures import FOREIGN, is_distrust, translate
from .libraries import httpx
from .pools import Pool
from .preconnect import Early
from .response import Response
from .tls import Trust

IDLE_SECONDS = 300.0
USER_AGENT = f"smartremote/{__version__}"


class Options(NamedTuple):
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
        idle: float = IDLE_SECONDS,
        early: Early | None = None,
    ) -> None:
        """Use *client*, which stays the caller's to close, instead of pools of our own when it is given.

        No more than *most* requests are under way at once; further ones wait. Connections that nobody used for
        *idle* seconds are closed. *early* is a connection that was begun with what *options* say, to be used first.
        """
        self.options = options or Options()
        self._client = client
        self._pools: dict[tuple[str, str | None], Pool] = {}
        self._lock = threading.Lock()  # guards _pools, _answers, _closed
        self._answers: weakref.WeakSet[Response] = weakref.WeakSet()
        self._closed = False
        self._trust = None if early is None else early.trust
        self._early = early
        self._slots = None if most is None else threading.BoundedSemaphore(most)
        self._idle = idle

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
            pool.backend.wires.abort(thread)

    def prune(self) -> None:
        """Close connections that were idle for too long."""
        with self._lock:
            pools = list(self._pools.values())
        for pool in pools:
            pool.backend.wires.prune()

    def send(self, url: str, headers: Iterable[tuple[str, str]], *, own: bool = False) -> Response:
        """Send one GET and return its answer once the head is whole. Redirects are not followed.

        Only to its *own* origin goes what the caller's client has set: headers, cookies, authentication. Raises
        `AttemptFailed` for what another attempt may mend, `RefusedError` for what it will not.
        """
        try:
            request = self._request(url, list(headers), own)
        except (httpx.InvalidURL, UnicodeError) as error:
            refusal = UsageError if own else RefusedError
            raise refusal(redact(url), f"not a URL: {error}") from error
        release = self._take_slot(url)
        try:
            if self._client is not None:
                auth = httpx.USE_CLIENT_DEFAULT if own else None
                raw = self._client.send(request, stream=True, auth=auth, follow_redirects=False)
            else:
                raw = self._send_to(self._pool_for(url), request)
        except FOREIGN as error:
            release()
            raise translate(error, url, in_head=True) from error
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

    def _request(self, url: str, headers: list[tuple[str, str]], own: bool) -> httpx.Request:
        if self._client is None or not own:
            return httpx.Request("GET", url, headers=headers, extensions=self._extensions())
        theirs = {"accept"}
        if not self._client.headers.get("user-agent", "").startswith("python-httpx/"):
            theirs.add("user-agent")
        headers = [field for field in headers if field[0].lower() not in theirs]
        return self._client.build_request("GET", url, headers=headers, extensions=self._extensions())

    def _send_to(self, pool: Pool, request: httpx.Request) -> httpx.Response:
        """Send *request*; at once again where a connection that had lain idle ends without a byte of answer.

        Also where a certificate cannot be verified as long as not all that are trusted have been read.
        """
        while True:
            trust = self._trust
            is_final = trust is None or trust.is_whole
            try:
                return pool.handle_request(request)
            except FOREIGN as error:
                if trust is not None and not is_final and is_distrust(error):
                    trust.complete()
                elif not pool.backend.wires.was_stale():
                    pool.backend.wires.drop_unanswered()
                    raise

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

    def _pool_for(self, url: str) -> Pool:
        parts = urlsplit(url)
        proxy = self._proxy_for(parts.scheme.lower(), parts.hostname or "", parts.netloc.rpartition("@")[2])
        key = (parts.scheme.lower(), proxy)
        with self._lock:
            if self._closed:
                raise ClosedError(redact(url), "the connections were closed")
            if key not in self._pools:
                needs_tls = key[0] == "https" or (proxy or "").startswith("https:")
                context = self._trusting().context if needs_tls else None
                self._pools[key] = Pool(proxy, context, lambda: self._closed, self._idle, self._early)
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

    def _trusting(self) -> Trust:
        if self._trust is None:
            self._trust = Trust(self.options.cacert, self.options.insecure)
        return self._trust
