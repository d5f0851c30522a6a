"""Remote: one resource behind a URL: which server is asked, with which headers, and what a refusal means.

Redirects are followed by hand, because credentials and every header that the user set belong to the first origin
alone. Where they led is remembered for this run; a signed URL expires, so after a refusal there the original URL is
asked once more. A remote knows one source, and nothing of the transfer that it serves.
"""

from __future__ import annotations

import binascii
import copy
import os
import threading
import time
from collections.abc import Callable, Iterable
from urllib.parse import urljoin, urlsplit

from ..core.urls import check_url, credentials_of, escaped, origin_of, redact, without_credentials
from ..errors import (
    AttemptFailed,
    RefusedError,
    RemoteNotFoundError,
    RemotePermissionError,
    SmartRemoteError,
    UsageError,
)
from ..protocol.answers import Asked
from ..protocol.headers import retry_after
from .failures import phrase_of
from .response import Response
from .transport import Transport
from .variant import netrc_bytes, variant_of

MAX_REDIRECTS = 10  # binding (contract); browsers follow 20, curl 30 or 50, and real chains are under five
# A redirect's body of up to this size is read, so that its connection can be used again: one read's worth.
_SKIPPABLE_BYTES = 64 * 1024
_REDIRECTS = frozenset({300, 301, 302, 303, 307, 308})
_TEMPORARY = frozenset({408, 425, 429, 503})

# The transfer sets these itself: ranges, conditions, codings and framing.
RESERVED = frozenset(
    "range if-range if-match if-none-match if-modified-since if-unmodified-since accept-encoding "
    "content-length transfer-encoding connection".split()
)


class Remote:
    """One resource: its URL, and where redirects led, which is remembered for this run."""

    def __init__(self, url: str, transport: Transport) -> None:
        """Check *url*; `UsageError` when it is none. User and password in it become credentials."""
        self._credentials = credentials_of(check_url(url))
        self.url = without_credentials(check_url(url))
        self.transport = transport
        self._final: str | None = None
        self._strikes = 0  # failures at that URL in a row
        self._has_answered = False

    @property
    def name(self) -> str:
        """The URL without its secrets."""
        return redact(self.url)

    @property
    def variant(self) -> str:
        """Who asks for it (see `variant`): what is kept of its answers belongs to the URL and to that."""
        options = self.transport.options
        pair = options.user or self._credentials or _from_netrc(self.url, options.netrc)
        redirected = netrc_bytes() if options.netrc and pair is None else b""
        return variant_of(options, pair, self.transport.client, redirected)

    def over(self, transport: Transport) -> Remote:
        """Return the same resource over another *transport*, as a child process needs."""
        other = copy.copy(self)
        other.transport = transport
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
            if response.status in _TEMPORARY:
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
            raise RefusedError(redact(url), f"a redirect from https down to {redact(following)}")
        return following

    def _check_running(self, stopped: Callable[[], bool]) -> None:
        if stopped():
            raise AttemptFailed(self.name, "stopped")

    def _send(
        self, url: str, asked: Asked, extra: Iterable[tuple[str, str]], stopped: Callable[[], bool]
    ) -> Response:
        options = self.transport.options
        headers = [("User-Agent", options.user_agent), ("Accept", "*/*"), ("Accept-Encoding", "identity")]
        if asked.header is not None:
            headers.append(("Range", asked.header))
        headers += extra
        first = origin_of(url) == origin_of(self.url)
        if first:
            own = {name.lower() for name, _ in options.headers}
            headers = [
                field for field in headers if field[0].lower() not in own or field[0].lower() in RESERVED
            ]
            headers += options.headers
            pair = options.user or self._credentials or _from_netrc(url, options.netrc)
            if pair is not None and "authorization" not in own:
                token = binascii.b2a_base64(f"{pair[0]}:{pair[1]}".encode(), newline=False).decode("ascii")
                headers.append(("Authorization", f"Basic {token}"))
        return self.transport.send(url, headers, own=first, stopped=stopped)


def check_header(text: str) -> tuple[str, str]:
    """Return the (name, value) of a header given as ``Name: value``; `UsageError` when it is none."""
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
        raise UsageError("--header", "expected 'Name: value'")
    if any(ord(char) < 32 or char == "\x7f" for char in value) or not value.isascii():
        raise UsageError("--header", f"the value of {name} holds characters that a header cannot carry")
    if name.lower() in RESERVED:
        raise UsageError("--header", f"{name} is smartremote's own to set")
    return name, value


def refusal(response: Response, name: str) -> SmartRemoteError:
    """Return the error that a status other than 200, 206, 304, 412 and 416 stands for."""
    status, phrase = response.status, phrase_of(response.status)
    if status in _TEMPORARY or status >= 500:
        wait = retry_after(response.headers, time.time())
        return AttemptFailed(
            name,
            phrase,
            crowded=status in (429, 503),
            broken=status == 500,
            retry_after=wait,
        )
    if status in (404, 410):
        return RemoteNotFoundError(name, phrase)
    if status in (401, 403, 407):
        hint = "give --user NAME or a header with -H" if status == 401 else None
        return RemotePermissionError(name, phrase, hint=hint)
    return RefusedError(name, phrase)


def _from_netrc(url: str, wanted: bool) -> tuple[str, str] | None:
    """Return the credentials that ~/.netrc, or $NETRC, has for the host of *url*; an unreadable file has none."""
    if not wanted:
        return None
    path = os.environ.get("NETRC") or os.path.expanduser("~/.netrc")
    if not os.path.exists(path):  # the usual case, in which the parser need not be loaded
        return None
    import netrc

    try:
        found = netrc.netrc(path).authenticators(urlsplit(url).hostname or "")
    except (OSError, netrc.NetrcParseError, UnicodeError):
        return None
    if found is None or not (found[0] or found[2]):
        return None
    return found[0] or "", found[2] or ""
