"""HTTP/1 heads: the request's is built, the answer's is read, and how the body ends is decided (RFC 9112).

Strict where it matters: framing (6.3), which a wrong guess turns into wrong bytes, and what could smuggle a second
request into one head. Forgiving where nothing depends on it: line ends, a missing reason, lines that are no fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .answers import Unbelievable, content_length
from .headers import Headers, is_chunked

# Bytes of an answer's head, its interim answers counted in. RFC 9112, 3 and 5 set no bound; servers send a few KiB,
# and curl gives up at 300 KiB.
MAX_HEAD = 256 * 1024

_MAX_DIGITS = 19  # of a Content-Length, as `content_length` takes it: a longer one is beyond any file's size
_MAX_SHOWN = 80  # characters of a malformed line that an error quotes: what fits a terminal's line

_PROTOCOL = b"http/1."
_END_OF_HEAD = re.compile(rb"\n\r?\n")
# The reason is optional: some servers leave out even the blank before it (scrapy/scrapy#345).
_STATUS_LINE = re.compile(rb"(?i:HTTP)/1\.(\d) ([1-9]\d\d)(?: [^\x00\x0b\x0c\r]*)?")
# A field as RFC 9110, 5 has it. Its value may hold any byte but those that could end or hide a line.
_NAME = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE = rb"[^\x00\x0b\x0c\r\n]*"
_FIELD = re.compile(_NAME + rb":" + _VALUE)
_REQUEST_WORD = rb"[\x21-\x7e]+"
# A head that goes on into a chunked body has lost the empty line that ends it.
_SIZE_OF_CHUNK = rb"[0-9A-Fa-f]{1,15}[ \t]*"
# Fields that an answer's meaning hangs on: a malformed one cannot be left out. Compiled when it is first used: few
# servers send such lines.
_WEIGHTY = rb"(?i:\s*(content-|transfer-encoding|etag|last-modified|location|connection|\S*digest))"


class GarbledError(ValueError):
    """What came is not the head of an HTTP/1 answer."""


class Head(NamedTuple):
    """Status line and fields of an answer. *minor* is the 1 of HTTP/1.1."""

    minor: int
    status: int
    headers: Headers

    @property
    def is_interim(self) -> bool:
        """Whether the answer proper is still to come (RFC 9110, 15.2)."""
        return 100 <= self.status < 200

    @property
    def persists(self) -> bool:
        """Whether the connection may be used again after the body (RFC 9112, 9.3).

        With HTTP/1.0 the server has to say so. Chunks in HTTP/1.0, or beside a length, are a faulty framing after
        which the connection is closed (6.1).
        """
        options = [option.strip() for option in ",".join(self.headers.all("connection")).lower().split(",")]
        is_faulty = self.headers.all("transfer-encoding") and (
            self.minor == 0 or self.headers.all("content-length")
        )
        return "close" not in options and (self.minor >= 1 or "keep-alive" in options) and not is_faulty


class Framing(NamedTuple):
    """What ends a body: its *length* in bytes, the last of its chunks, or, with neither, the connection's end."""

    length: int | None = None
    chunked: bool = False


def build_request(target: str, host: str, fields: Iterable[tuple[str, str]], *, method: str = "GET") -> bytes:
    """Return the head of a request. ValueError for what would not be the one request that it is meant to be.

    *host* is the value of the Host field, unless one of *fields* is a Host field itself.
    """
    given = list(fields)
    if not any(name.lower() == "host" for name, _ in given):
        given.insert(0, ("Host", host))
    try:
        words = method.encode("ascii"), target.encode("ascii")
        pairs = [(name.encode("ascii"), value.encode("latin-1")) for name, value in given]
    except UnicodeError:
        raise ValueError("a request can carry ASCII alone") from None
    if not all(re.fullmatch(_REQUEST_WORD, word) for word in words):
        raise ValueError("a request line with blanks or control characters in it")
    for name, value in pairs:
        if not (re.fullmatch(_NAME, name) and re.fullmatch(_VALUE, value)):
            raise ValueError(f"the value of {name.decode()!r} or its name cannot be part of a header")
    lines = [b"%s %s HTTP/1.1" % words, *(b"%s: %s" % pair for pair in pairs), b"", b""]
    return b"\r\n".join(lines)


def may_be_head(data: bytes) -> bool:
    """Return whether what begins with *data* may still become an answer's head."""
    return _PROTOCOL.startswith(data[: len(_PROTOCOL)].lower())


def is_http2(data: bytes) -> bool:
    """Return whether *data* begins like HTTP/2: every server begins with a SETTINGS frame, or ends with GOAWAY.

    A frame has 24 bits of length, its type (4, 7), flags, and the stream, which is 0 for both (RFC 9113, 3.4 and 4.1).
    """
    return len(data) >= 9 and data[:1] == b"\x00" and data[3] in (4, 7) and data[5:9] == bytes(4)


def end_of_head(data: bytes, since: int = 0) -> int | None:
    """Return where the first head in *data* ends, None when it does not yet. Up to *since* it was looked for before."""
    found = _END_OF_HEAD.search(data, max(0, since - 2))
    return None if found is None else found.end()


def parse_head(data: bytes) -> Head:
    """Return what *data*, one head with the empty line that ends it, says; `GarbledError` for what is none."""
    first, *lines = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    found = _STATUS_LINE.fullmatch(first)
    if found is None:
        raise GarbledError(f"status line {_shown(first)}")
    pairs = (line.split(b":", 1) for line in drop_malformed_fields(unfold(lines)))
    fields = [(name.decode("ascii"), value.decode("latin-1")) for name, value in pairs]
    return Head(int(found[1]), int(found[2]), Headers(_one_framing(fields)))


def unfold(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield whole fields: a line that begins with a blank continues the one before (obs-fold; RFC 9112, 5.2)."""
    whole: bytes | None = None
    for line in lines:
        if line[:1] in (b" ", b"\t") and whole is not None:
            whole += b" " + line.lstrip(b" \t")
            continue
        if whole:
            yield whole
        whole = line
    if whole:
        yield whole


def drop_malformed_fields(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the *lines* that are header fields, without those that are none and say nothing that counts.

    Servers send such lines, and browsers and curl pass over them. `GarbledError` where one may have been a field
    that the answer's meaning hangs on, or is of the body.
    """
    for line in lines:
        if _FIELD.fullmatch(line):
            yield line
        elif re.match(_WEIGHTY, line) or re.fullmatch(_SIZE_OF_CHUNK, line):
            raise GarbledError(f"header line {_shown(line)}")


def framing_of(status: int, headers: Headers) -> Framing:
    """Return what ends the body of an answer to a GET (RFC 9112, 6.3)."""
    if 100 <= status < 200 or status in (204, 304):
        return Framing(length=0)
    if headers.all("transfer-encoding"):  # overrides Content-Length, which `read_answer` refuses beside it
        return Framing(chunked=is_chunked(headers))
    length = content_length(headers)
    return Framing(length=None if isinstance(length, Unbelievable) else length)


def _one_framing(fields: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield *fields* with one Content-Length and one Transfer-Encoding at most; `GarbledError` where they contradict.

    The same length several times is that length (RFC 9110, 8.6). `chunked` twice is what proxies make that add the
    field to one that is there: the body is coded once, as every client takes it. Any other coding, and a length that
    is no number, leave the end of the body unknown.
    """
    lengths = [part.strip() for value in _all(fields, "content-length") for part in value.split(",")]
    if lengths and (len(set(lengths)) > 1 or not re.fullmatch(rf"[0-9]{{1,{_MAX_DIGITS}}}", lengths[0])):
        raise GarbledError(f"Content-Length: {', '.join(lengths)[:_MAX_SHOWN]}")
    codings = _all(fields, "transfer-encoding")
    if codings and not is_chunked(Headers(fields)):
        raise GarbledError(f"Transfer-Encoding: {', '.join(codings)[:_MAX_SHOWN]}")
    seen = set()
    for name, value in fields:
        key = name.lower()
        if key in ("content-length", "transfer-encoding"):
            if key in seen:
                continue
            seen.add(key)
            value = lengths[0] if key == "content-length" else "chunked"
        yield name, value


def _all(fields: list[tuple[str, str]], name: str) -> list[str]:
    return [value for key, value in fields if key.lower() == name]


def _shown(line: bytes) -> str:
    return repr(line[:_MAX_SHOWN].decode("latin-1"))
