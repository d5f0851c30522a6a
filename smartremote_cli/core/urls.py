"""URLs as text: what may be shown of them, where they point, and which file name they suggest."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote, urlsplit

from ..errors import UsageError

# Names are cut so that NAME.part.tmp still fits the 255 bytes that file systems allow.
MAX_NAME = 240
BESIDE = (".part", ".part.tmp", ".part.sums")  # how names end that belong to another file
_MAX_SUFFIX = 16  # what is longer is no suffix, and is cut like the rest
_MAX_DISPOSITION = 4096  # more than the longest name takes; what follows would cost time, not tell more

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(\[[^\]@]*\]|[^:@\[\]]*)(:\d+)?", re.ASCII)
# These are compiled when they are first used: many runs have no use for them.
_PARAMETER = r"""(?s:([^\s;="]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*)))"""
_EXTENDED = r"(?a:([\w!#$&+^`{}~-]+)'[^']*'(\S+))"
_RESERVED = r"(?i:(con|prn|aux|nul|com\d|lpt\d)(\..*)?)"


def check_url(url: str) -> str:
    """Return *url* without its fragment; `UsageError` unless it is an http or https URL with a host."""
    if any(char.isspace() or ord(char) < 32 or "\x7f" <= char <= "\x9f" for char in url):
        raise UsageError(redact(url), "a URL has no spaces or control characters in it")
    if any("\ud800" <= char <= "\udfff" for char in url):
        raise UsageError(redact(url), "not a URL: it is no UTF-8")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text would show the host's neighbours: user and password
        raise UsageError(redact(url), "not a URL: its host or port is malformed") from None
    if parts.scheme.lower() not in _DEFAULT_PORTS:
        raise UsageError(redact(url), "not an http:// or https:// URL")
    if not parts.hostname or port == 0:
        raise UsageError(redact(url), "a URL needs a host")
    if not all(0 < len(label) < 64 for label in parts.hostname.removesuffix(".").split(".")):
        raise UsageError(redact(url), "no host has such a name")  # RFC 1035, 2.3.4
    return parts._replace(fragment="").geturl()


def escaped(reference: str) -> str:
    """Return a URL reference as it came in a header, spaces and bytes beyond ASCII percent-encoded."""
    data = reference.strip(" \t").encode("latin-1", "replace")
    return "".join(f"%{byte:02X}" if byte == 0x20 or byte >= 0x80 else chr(byte) for byte in data)


def redact(url: str) -> str:
    """Return *url* as it may be shown: without user:password, the query shortened.

    Of what is no URL, as little is shown as keeps an unescaped password out: with `/`, `?` or `#` in it,
    the password's beginning stands where host and port should.
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
    # A name that ends like a record's would be taken for another file's.
    return f"{name}_" if name.lower().endswith(BESIDE) else name
