"""Checksum: a digest that the whole resource is expected to have, given by the user or announced by the server."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from ..core.ranges import ByteRange
from ..errors import UsageError
from ..plan.planner import MIB
from ..protocol.digests import Digest
from ..store.copies import Copy


class Checksum(NamedTuple):
    """An expected digest of the whole resource: *algorithm* as hashlib names it, *digest* in lower-case hex."""

    algorithm: str
    digest: str

    @classmethod
    def parse(cls, text: str, what: str = "--checksum") -> Checksum:
        """Read ``ALG:HEX``; `UsageError` about *what* for an unknown algorithm or a digest of the wrong length."""
        algorithm, colon, digest = text.partition(":")
        algorithm, digest = algorithm.strip().lower(), digest.strip().lower()
        if algorithm not in hashlib.algorithms_available and algorithm.startswith("sha-"):
            algorithm = algorithm.replace("-", "")
        if not colon or algorithm not in hashlib.algorithms_available:
            raise UsageError(what, f"expected ALG:HEX with an algorithm such as sha256, not {text!r}")
        length = hashlib.new(algorithm).digest_size
        if not length:
            raise UsageError(what, f"{algorithm} has no digest of one length")
        if len(digest) != 2 * length or any(char not in "0123456789abcdef" for char in digest):
            raise UsageError(what, f"a {algorithm} digest has {2 * length} hexadecimal digits")
        return cls(algorithm, digest)

    @classmethod
    def announced(cls, digest: Digest) -> Checksum:
        """Return what a server's *digest* of the resource says."""
        return cls(digest.algorithm, digest.value.hex())

    def agrees_with(self, copy: Copy) -> bool:
        """Read the whole copy and return whether it has this digest."""
        return digest_of(copy, self.algorithm, copy.identity.size or 0).hexdigest() == self.digest


def digest_of(copy: Copy, algorithm: str, stop: int) -> hashlib._Hash:
    """Read the first *stop* bytes of *copy* and return their hasher, which can go on from there."""
    hasher = hashlib.new(algorithm)
    for start in range(0, stop, MIB):
        hasher.update(copy.read(ByteRange(start, min(start + MIB, stop))))
    return hasher
