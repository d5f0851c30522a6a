"""Variant: who asks, as a value that tells one asker from the next and gives no secret away.

A server may answer the same URL in another way for other credentials and headers, so that what is kept of an answer
belongs to them as well.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from typing import TYPE_CHECKING

from .options import Options

if TYPE_CHECKING:
    import httpx

# Options that say how a server is reached, not who asks. Every other one is a part of the variant, also one that is
# added later: an entry that is not found costs a download, the wrong one gives wrong bytes.
_NOT_ABOUT_WHO_ASKS = frozenset(
    {"netrc", "netrc_file", "cookies", "proxy", "cacert", "insecure", "timeout", "interface"}
)

# What httpx sends of itself, and what is always the same here.
_CLIENTS_OWN = frozenset({"accept", "accept-encoding", "connection", "host", "user-agent"})

_unknown = itertools.count()  # callers' ways to authenticate that cannot be looked into


def variant_of(
    options: Options, pair: tuple[str, str] | None, client: httpx.Client | None, elsewhere: bytes = b""
) -> str:
    """Return the variant of requests with *options* and the credentials *pair*, sent by the caller's *client*, if any.

    *elsewhere* is what decides on the credentials for the hosts that redirects lead to. Empty where nothing was set.
    """
    plain = Options()._asdict()
    facts: list[object] = [
        (name, _normal(value))
        for name, value in sorted(options._asdict().items())
        if name not in _NOT_ABOUT_WHO_ASKS and name != "user" and value != plain.get(name)
    ]
    if pair is not None:
        facts.append(("user", pair))
    if elsewhere:
        facts.append(("elsewhere", hashlib.sha256(elsewhere).hexdigest()))
    if options.cookies is not None:
        facts.append(("cookies", _digest_of(options.cookies)))
    if client is not None:
        facts += _facts_of(client)
    return hashlib.sha256(repr(facts).encode("utf-8", "surrogatepass")).hexdigest() if facts else ""


def _normal(value: object) -> object:
    """Return *value* in a form in which equal headers are equal."""
    if isinstance(value, tuple) and all(isinstance(each, tuple) and len(each) == 2 for each in value):
        return sorted((str(name).lower(), text) for name, text in value)
    return value


def _facts_of(client: httpx.Client) -> list[object]:
    headers = sorted(
        (name, value) for name, value in client.headers.multi_items() if name not in _CLIENTS_OWN
    )
    cookies = sorted((each.domain, each.path, each.name, each.value or "") for each in client.cookies.jar)
    facts: list[object] = [("client", headers, cookies)] if headers or cookies else []
    if client.auth is not None:
        known = getattr(client.auth, "_auth_header", None)  # of httpx.BasicAuth
        unknown = f"{os.getpid()} {os.urandom(16).hex()} {next(_unknown)}"
        facts.append(("auth", known if isinstance(known, str) else unknown))
    return facts


def _digest_of(path: str) -> str:
    """Return a digest of a file: who is logged in by its cookies is in it, not in its name."""
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except (OSError, ValueError):
        return path
