"""Challenges: how a server or a proxy asks who we are (RFC 9110, 11), and the answers that we speak: Basic and Digest.

Values in, values out: who remembers a nonce and counts its uses is `visitor`.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

_MAX_VALUE = 16 * 1024  # characters read of a field: a Negotiate token of Kerberos takes up to 12 KiB
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# What a quoted value holds stays as it is written, with its backslashes: Digest computes and echoes that (RFC 7616,
# 3.4).
_PARAMETER = rf'({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"=]+))\s*(?=,|$)'
_SCHEME = rf"({_TOKEN})(?:\s+[A-Za-z0-9\-._~+/]+=*\s*(?=,|$))?"
# By what each is called here, and by what hashlib calls it; the best one first (RFC 7616, 3.7).
_HASHES = {"SHA-512-256": "sha512_256", "SHA-256": "sha256", "MD5": "md5"}


class Challenge(NamedTuple):
    """One way to log in that is offered: its scheme as it was written, and its parameters by lower-case name."""

    scheme: str
    parameters: dict[str, str]

    @property
    def is_basic(self) -> bool:
        return self.scheme.lower() == "basic"

    @property
    def is_stale(self) -> bool:
        """Whether only the nonce was too old: the password may be right."""
        return self.parameters.get("stale", "").lower() == "true"

    @property
    def nonce(self) -> str:
        return self.parameters.get("nonce", "")

    @property
    def strength(self) -> int:
        """Return how good a Digest it is that we speak; 0 for anything else."""
        if self.scheme.lower() != "digest" or not self.nonce or "realm" not in self.parameters:
            return 0
        name = _algorithm(self)
        known = list(reversed(_HASHES))
        if name not in known or _hash_of(name) is None or _qop(self) is None:
            return 0
        return known.index(name) + 1


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Return the challenges in the values of WWW-Authenticate or Proxy-Authenticate; what is malformed is left out."""
    found: list[Challenge] = []
    for value in values:
        text, position = value[:_MAX_VALUE], 0
        while position < len(text):
            if text[position] in " \t,":
                position += 1
            elif (match := re.compile(_PARAMETER, re.DOTALL).match(text, position)) and found:
                name, quoted, plain = match.groups()
                found[-1].parameters.setdefault(name.lower(), plain if quoted is None else quoted)
                position = match.end()
            elif match := re.compile(_SCHEME).match(text, position):
                found.append(Challenge(match[1], {}))
                position = match.end()
            else:
                position += 1
    return found


def best_digest(offered: Iterable[Challenge]) -> Challenge | None:
    """Return the strongest Digest challenge that we can answer, None without one."""
    return max((each for each in offered if each.strength), key=lambda each: each.strength, default=None)


def unspoken(offered: Iterable[Challenge]) -> str | None:
    """Return the names of the schemes, where none of those offered is spoken here; None where one is, or none came."""
    names = []
    for each in offered:
        if each.is_basic or each.strength:
            return None
        names.append(_name_unspoken(each))
    return " or ".join(dict.fromkeys(names)) or None


def _name_unspoken(challenge: Challenge) -> str:
    """Return the name of a scheme that is not spoken here; of Digest, which is, with what keeps us from it."""
    if challenge.scheme.lower() != "digest":
        return challenge.scheme
    if not challenge.nonce or "realm" not in challenge.parameters:
        return f"{challenge.scheme} without a realm or a nonce"
    algorithm = challenge.parameters.get("algorithm")
    return f"{challenge.scheme} with {algorithm}" if algorithm else challenge.scheme


def basic(user: str, password: str) -> str:
    """Return the value of Authorization for Basic (RFC 7617), in UTF-8."""
    token = binascii.b2a_base64(f"{user}:{password}".encode("utf-8", "surrogateescape"), newline=False)
    return f"Basic {token.decode('ascii')}"


def digest(
    challenge: Challenge, user: str, password: str, method: str, target: str, count: int, cnonce: str
) -> str:
    """Return the value of Authorization that answers a Digest *challenge* (RFC 7616, 3.4).

    *count* says how often its nonce was used, this time included. *target* is the request's.
    """
    given = challenge.parameters
    realm, nonce, qop = given["realm"], challenge.nonce, _qop(challenge)
    hashed = _hash_of(_algorithm(challenge))
    assert hashed is not None
    secret = hashed(f"{user}:{realm}:{password}")
    is_session = given.get("algorithm", "").lower().endswith("-sess")
    if is_session:
        secret = hashed(f"{secret}:{nonce}:{cnonce}")
    asked = f"{method}:{target}" + (f":{hashed('')}" if qop == "auth-int" else "")
    uses = f"{count:08x}"
    middle = f"{nonce}:{uses}:{cnonce}:{qop}" if qop else nonce
    response = hashed(f"{secret}:{middle}:{hashed(asked)}")
    fields = [_name_field(user, realm, given, hashed)]
    fields += [f'realm="{realm}"', f'nonce="{nonce}"', f'uri="{target}"', f'response="{response}"']
    if "algorithm" in given:
        fields.append(f"algorithm={given['algorithm']}")
    if "opaque" in given:
        fields.append(f'opaque="{given["opaque"]}"')
    if qop:
        fields += [f"qop={qop}", f"nc={uses}"]
    if qop or is_session:
        fields.append(f'cnonce="{cnonce}"')
    return "Digest " + ", ".join(fields)


def _name_field(user: str, realm: str, given: dict[str, str], hashed: Callable[[str], str]) -> str:
    if given.get("userhash", "").lower() == "true":
        return f'username="{hashed(f"{user}:{realm}")}", userhash=true'
    if user.isascii():
        written = user.replace("\\", "\\\\").replace('"', '\\"')
        return f'username="{written}"'
    from urllib.parse import quote

    return f"username*=UTF-8''{quote(user, safe='', errors='surrogateescape')}"


def _algorithm(challenge: Challenge) -> str:
    return challenge.parameters.get("algorithm", "MD5").upper().removesuffix("-SESS")


def _qop(challenge: Challenge) -> str | None:
    """Return the protection to use, "" for the manner of RFC 2069 that old devices speak; None for an unknown one."""
    if "qop" not in challenge.parameters:
        return ""
    offered = [word.strip().lower() for word in challenge.parameters["qop"].split(",")]
    return next((word for word in ("auth", "auth-int") if word in offered), None)


def _hash_of(name: str) -> Callable[[str], str] | None:
    import hashlib

    called = _HASHES.get(name)
    try:
        hashlib.new(called or "", usedforsecurity=False)
    except ValueError:  # OpenSSL was built without it
        return None
    return lambda text: hashlib.new(
        called or "", text.encode("utf-8", "surrogateescape"), usedforsecurity=False
    ).hexdigest()
