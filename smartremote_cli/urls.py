"""URLs as text: what may be shown of them, where they point, and which file name they suggest."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote, urlsplit

from .errors import UsageError

# Names are cut so that NAME.part.tmp still fits the 255 bytes that file systems allow.
LONGEST_NAME = 240

_DEFAULT_PORTS = {"http": 80, "https": 443}
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def check_url(url: str) -> str:
    """Return *url* without its fragment; `UsageError` unless it is an http or https URL with a host."""
    if any(char.isspace() or ord(char) < 32 or char == "\x7f" for char in url):
        raise UsageError(redact(url), "a URL has no spaces or control characters in it")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(redact(url), f"not a URL: {error}") from error
    if parts.scheme.lower() not in _DEFAULT_PORTS:
        raise UsageError(redact(url), "not an http:// or https:// URL")
    if not parts.hostname or port == 0:
        raise UsageError(redact(url), "a URL needs a host")
    return parts._replace(fragment="").geturl()


def redact(url: str) -> str:
    """Return *url* as it may be shown: without user:password, the query shortened."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return re.split(r"[?#@]", url)[0] + "…"
    host = parts.netloc.rpartition("@")[2]
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


def file_name(url: str, disposition: str | None) -> str:
    """Return a bare, harmless file name for the current folder.

    It comes from Content-Disposition (RFC 6266) where that names a file, else from the URL's last segment, else
    it is `download`. No separators, control characters, leading dots or device names are left in it.
    """
    from_url = unquote(urlsplit(url).path.rpartition("/")[2])
    for candidate in (_from_disposition(disposition or ""), from_url):
        name = _harmless(candidate)
        if name:
            return name
    return "download"


def _from_disposition(value: str) -> str:
    extended = re.search(
        r"filename\*\s*=\s*([\w!#$&+^`{}~-]+)'[^']*'([^;\s]+)", value, re.IGNORECASE | re.ASCII
    )
    if extended:
        try:
            return unquote(extended[2], encoding=extended[1], errors="strict")
        except (LookupError, UnicodeError):
            pass
    quoted = re.search(r'filename\s*=\s*"((?:[^"\\]|\\.)*)"', value, re.IGNORECASE)
    if quoted:
        return _as_utf8(re.sub(r"\\(.)", r"\1", quoted[1]))
    plain = re.search(r"filename\s*=\s*([^;\s]+)", value, re.IGNORECASE)
    return _as_utf8(plain[1]) if plain else ""


def _as_utf8(text: str) -> str:
    """Undo the Latin-1 reading of a header field whose bytes were UTF-8, as browsers do."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _harmless(candidate: str) -> str:
    name = re.split(r"[/\\]", candidate)[-1]
    name = "".join("_" if not char.isprintable() else char for char in name).strip().lstrip(".").rstrip(". ")
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    if name.endswith((".part", ".part.tmp")):
        name += "_"  # or the file would be taken for another one's record
    while len(name.encode("utf-8", "replace")) > LONGEST_NAME:
        stem, dot, suffix = name.rpartition(".")
        name = f"{stem[:-1]}.{suffix}" if dot and stem and len(suffix) < 16 else name[:-1]
    return name.lstrip("-") or ""
