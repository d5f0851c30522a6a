"""netrc: credentials by host, from ~/.netrc, $NETRC or a file that was named, read as curl reads it.

A word that is none, or a file that cannot be read, costs nothing but what it would have said: who has no use for the
file must not fail over it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

# A word, which quotes may hold together. A line that begins with # is a comment; elsewhere # may begin a password.
_WORDS = r'"((?:[^"\\]|\\.)*)"|(\S+)'
_ESCAPES = {
    "n": "\n",
    "r": "\r",
    "t": "\t",
}  # in quotes, as curl has them; any other character stands for itself
_MAX_BYTES = 1024 * 1024  # far beyond any that people have: a device or a mistaken path is not read on


class NetrcEntry(NamedTuple):
    """What the file says of a host. *is_default* says that it is the entry for all that are not named."""

    user: str
    password: str
    is_default: bool


def find(host: str, user: str | None = None, path: str | None = None) -> NetrcEntry | None:
    """Return the credentials for *host*, of *user* where one is given; None without any."""
    text = read(path).decode("utf-8", "replace")
    return _look_up(_parse(text), host.lower().removesuffix("."), user)


def read(path: str | None = None) -> bytes:
    """Return what the file at *path*, by default the user's own, says; nothing where it cannot be read."""
    name = path or _default_path()
    if name is None:
        return b""
    try:
        with open(name, "rb") as file:
            return file.read(_MAX_BYTES)
    except (OSError, ValueError):  # not there, not ours to read, or no name of a file
        return b""


def _default_path() -> str | None:
    if named := os.environ.get("NETRC"):
        return named
    path = os.path.expanduser("~/.netrc")
    return path if os.path.isabs(path) else None  # no home folder is known


def _look_up(
    entries: list[tuple[str | None, dict[str, str]]], host: str, user: str | None
) -> NetrcEntry | None:
    for machine, said in entries:
        if machine is not None and machine.lower().removesuffix(".") != host:
            continue
        login = said.get("login", "")
        if user is not None and login and login != user:
            continue
        if login or said.get("password"):
            return NetrcEntry(user or login, said.get("password", ""), machine is None)
    return None


def _parse(text: str) -> list[tuple[str | None, dict[str, str]]]:
    """Return the entries in their order, each with its machine (None for the default) and what it says."""
    entries: list[tuple[str | None, dict[str, str]]] = []
    words = _words(text)
    for word in words:
        if word == "machine":
            entries.append((next(words, ""), {}))
        elif word == "default":
            entries.append((None, {}))
        elif word in ("login", "password", "account"):
            value = next(words, "")
            if entries:
                entries[-1][1].setdefault(word, value)
    return entries


def _words(text: str) -> Iterator[str]:
    """Yield the words of *text*, without comments and macros."""
    in_macro = False
    for line in text.splitlines():
        if in_macro:
            in_macro = bool(line.strip())
            continue
        if line.lstrip().startswith("#"):
            continue
        for quoted, plain in re.findall(_WORDS, line):
            if plain == "macdef":
                in_macro = True
                break
            yield plain or re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), quoted)
