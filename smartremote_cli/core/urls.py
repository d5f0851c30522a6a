"""URLs as text: checks, the form that may be shown, origin and credentials."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote, urlsplit

from ..errors import UsageError

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(\[[^\]@]*\]|[^:@\[\]]*)(:\d+)?", re.ASCII)


def check_url(url: str) -> str:
    """Return *url* without its fragment; `UsageError` unless it is an http or https URL with a host."""
    if any(char.isspace() or ord(char) < 32 or "\x7f" <= char <= "\x9f" for char in url):
        raise UsageError(redact(url), "a URL must not contain spaces or control characters")
    if any("\ud800" <= char <= "\udfff" for char in url):
        raise UsageError(redact(url), "not a URL: it is not UTF-8")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # the exception's text shows user and password
        raise UsageError(redact(url), "not a URL: its host or port is malformed") from None
    if parts.scheme.lower() not in _DEFAULT_PORTS:
        raise UsageError(redact(url), "not an http:// or https:// URL")
    if not parts.hostname or port == 0:
        raise UsageError(redact(url), "a URL needs a host")
    if not all(0 < len(label) < 64 for label in parts.hostname.removesuffix(".").split(".")):
        raise UsageError(redact(url), "not a valid host name")  # RFC 1035, 2.3.4
    return parts._replace(fragment="").geturl()


def escaped(reference: str) -> str:
    """Return a URL reference from a header with its spaces and bytes beyond ASCII percent-encoded."""
    data = reference.strip(" \t").encode("latin-1", "replace")
    return "".join(f"%{byte:02X}" if byte == 0x20 or byte >= 0x80 else chr(byte) for byte in data)


def redact(url: str) -> str:
    """Return *url* as it may be shown: without user:password, and with the query shortened.

    Show almost nothing of malformed URLs: when a password holds an unescaped `/`, `?` or `#`, its beginning stands
    where host and port should.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "…"
    host = parts.netloc.rpartition("@")[2]
    if ("@" in url and not host) or not _HOST.fullmatch(host):
        return f"{parts.scheme}://…" if parts.scheme in _DEFAULT_PORTS else "…"
    shown = parts._replace(netloc=host, query="", fragment="").geturl()
    return f"{shown}?…" if parts.query else shown


def credentials_of(url: str) -> tuple[str, str] | None:
    """Return the (user, password) that *url* carries, percent-decoded, or None."""
    parts = urlsplit(url)
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")


def without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def origin_of(url: str) -> tuple[str, str, int]:
    """Return the (scheme, host, port) that credentials belong to (RFC 6454)."""
    parts: SplitResult = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(scheme, 0)


def is_same_origin(first: str, later: str) -> bool:
    """Return whether *later* belongs to whom the user meant with *first*: one origin, or its upgrade to https."""
    one, other = origin_of(first), origin_of(later)
    return one == other or (one[0] == "http" and other[0] == "https" and one[1] == other[1])
