"""Servers that ask who is there by Digest (RFC 7616), and hold every answer to the letter."""

from __future__ import annotations

import hashlib
import re
import threading

from tests.support.server import Exchange, Fault, Reply

from .conditions import When, always

_HASHES = {"MD5": "md5", "SHA-256": "sha256"}


class Digest:
    """What a server asks by Digest: its nonces, and which counts of them it has seen.

    *uses* is how often a nonce may be used. The fault answers 401 unless a request logs in as *user*, a name:password.
    """

    def __init__(
        self, user: str, *, algorithm: str = "MD5", qop: str | None = "auth", uses: int = 1 << 30
    ) -> None:
        self._name, _, self._password = user.partition(":")
        self._algorithm = algorithm
        self._qop = qop
        self._uses = uses
        self._lock = threading.Lock()  # guards what follows
        self._nonces: dict[str, set[str]] = {}
        self.wrong: list[str] = []  # what was not as it must be, save the password

    def fault(self, *, when: When = always) -> Fault:
        return Fault("digest", when, ask=self._ask)

    def _ask(self, exchange: Exchange) -> None:
        given = exchange.seen.header("Authorization") or ""
        with self._lock:
            refusal = self._refusal(given, exchange.seen.method, exchange.seen.target)
            if refusal is None:
                return
            nonce = f"nonce-{len(self._nonces)}"
            self._nonces[nonce] = set()
        qop = "" if self._qop is None else f', qop="{self._qop}"'
        asks = f'Digest realm="the \\"house\\"", nonce="{nonce}", algorithm={self._algorithm}, opaque="o"{qop}{refusal}'
        exchange.reply = Reply.of(401, b"who are you?\n", [("WWW-Authenticate", asks)])

    def _refusal(self, given: str, method: str, target: str) -> str | None:
        """Return what a 401 adds to its challenge, None where the request may pass."""
        if not given.startswith("Digest "):
            return ""
        found = {
            name: quoted or plain
            for name, quoted, plain in re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))', given)
        }
        counts = self._nonces.get(found["nonce"])
        if counts is None:
            return ", stale=true"
        if self._qop is not None:
            if found["nc"] in counts:
                self.wrong.append(f"{found['nonce']} was used twice with {found['nc']}")
            counts.add(found["nc"])
        if found.get("opaque") != "o" or found.get("uri") != target:
            self.wrong.append(given)
        if found["response"] != self._expected(found, method):
            return ""
        return ", stale=TRUE" if len(counts) > self._uses else None

    def _expected(self, found: dict[str, str], method: str) -> str:
        def hashed(text: str) -> str:
            name = _HASHES[self._algorithm.removesuffix("-sess")]
            return hashlib.new(name, text.encode()).hexdigest()

        secret = hashed(f'{self._name}:the \\"house\\":{self._password}')
        if self._algorithm.endswith("-sess"):
            secret = hashed(f"{secret}:{found['nonce']}:{found['cnonce']}")
        asked = hashed(f"{method}:{found['uri']}")
        if self._qop is None:
            return hashed(f"{secret}:{found['nonce']}:{asked}")
        return hashed(f"{secret}:{found['nonce']}:{found['nc']}:{found['cnonce']}:auth:{asked}")
