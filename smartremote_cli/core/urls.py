"""URLs as text: checks, the form that may be shown, origin, credentials, and the file name that they suggest."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote, urlsplit

from ..errors import UsageError

MAX_NAME = 240  # bytes: NAME.part.sums still fits the 255 that file systems allow
BESIDE = (".part", ".part.tmp", ".part.sums")  # names ending so belong to another file's download
_MAX_SUFFIX = 16  # bytes: a longer one is taken as part of the name and cut like it
_MAX_DISPOSITION = (
    4096  # characters read: the longest name fits, percent-encoded too, and parsing takes bounded time
)

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(\[[^\]@]*\]|[^:@\[\]]*)(:\d+)?", re.ASCII)
# `re` compiles these at their first use: many runs never need them.
_PARAMETER = r"""(?s:([^\s;="]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*)))"""
_EXTENDED = r"(?a:([\w!#$&+^`{}~-]+)'[^']*'(\S+))"
_RESERVED = r"(?i:(con|prn|aux|nul|com\d|lpt\d)(\..*)?)"


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


def file_name(url: str, disposition: str | None) -> str:
    """Return a bare, harmless file name for the current folder.

    It comes from Content-Disposition (RFC 6266) if that names a file, else from the URL's last segment, else it is
    `download`. It has no separators, control characters or leading dots, and is not the name of a device.
    """
    from_url = unquote(urlsplit(url).path.rpartition("/")[2])
    for candidate in (_from_disposition(disposition or ""), from_url):
        name = _harmless(candidate)
        if name:
            return name
    return "download"


def _from_disposition(value: str) -> str:
    found = re.findall(_PARAMETER, value[:_MAX_DISPOSITION])
    given = {name.lower(): (quoted, plain) for name, quoted, plain in reversed(found)}
    extended = re.fullmatch(_EXTENDED, "".join(given.get("filename*", ("", ""))).strip())
    if extended:
        try:
            return unquote(extended[2], encoding=extended[1], errors="strict")
        except (LookupError, UnicodeError):
            pass
    quoted, plain = given.get("filename", ("", ""))
    return _as_utf8(re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) or plain.strip().strip('"'))


def _as_utf8(text: str) -> str:
    """Undo the Latin-1 reading of a header field whose bytes were UTF-8, as browsers do."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _harmless(candidate: str) -> str:
    name = re.split(r"[/\\]", candidate)[-1]
    name = "".join(char if char.isprintable() else "_" for char in name).lstrip("-. ").rstrip(". ")
    if re.fullmatch(_RESERVED, name):
        name = f"_{name}"
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix.encode()) > _MAX_SUFFIX:
        stem, dot, suffix = name, "", ""
    room = MAX_NAME - len((dot + suffix).encode())
    name = stem.encode()[:room].decode("utf-8", "ignore").rstrip(". ") + dot + suffix
    # A name that ends like a record's would look like another file's record.
    return f"{name}_" if name.lower().endswith(BESIDE) else name
