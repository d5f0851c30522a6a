"""Remote: one resource behind a URL: which server is asked, with which headers, and what a refusal means.

Redirects are followed by hand, because credentials and every header that the user set belong to the first origin
alone, and each later host has its own (`visitor`). Where they led is remembered for this run; a signed URL expires, so
after a refusal there the original URL is asked once more. A remote knows one source, and nothing of the transfer that
it serves.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable
from urllib.parse import urljoin

from ..core.urls import check_url, credentials_of, escaped, is_same_origin, redact, without_credentials
from ..errors import AttemptFailed, RefusedError, SmartRemoteError, UsageError
from ..protocol.answers import Asked
from . import netrc
from .refusals import TEMPORARY
from .response import Response
from .transport import Transport
from .variant import variant_of

MAX_REDIRECTS = 10  # binding (contract); browsers follow 20, curl 30 or 50, and real chains are under five
# A redirect's body of up to this size is read, so that its connection can be used again: one read's worth.
_SKIPPABLE_BYTES = 64 * 1024
_REDIRECTS = frozenset({300, 301, 302, 303, 307, 308})


class Remote:
    """One resource: its URL, and where redirects led, which is remembered for this run."""

    def __init__(self, url: str, transport: Transport) -> None:
        """Check *url*; `UsageError` when it is none. User and password in it become credentials."""
        self._credentials = credentials_of(check_url(url))
        self.url = without_credentials(check_url(url))
        self.transport = transport
        self._visitor = transport.visitor(self._credentials)
        self._final: str | None = None
        self._strikes = 0  # failures at that URL in a row
        # Whether a range was ever believed: what is refused later is the resource.
        self.answers_ranges = False

    @property
    def name(self) -> str:
        """The URL without its secrets."""
        return redact(self.url)

    @property
    def variant(self) -> str:
        """Who asks for it (see `variant`): what is kept of its answers belongs to the URL and to that."""
        options = self.transport.options
        own = self._visitor.credentials(self.url, first=True)
        pair = None if own is None else (own.user, own.password)
        elsewhere = netrc.read(options.netrc_file) if options.netrc and pair is None else b""
        return variant_of(options, pair, self.transport.client, elsewhere)

    def over(self, transport: Transport) -> Remote:
        """Return the same resource over another *transport*, as a child process needs."""
        other = copy.copy(self)
        other.transport = transport
        other._visitor = transport.visitor(self._credentials)
        return other

    def ask(
        self,
        asked: Asked,
        extra: Iterable[tuple[str, str]] = (),
        stopped: Callable[[], bool] = lambda: False,
    ) -> Response:
        """Send a GET for *asked*, follow redirects, and return the answer to it, whatever its status.

        Check *stopped* before every hop: between two hops there is no request for `abort` to cancel. When a remembered
        redirect is refused, resolve it afresh once, for signed URLs expire; when it fails twice in a row, the next
        attempt resolves it afresh, for a mirror may be down.
        """
        final = self._final
        if final is not None:
            self._check_running(stopped)
            try:
                response = self._send(final, asked, extra, stopped)
            except SmartRemoteError:
                self._has_failed(final)
                raise
            if response.status < 300 or response.status in (304, 412, 416):
                self._strikes = 0
                return response
            if response.status in TEMPORARY:
                return response
            if response.status >= 500:
                self._has_failed(final)
                return response
            self._final = None
            response.skip(_SKIPPABLE_BYTES)
            response.close()
        return self._follow(asked, extra, stopped)

    def abort(self, thread: threading.Thread, response: Response | None) -> None:
        """Make what *thread* waits for fail: the body of *response*, or an answer that is not here yet."""
        if response is not None:
            response.abort()
        if thread.is_alive():  # another may have its number by now
            self.transport.abort(thread.ident)

    def _has_failed(self, final: str) -> None:
        """Leave *final*, a mirror, when it fails twice in a row."""
        self._strikes += 1
        if self._strikes > 1 and self._final == final:
            self._final, self._strikes = None, 0

    def _follow(
        self, asked: Asked, extra: Iterable[tuple[str, str]], stopped: Callable[[], bool]
    ) -> Response:
        url = self.url
        for _ in range(MAX_REDIRECTS + 1):
            self._check_running(stopped)
            response = self._send(url, asked, extra, stopped)
            target = response.headers.get("location")
            if response.status not in _REDIRECTS or (response.status == 300 and not target):
                self._final = url if url != self.url and response.status in (200, 206, 304) else None
                return response
            response.skip(_SKIPPABLE_BYTES)
            response.close()
            if not target:
                raise RefusedError(redact(url), f"a redirect ({response.status}) that does not say where to")
            url = self._next_hop(url, target)
        raise RefusedError(self.name, f"more than {MAX_REDIRECTS} redirects")

    def _next_hop(self, url: str, target: str) -> str:
        try:
            following = without_credentials(check_url(urljoin(url, escaped(target))))
        except (UsageError, ValueError) as error:
            raise RefusedError(
                redact(url), f"a redirect to {redact(target)}, which is no http URL"
            ) from error
        if url.lower().startswith("https:") and not following.lower().startswith("https:"):
            shown = redact(following)
            hint = f"if you can do without encryption, ask for {shown} itself"
            raise RefusedError(redact(url), f"a redirect from https down to {shown}", hint=hint)
        return following

    def _check_running(self, stopped: Callable[[], bool]) -> None:
        if stopped():
            raise AttemptFailed(self.name, "stopped")

    def _send(
        self, url: str, asked: Asked, extra: Iterable[tuple[str, str]], stopped: Callable[[], bool]
    ) -> Response:
        """Send one request, and again where its answer asks for a login that can be given."""
        options = self.transport.options
        headers = [("User-Agent", options.user_agent), ("Accept", "*/*"), ("Accept-Encoding", "identity")]
        if asked.header is not None:
            headers.append(("Range", asked.header))
        headers += extra
        first = is_same_origin(self.url, url)
        own = {name.lower() for name, _ in options.headers} if first else set()
        if first:
            headers = [field for field in headers if field[0].lower() not in own] + list(options.headers)
        login = self._visitor.login(url, first=first, by_header="authorization" in own)
        while True:
            fields = self._with_cookies([*headers, *login.fields()], url, first)
            response = self.transport.send(url, fields, own=first, stopped=stopped)
            if self.transport.keeps_cookies or not first:
                self._visitor.cookies.keep(url, response.headers.all("set-cookie"))
            response.login = login
            if login.is_refused(response.status, response.headers):
                return response
            response.skip(_SKIPPABLE_BYTES)
            response.close()
            self._check_running(stopped)

    def _with_cookies(self, headers: list[tuple[str, str]], url: str, first: bool) -> list[tuple[str, str]]:
        """Return *headers* with the cookies for *url*, beside those that the user has given."""
        if first and not self.transport.keeps_cookies:
            return headers
        kept = self._visitor.cookies.field_for(url)
        if kept is None:
            return headers
        given = [value for name, value in headers if name.lower() == "cookie"]
        others = [field for field in headers if field[0].lower() != "cookie"]
        return [*others, ("Cookie", "; ".join([*given, kept]))]
