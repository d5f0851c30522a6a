"""Visitor: who we are to servers during one run: our credentials by host, the nonces they gave, the cookies they set.

Credentials that the user gave (in an option or the URL) belong to the first origin. Every host that a redirect leads to
is looked up in netrc, as NASA's Earthdata and others rely on.
"""

from __future__ import annotations

import binascii
import os
import threading
from typing import NamedTuple
from urllib.parse import urlsplit

from ..core.addresses import target_of
from ..core.urls import origin_of
from ..protocol.headers import Headers
from . import challenges, netrc
from .challenges import Challenge
from .cookies import Cookies

# Requests that a stale nonce may cost one answer. Servers that want the counts of a nonce in order refuse those that
# parallel connections bring out of order; more connections than this in a row need another remedy (fewer of them).
_MAX_ROUNDS = 3

Origin = tuple[str, str, int]


class Credentials(NamedTuple):
    """A user's name and password, where they were *found*, and whether they wait until the server *asks*."""

    user: str
    password: str
    found: str
    asked_only: bool = False


class _Nonce:
    """A server's nonce, and how often it was used."""

    def __init__(self, challenge: Challenge) -> None:
        self.challenge = challenge
        self.uses = 0  # guarded by the visitor's lock
        self.accepted = False  # whether the server took an answer to it


class Visitor:
    """One user, as the servers of one run see them. Any thread may use it."""

    def __init__(
        self, own: Credentials | None, use_netrc: bool, netrc_file: str | None, cookie_file: str | None = None
    ) -> None:
        self.cookies = Cookies(cookie_file)
        self._own = own
        self._use_netrc = use_netrc
        self._netrc_file = netrc_file
        self._lock = threading.Lock()  # guards what follows
        self._from_netrc: dict[str, netrc.NetrcEntry | None] = {}
        self._nonces: dict[tuple[Origin, str], _Nonce] = {}

    def login(self, url: str, *, first: bool, by_header: bool) -> Login:
        """Return how to log in for a request of *url*, at the *first* origin or later.

        *by_header* says that the user's own Authorization is sent: then there is nothing to add.
        """
        return Login(self, url, None if by_header else self.credentials(url, first), first, by_header)

    def nonce(self, key: tuple[Origin, str]) -> tuple[_Nonce, int] | None:
        """Return the nonce to use for *key*, and the count of this use; None before the server gave one."""
        with self._lock:
            nonce = self._nonces.get(key)
            if nonce is None:
                return None
            nonce.uses += 1
            return nonce, nonce.uses

    def renew(self, key: tuple[Origin, str], used: _Nonce | None, challenge: Challenge) -> None:
        """Use the nonce of *challenge* from now on, unless another thread has replaced the *used* one already."""
        with self._lock:
            if self._nonces.get(key) is used:
                self._nonces[key] = _Nonce(challenge)

    def credentials(self, url: str, first: bool) -> Credentials | None:
        """Return who we are at *url*, which is of the *first* origin or reached by a redirect, or None."""
        own = self._own if first else None
        if own is not None and (own.password or own.found != "the URL"):
            return own
        entry = self._look_up(url, None if own is None else own.user) if self._use_netrc else None
        if entry is None:
            return own
        # An entry for all hosts says little about a storage server behind a redirect, which refuses a signed URL that
        # comes with credentials as well (S3): it is used where the server asks for it.
        return Credentials(entry.user, entry.password, "netrc", entry.is_default and not first)

    def _look_up(self, url: str, user: str | None) -> netrc.NetrcEntry | None:
        host = urlsplit(url).hostname or ""
        key = f"{user or ''}@{host}"
        with self._lock:
            if key not in self._from_netrc:
                self._from_netrc[key] = netrc.find(host, user, self._netrc_file)
            return self._from_netrc[key]


class Login:
    """How one request logs in, over the answers that ask for it. One thread uses it."""

    def __init__(
        self, visitor: Visitor, url: str, credentials: Credentials | None, first: bool, by_header: bool
    ) -> None:
        self.credentials = credentials
        self.first = first
        self.by_header = by_header
        self.was_stale = False  # whether the last refusal was of the nonce alone
        self._visitor = visitor
        self._url = url
        self._key = (origin_of(url), "" if credentials is None else credentials.user)
        self._used: _Nonce | None = None
        self._sent_basic = False
        self._asked = credentials is not None and not credentials.asked_only
        self._rounds = 0

    @property
    def was_sent(self) -> bool:
        """Whether the last request carried credentials."""
        return self.by_header or self._sent_basic or self._used is not None

    def fields(self) -> list[tuple[str, str]]:
        """Return the header fields that log in with the next request."""
        given = self.credentials
        if given is None:
            return []
        found = self._visitor.nonce(self._key)
        self._used, count = found or (None, 0)
        if self._used is not None:
            cnonce = binascii.hexlify(os.urandom(8)).decode("ascii")
            challenge, target = self._used.challenge, target_of(self._url)
            value = challenges.digest(challenge, given.user, given.password, "GET", target, count, cnonce)
            return [("Authorization", value)]
        if not self._asked:
            return []
        self._sent_basic = True
        return [("Authorization", challenges.basic(given.user, given.password))]

    def is_refused(self, status: int, headers: Headers) -> bool:
        """Return whether the answer stands, False where it asks for a login that another request can give."""
        if status != 401:
            if self._used is not None:
                self._used.accepted = True
            return True
        if self.credentials is None or self._rounds >= _MAX_ROUNDS:
            return True
        self._rounds += 1
        offered = challenges.parse_challenges(headers.all("www-authenticate"))
        challenge = challenges.best_digest(offered)
        if challenge is not None:
            return self._is_digest_refused(challenge)
        if self._sent_basic or not any(each.is_basic for each in offered):
            return True
        self._asked = True
        return False

    def _is_digest_refused(self, challenge: Challenge) -> bool:
        used = self._used
        self.was_stale = used is not None and challenge.is_stale
        is_new = used is None or (
            challenge.nonce != used.challenge.nonce and (challenge.is_stale or used.accepted)
        )
        if is_new:
            self._visitor.renew(self._key, used, challenge)
        return not is_new
