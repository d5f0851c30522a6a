"""Digests that servers send along: of an answer's content, or of the whole resource (RFC 9530, RFC 3230).

Only SHA-256 and SHA-512 count: the older algorithms prove nothing against a server that is wrong on purpose.
A malformed digest counts as absent, as an unknown algorithm does (RFC 9530, 2).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import NamedTuple

from .headers import Headers

_KNOWN = {"sha-512": "sha512", "sha-256": "sha256"}  # the strongest first
# `re` compiles it when it is first used: few servers send digests.
_MEMBER = r"(?a:\s*([A-Za-z0-9-]+)\s*=\s*(:?)([A-Za-z0-9+/]+={0,2})(:?)\s*(?:;[^,]*)?)"


class Digest(NamedTuple):
    """An expected digest: *algorithm* as hashlib names it."""

    algorithm: str
    value: bytes

    def fits(self, hasher: hashlib._Hash) -> bool:
        """Return whether *hasher*, made by `hasher`, has seen the expected bytes."""
        return hasher.digest() == self.value

    def hasher(self) -> hashlib._Hash:
        return hashlib.new(self.algorithm)


def of_content(headers: Headers) -> Digest | None:
    """Return the digest of the content of this one answer, as it is sent."""
    return _strongest(headers, "content-digest")


def of_resource(headers: Headers) -> Digest | None:
    """Return the digest of the whole resource, of which the answer may be a part."""
    return _strongest(headers, "repr-digest") or _strongest(headers, "digest")


def _strongest(headers: Headers, field: str) -> Digest | None:
    found: dict[str, bytes] = {}
    for value in headers.all(field):
        for member in value.split(","):
            match = re.fullmatch(_MEMBER, member)
            name = match[1].lower() if match else ""
            if match is None or name not in _KNOWN or match[2] != match[4]:
                continue
            try:
                found[name] = base64.b64decode(match[3], validate=True)
            except binascii.Error:
                continue
    for name, algorithm in _KNOWN.items():
        if len(found.get(name, b"")) == hashlib.new(algorithm).digest_size:
            return Digest(algorithm, found[name])
    return None
