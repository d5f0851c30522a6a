"""Options: how to talk to servers, checked when they are given: a mistake in them must not look like a server's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .. import __version__
from ..errors import UsageError

USER_AGENT = f"smartremote/{__version__}"

# The transfer sets these itself: ranges, conditions, codings and framing.
RESERVED = frozenset(
    "range if-range if-match if-none-match if-modified-since if-unmodified-since accept-encoding "
    "content-length transfer-encoding connection".split()
)
_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # a token (RFC 9110, 5.6.2)


class _Options(NamedTuple):
    headers: tuple[tuple[str, str], ...] = ()
    user: tuple[str, str] | None = None
    netrc: bool = True
    proxy: str | None = None
    cacert: str | None = None
    insecure: bool = False
    user_agent: str = USER_AGENT
    timeout: float = 30.0
    cert: str | None = None
    key: str | None = None
    netrc_file: str | None = None
    cookies: str | None = None
    interface: str | None = None


class Options(_Options):
    """How to talk to servers. *timeout* is in seconds; *headers* and *user* go to the first origin only.

    *headers* is a mapping, or pairs of name and value; *user* is a pair of name and password, or NAME:PASS. *cert* and
    *key* are the files of a client certificate, for every server that asks for one. *netrc_file* is read instead of
    ~/.netrc, and *cookies* is a file of cookies in Netscape's format. Connections leave by *interface*, a name or an
    address of this machine, or not at all. `UsageError` for what cannot be.
    """

    __slots__ = ()

    def __new__(
        cls,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        user: tuple[str, str] | str | None = None,
        netrc: bool = True,
        proxy: str | None = None,
        cacert: str | os.PathLike[str] | None = None,
        insecure: bool = False,
        user_agent: str = USER_AGENT,
        timeout: float = 30.0,
        cert: str | os.PathLike[str] | None = None,
        key: str | os.PathLike[str] | None = None,
        netrc_file: str | os.PathLike[str] | None = None,
        cookies: str | os.PathLike[str] | None = None,
        interface: str | None = None,
    ) -> Options:
        cert_file, key_file = _path(cert, "cert"), _path(key, "key")
        if key_file is not None and cert_file is None:
            raise UsageError("--key", "needs --cert FILE, the certificate that it belongs to")
        if proxy is not None and not isinstance(proxy, str):
            raise UsageError("proxy", "expected a URL, as http://HOST:PORT")
        if interface is not None and not (isinstance(interface, str) and interface):
            raise UsageError("interface", "expected the name of an interface, or an address")
        return super().__new__(
            cls,
            _headers(headers),
            _user(user),
            bool(netrc),
            proxy,
            _path(cacert, "cacert"),
            bool(insecure),
            check_user_agent(user_agent),
            _timeout(timeout),
            cert_file,
            key_file,
            _path(netrc_file, "netrc_file"),
            _path(cookies, "cookies"),
            interface,
        )


def check_header(text: str) -> tuple[str, str]:
    """Return the (name, value) of a header given as ``Name: value``; `UsageError` when it is none."""
    name, colon, value = text.partition(":")
    if not colon:
        raise UsageError("--header", "expected 'Name: value'")
    return _field(name.strip(" \t"), value.strip(" \t"), "--header", "expected 'Name: value'")


def check_user_agent(text: object) -> str:
    """Return *text* if a User-Agent can be so; `UsageError` otherwise."""
    if not isinstance(text, str) or not _is_value(text):
        raise UsageError("--user-agent", "holds characters that a header cannot carry")
    return text


def _headers(given: object) -> tuple[tuple[str, str], ...]:
    expected = "expected a mapping of names to values, or pairs of both"
    if isinstance(given, (str, bytes)):
        raise UsageError("headers", expected)
    try:
        pairs = given.items() if isinstance(given, Mapping) else iter(given)  # type: ignore[call-overload]
        fields = [pair if isinstance(pair, (tuple, list)) and len(pair) == 2 else None for pair in pairs]
    except TypeError:
        raise UsageError("headers", expected) from None
    found = []
    for field in fields:
        if field is None or not all(isinstance(word, str) for word in field):
            raise UsageError("headers", expected)
        found.append(_field(field[0].strip(" \t"), field[1].strip(" \t"), "headers", expected))
    return tuple(found)


def _field(name: str, value: str, option: str, expected: str) -> tuple[str, str]:
    if not re.fullmatch(_NAME, name):
        raise UsageError(option, expected)
    if not _is_value(value):
        raise UsageError(option, f"the value of {name} holds characters that a header cannot carry")
    if name.lower() in RESERVED:
        raise UsageError(option, f"{name} is smartremote's own to set")
    return name, value


def _is_value(text: str) -> bool:
    return text.isascii() and not any(ord(char) < 32 or char == "\x7f" for char in text)


def _user(given: object) -> tuple[str, str] | None:
    if given is None:
        return None
    if isinstance(given, str):
        name, colon, password = given.partition(":")
        words: tuple[object, ...] = (name, password) if colon else ()
    else:
        words = tuple(given) if isinstance(given, (tuple, list)) else ()
    if len(words) != 2 or not (isinstance(words[0], str) and isinstance(words[1], str)):
        raise UsageError("user", "expected a name and a password, or NAME:PASS")
    if any(ord(char) < 32 or char == "\x7f" for char in words[0] + words[1]):  # RFC 7617, 2
        raise UsageError("--user", "a name or password with control characters cannot be sent")
    return words[0], words[1]


def _timeout(given: object) -> float:
    if isinstance(given, (int, float)) and not isinstance(given, bool) and given > 0:
        return given
    raise UsageError("timeout", "expected a number of seconds above 0")


def _path(given: object, option: str) -> str | None:
    if given is None:
        return None
    try:
        return os.fsdecode(given)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(option, "expected the path of a file") from None
