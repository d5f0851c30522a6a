"""Addresses: what a URL comes to on the network: the host and port to connect to, and what the request says of both."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from ..errors import UsageError
from .urls import redact

DEFAULT_PORTS = {"http": 80, "https": 443}

# What the URL standard percent-encodes in a path and in a query (url.spec.whatwg.org, percent-encoded bytes).
# An escape, and a lone %, stay as they are. Compiled when they are first used: most URLs need neither.
_SAFE_PATH = r"[!$-;=@-_a-z|~]*"
_SAFE_QUERY = r"[!$-;=?-~]*"
_IPV4 = re.compile(r"(?:\d+\.){3}\d+", re.ASCII)


class Endpoint(NamedTuple):
    """Where a connection leads: *host* as the resolver and TLS want it, in ASCII and without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Host and port as a request to a proxy names them (RFC 9112, 3.2.3): the port is always there."""
        return f"{_in_brackets(self.host)}:{self.port}"

    @property
    def host_field(self) -> str:
        """The value of the Host field (RFC 9110, 7.2): the port only where it is not the scheme's own."""
        shown = _in_brackets(self.host)
        return shown if self.port == DEFAULT_PORTS.get(self.scheme) else f"{shown}:{self.port}"


def endpoint_of(url: str) -> Endpoint:
    """Return where to connect for *url*, which `check_url` has passed; `UsageError` for a host that cannot be.

    ASCII names go out as they are, also those that IDNA would refuse (a heart, say): the resolver decides. Only an
    encoded label that encodes nothing is taken for a slip. Names that are not ASCII are encoded (RFC 5891), and where
    IDNA has no room for a character, label by label as browsers do. An IPv6 zone is written ``%25eth0`` in a URL (RFC
    6874) and ``%eth0`` to the system.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    host = parts.hostname or ""
    if "[" in parts.netloc:
        host = host.replace("%25", "%", 1)
        _check_literal(url, host)
    elif _IPV4.fullmatch(host):
        _check_literal(url, host)
    elif not host.isascii():
        host = _idna(url, host)
    elif "xn--" in host.split("."):
        raise UsageError(redact(url), "not a URL: no host has such a name")
    return Endpoint(scheme, host, parts.port or DEFAULT_PORTS.get(scheme, 0))


def target_of(url: str) -> str:
    """Return path and query of *url* as the request line carries them: escaped, without dot segments."""
    parts = urlsplit(url)
    path = _escaped(_without_dots(parts.path), _SAFE_PATH) or "/"
    return f"{path}?{_escaped(parts.query, _SAFE_QUERY)}" if parts.query else path


def absolute_of(url: str, endpoint: Endpoint) -> str:
    """Return *url* as a proxy is asked for it (RFC 9112, 3.2.2)."""
    return f"{endpoint.scheme}://{endpoint.host_field}{target_of(url)}"


def _in_brackets(host: str) -> str:
    """Return *host* as URLs and header fields have it. A zone means nothing to another machine (RFC 6874, 1)."""
    return f"[{host.partition('%')[0]}]" if ":" in host else host


def _check_literal(url: str, host: str) -> None:
    import ipaddress

    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise UsageError(redact(url), f"not a URL: {host} is no IP address") from None


def _idna(url: str, host: str) -> str:
    import idna

    try:
        return idna.encode(host.lower()).decode("ascii")
    except UnicodeError:  # idna.IDNAError is one
        pass
    try:
        name = ".".join(map(_encoded_label, re.split("[.\u3002\uff0e\uff61]", host)))
    except UnicodeError:
        raise UsageError(redact(url), "not a URL: its host is no internationalized domain name") from None
    if not all(0 < len(label) < 64 for label in name.removesuffix(".").split(".")):
        raise UsageError(redact(url), "not a URL: its host is too long for a domain name")
    return name


def _encoded_label(label: str) -> str:
    """Return *label* in ASCII: names with emoji are registered and used, though IDNA has no room for them (RFC 3492).

    A character that stands for another one (a full-width letter, say) is refused: it may be there to deceive.
    """
    import unicodedata

    folded = label.lower().replace("\ufe0f", "")  # a wish for the coloured form of a character
    if folded.isascii():
        return folded
    if not folded.isprintable() or " " in folded or unicodedata.normalize("NFKC", folded) != folded:
        raise UnicodeError("no name has such a character")
    return "xn--" + folded.encode("punycode").decode("ascii")


def _escaped(text: str, safe: str) -> str:
    if re.fullmatch(safe, text):
        return text
    kept = re.compile(safe.removesuffix("*"))
    return "".join(
        char if kept.match(char) else "".join(f"%{byte:02X}" for byte in char.encode()) for char in text
    )


def _without_dots(path: str) -> str:
    """Return *path* without "." and ".." segments (RFC 3986, 5.2.4)."""
    segments = path.split("/")
    if "." not in segments and ".." not in segments:
        return path
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[max(1, len(kept) - 1) :]  # the first is the empty one before the root
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept)
