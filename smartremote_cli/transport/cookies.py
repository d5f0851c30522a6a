"""Cookies that servers set during a run: each goes back to where it came from (RFC 6265), and none is written to disk.

The rules are http.cookiejar's, of which the strict ones are chosen: a cookie without Domain belongs to one host alone,
and none can be set for a whole country's or company registry. It is loaded when there is a cookie to send: it takes as
long as all the rest of a plain request.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urlsplit

from ..errors import UsageError

if TYPE_CHECKING:
    import http.cookiejar
    from email.message import Message

# RFC 6265, 6.1 asks for room for 50 cookies a host of 4096 bytes each. More are ignored, so that a server can neither
# fill the memory nor make requests that no server takes (curl's bounds are 150 and 8190 bytes a request).
_MAX_COOKIES = 150
_MAX_COOKIE_CHARACTERS = 4096
_MAX_FIELD_CHARACTERS = 8190


class Cookies:
    """The cookies of one run, those of the file *path* at first. Any thread may use it."""

    def __init__(self, path: str | None = None) -> None:
        self._lock = threading.Lock()  # guards what follows
        self._given = [] if path is None else read_cookie_file(path)
        self._pending: list[tuple[str, str]] = []  # the URL that was asked, and its Set-Cookie
        self._jar: http.cookiejar.CookieJar | None = None

    def keep(self, url: str, values: Iterable[str]) -> None:
        """Keep what an answer of *url* sets in its Set-Cookie fields."""
        usable = [(url, value) for value in values if len(value) <= _MAX_COOKIE_CHARACTERS]
        if usable:
            with self._lock:
                self._pending = (self._pending + usable)[-_MAX_COOKIES:]

    def field_for(self, url: str) -> str | None:
        """Return the value of the Cookie field for a request of *url*, None without a cookie."""
        with self._lock:
            if not self._pending and not self._given and self._jar is None:
                return None
            jar = self._filled_jar()
        request = _Request(url)
        jar.add_cookie_header(cast(Any, request))
        value = request.cookie or ""
        return value if 0 < len(value) <= _MAX_FIELD_CHARACTERS else None

    def _filled_jar(self) -> http.cookiejar.CookieJar:
        from email.message import Message
        from http import cookiejar

        if self._jar is None:
            strict = cookiejar.DefaultCookiePolicy.DomainStrictNonDomain
            policy = cookiejar.DefaultCookiePolicy(
                netscape=True, rfc2965=False, strict_domain=True, strict_ns_domain=strict
            )
            self._jar = cookiejar.CookieJar(policy)
            for given in self._given:
                self._jar.set_cookie(_cookie(given))
        pending, self._pending = self._pending, []
        for url, value in pending:
            message = Message()
            message["Set-Cookie"] = value
            if len(self._jar) < len(self._given) + _MAX_COOKIES:
                self._jar.extract_cookies(cast(Any, _Answer(message)), cast(Any, _Request(url)))
        return self._jar


class GivenCookie(NamedTuple):
    """A line of a cookie file. *below* says that it is for the hosts below *domain* too; it *expires* in Unix time."""

    domain: str
    below: bool
    path: str
    secure: bool
    expires: int | None
    name: str
    value: str


def read_cookie_file(path: str) -> list[GivenCookie]:
    """Return the cookies of a file in Netscape's format, as curl writes it; `UsageError` for what is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise UsageError("--cookies", f"{path} cannot be read: {error.strerror}") from error
    found = []
    for line in lines:
        line = line.removeprefix("#HttpOnly_")
        if line.strip() and not line.startswith("#"):
            fields = line.split("\t")
            if len(fields) == 6:
                fields.append("")  # a name without a value
            if len(fields) != 7 or not fields[4].isdecimal():
                raise UsageError("--cookies", f"{path} is no file of cookies in Netscape's format")
            domain, below, place, secure, expires, name, value = fields
            is_secure, time = secure.upper() == "TRUE", int(expires) or None
            found.append(GivenCookie(domain, below.upper() == "TRUE", place, is_secure, time, name, value))
    return found


def _cookie(given: GivenCookie) -> http.cookiejar.Cookie:
    from http.cookiejar import Cookie

    domain = given.domain.lower()
    bare = domain.removeprefix(".")
    if "." not in bare and ":" not in bare:
        domain += ".local"  # http.cookiejar's own way to write a name without dots
    if given.below and not domain.startswith("."):
        domain = f".{domain}"
    return Cookie(
        version=0,
        name=given.name,
        value=given.value,
        port=None,
        port_specified=False,
        domain=domain if given.below else domain.removeprefix("."),
        domain_specified=given.below,
        domain_initial_dot=given.below,
        path=given.path or "/",
        path_specified=True,
        secure=given.secure,
        expires=given.expires,
        discard=given.expires is None,
        comment=None,
        comment_url=None,
        rest={},
    )


class _Answer:
    """What http.cookiejar wants of an answer."""

    def __init__(self, message: Message) -> None:
        self._message = message

    def info(self) -> Message:
        return self._message


class _Request:
    """What http.cookiejar wants of a request."""

    unverifiable = False
    origin_req_host = ""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._url = url
        self.type = parts.scheme.lower()
        self.host = parts.netloc.rpartition("@")[2]
        self.cookie: str | None = None

    def get_full_url(self) -> str:
        return self._url

    def get_header(self, name: str, default: str | None = None) -> str | None:
        return default

    def has_header(self, name: str) -> bool:
        return False

    def add_unredirected_header(self, name: str, value: str) -> None:
        if name == "Cookie":
            self.cookie = value
