"""Refusals: what an answer's status means for the caller, and what can be done about it."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from ..core.urls import redact
from ..errors import AttemptFailed, RefusedError, RemoteNotFoundError, RemotePermissionError, SmartRemoteError
from ..protocol.headers import retry_after
from . import challenges
from .failures import phrase_of
from .response import Response
from .visitor import Login

TEMPORARY = frozenset({408, 425, 429, 503})
_UPGRADE_REQUIRED = 426
# nginx and Caddy answer so where a client certificate is missing or not trusted.
_CERTIFICATE_WORDS = (b"SSL certificate", b"client certificate")


def refusal(response: Response, name: str) -> SmartRemoteError:
    """Return the error that a status other than 200, 206, 304, 412 and 416 stands for.

    It is about the URL that refused, where *name* was redirected.
    """
    status, phrase = response.status, phrase_of(response.status)
    what = redact(response.url)
    if what != name:
        phrase += f" (redirected from {name})"
    if status == _UPGRADE_REQUIRED:
        return RefusedError(what, f"{phrase}: the server does not speak HTTP/1.1")
    if status in TEMPORARY or status >= 500:
        wait = retry_after(response.headers, time.time())
        return AttemptFailed(
            what,
            phrase,
            crowded=status in (429, 503),
            broken=status >= 500,
            retry_after=wait,
        )
    if status in (404, 410):
        return RemoteNotFoundError(what, phrase)
    if status == 401:
        return _of_login(response, what, phrase)
    if status in (403, 407):
        return RemotePermissionError(what, phrase)
    if status == 400 and response.url.lower().startswith("https:") and _wants_certificate(response):
        why = f"{phrase}: the server asks for a client certificate that it trusts"
        return RefusedError(what, why, hint="--cert FILE and --key FILE name a client certificate")
    return RefusedError(what, phrase)


def _of_login(response: Response, what: str, phrase: str) -> SmartRemoteError:
    """Return the error for a 401: which scheme is asked for, or whose password is wrong, or how to give one."""
    login = response.login
    if login is not None and login.was_stale:  # several rounds of it: connections may be in each other's way
        return AttemptFailed(what, f"{phrase}: the server finds every nonce stale", crowded=True)
    other = challenges.unspoken(challenges.parse_challenges(response.headers.all("www-authenticate")))
    if other is not None:
        why = f"{phrase}: the server asks for {other}, which smartremote does not speak"
        return RemotePermissionError(what, why, hint=_header_hint(other))
    if login is None or not login.was_sent:
        return RemotePermissionError(what, phrase, hint=_login_hint(login, response.url))
    if login.by_header:
        return RemotePermissionError(
            what, f"{phrase}: the server does not accept the Authorization given with -H"
        )
    found = "" if login.credentials is None else f" of {login.credentials.found}"
    return RemotePermissionError(what, f"{phrase}: the server does not accept the user and password{found}")


def _header_hint(scheme: str) -> str:
    value = "Bearer TOKEN" if scheme.lower() == "bearer" else "..."
    return f"if you have what it asks for: -H 'Authorization: {value}'"


def _login_hint(login: Login | None, url: str) -> str:
    if login is None or login.first:
        return "give --user NAME or a header with -H"
    host = urlsplit(url).hostname
    return f"credentials stay with the first host; those of {host} are taken from ~/.netrc"


def _wants_certificate(response: Response) -> bool:
    return any(words in response.skipped for words in _CERTIFICATE_WORDS)
