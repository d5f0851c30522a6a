"""What an answer's status and headers promise.

Strategy: `read_answer` turns a status and header fields into one of a few promises, each of which says exactly which
bytes the body will hold. It believes nothing that is doubled, malformed or contradictory (RFC 9110, 14.4 and 15.3.7;
RFC 9112, 6.3): such an answer becomes `Unbelievable`, and none of its body is written.

Values that are told apart by their class and never compared are NamedTuples, here and elsewhere: to define a frozen
dataclass takes six times as long, at every start of the program.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..core.blocks import MAX_SIZE
from ..core.ranges import ByteRange
from .headers import Headers, coding_of, is_chunked
from .identity import Identity, identity_of

# Bytes that a server may begin before the range that it was asked for (RFC 9110, 15.3.7 lets it send more). By
# judgement: more than this is cheaper to ask for again than to skip.
MAX_SKIPPED = 1024 * 1024

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII | re.IGNORECASE)

# `re` compiles it when it is first used, which is seldom: compiling all patterns would slow every start.
_UNSATISFIED = r"(?ai:bytes \*/(\d{1,19}))"

_DIGITS = re.compile(r"\d{1,19}", re.ASCII)


class Partial(NamedTuple):
    """A believable 206: the body holds exactly the bytes *body*. The size is None where the total was `*`.

    *coding* is what these are bytes of, where a strong validator says that it is the same in every answer.
    """

    body: ByteRange
    identity: Identity
    coding: str | None = None


class Whole(NamedTuple):
    """A 200: the body is the resource from byte 0, coded as *coding* says when that is not None.

    *framed* tells whether the end of the body can be told from a broken connection.
    """

    identity: Identity
    coding: str | None
    framed: bool


class Unsatisfiable(NamedTuple):
    """A 416, with the size that it names."""

    size: int | None


class NotModified(NamedTuple):
    """A 304 to a request that carried a condition."""

    identity: Identity


class PreconditionFailed(NamedTuple):
    """A 412: the resource changed, or the server handles preconditions wrongly."""


class Unproven(NamedTuple):
    """A body that may or may not be the whole resource: ask again without Range."""

    why: str


class Unbelievable(NamedTuple):
    """An answer that contradicts itself, the request or the standard: its body is never written.

    *size* is the total that a Content-Range named, where Content-Length alone contradicted it.
    """

    why: str
    size: int | None = None


class Failed(NamedTuple):
    """Any other status: whether to ask again, the status and the transfer's patience decide."""

    status: int


Answer = Partial | Whole | Unsatisfiable | NotModified | PreconditionFailed | Unproven | Unbelievable | Failed


class Asked(NamedTuple):
    """What a request asked for: a range, the last *suffix* bytes, or everything; and whether conditionally.

    *inside* says that the range lies within the resource, as an earlier run has found.
    """

    range: ByteRange | None = None
    suffix: int | None = None
    conditional: bool = False
    inside: bool = False

    @property
    def header(self) -> str | None:
        """The value of the Range header, or None for a request of everything."""
        if self.range is not None:
            is_open = self.range.stop >= MAX_SIZE
            return f"bytes={self.range.start}-" if is_open else self.range.header
        return None if self.suffix is None else f"bytes=-{self.suffix}"


EVERYTHING = Asked()


def read_answer(status: int, headers: Headers, asked: Asked) -> Answer:
    """Return what an answer to *asked* promises. Only the body of a `Partial` or a `Whole` may be written."""
    match status:
        case 206:
            return _read_partial(headers, asked)
        case 200 | 203:  # 203: a proxy has changed something about it (RFC 9110, 15.3.4)
            return _read_whole(headers, asked)
        case 304 if asked.conditional:
            return NotModified(identity_of(headers, None))
        case 412:
            return PreconditionFailed()
        case 416:
            ranges = _content_ranges(headers)
            named = re.fullmatch(_UNSATISFIED, ranges[0]) if len(ranges) == 1 else None
            size = int(named[1]) if named else None
            return Unsatisfiable(size if size is None or size <= MAX_SIZE else None)
        case _ if 200 <= status < 400:
            return Unbelievable(f"status {status} to a GET")
        case _:
            return Failed(status)


def _read_partial(headers: Headers, asked: Asked) -> Answer:
    length = content_length(headers)
    ranges = _content_ranges(headers)
    if isinstance(length, Unbelievable):
        return length
    if asked.header is None:
        if length is None or not _is_all(ranges, length) or coding_of(headers) is not None:
            return Unbelievable("206 Partial Content to a request without Range")
        return Whole(identity_of(headers, length, whole=True), None, framed=True)
    if any(value.lower().startswith("multipart/") for value in headers.all("content-type")):
        return Unbelievable("several parts where one range was asked for")
    coding = coding_of(headers)
    if coding is not None and (length is None or identity_of(headers, None).strong_etag is None):
        return Unproven(f"a range of a body with Content-Encoding {coding}")
    parsed = _CONTENT_RANGE.fullmatch(ranges[0]) if len(ranges) == 1 else None
    if parsed is None:
        return Unbelievable(f"Content-Range: {', '.join(ranges) or 'missing'}")
    first, last = int(parsed[1]), int(parsed[2])
    total = None if parsed[3] == "*" else int(parsed[3])
    if last < first or (total is not None and last >= total) or max(last + 1, total or 0) > MAX_SIZE:
        return Unbelievable(f"Content-Range: {ranges[0]}")
    body = ByteRange(first, last + 1)
    if length is not None and length != len(body):
        if coding is not None:  # coded after the range was cut
            return Unproven(f"a range of a body with Content-Encoding {coding}")
        at_start = asked.range is not None and first == asked.range.start
        why = f"Content-Length: {length} with Content-Range: {ranges[0]}"
        return Unbelievable(why, size=total if at_start else None)
    if asked.range is not None:
        wanted = asked.range.start
        if not wanted - MAX_SKIPPED <= first <= wanted < body.stop:
            return Unbelievable(f"Content-Range: {ranges[0]} where {asked.header} was asked for")
    return Partial(body, identity_of(headers, total), coding)


def _read_whole(headers: Headers, asked: Asked) -> Answer:
    length = content_length(headers)
    if isinstance(length, Unbelievable):
        return length
    coding = coding_of(headers)
    if asked.header is not None:
        if headers.all("content-range"):
            return Unproven("200 with a Content-Range")
        if any(value.lower().startswith("multipart/byteranges") for value in headers.all("content-type")):
            return Unproven("200 with several parts")
        span = asked.suffix if asked.range is None else len(asked.range)
        if length is not None and length == span and coding is None:
            return Unproven("200 exactly as long as the range that was asked for")
    elif headers.all("content-range") and not _is_all(_content_ranges(headers), length):
        return Unbelievable("200 with a Content-Range to a request without Range")
    if length is not None and length > MAX_SIZE:
        return Unbelievable(f"Content-Length: {length}")
    chunked = bool(headers.all("transfer-encoding"))
    return Whole(identity_of(headers, length, whole=True), coding, framed=chunked or length is not None)


def _content_ranges(headers: Headers) -> list[str]:
    """Return the values of Content-Range: one, where a back end and its proxy have both sent the same."""
    return list(dict.fromkeys(headers.all("content-range")))


def _is_all(ranges: list[str], length: int | None) -> bool:
    """Return whether the Content-Range fields *ranges* say that a body of *length* bytes is the whole resource."""
    return length is not None and ranges in ([f"bytes 0-{length - 1}/{length}"], [f"bytes */{length}"])


def content_length(headers: Headers) -> int | Unbelievable | None:
    """Return the announced length of the body in bytes, None without one, or why it cannot be believed.

    What comes several times with the same value counts once (RFC 9110, 8.6).
    """
    values = list(dict.fromkeys(headers.all("content-length")))
    if headers.all("transfer-encoding"):
        if values:
            return Unbelievable("Transfer-Encoding beside Content-Length")
        codings = ", ".join(headers.all("transfer-encoding"))
        return None if is_chunked(headers) else Unbelievable(f"Transfer-Encoding: {codings}")
    if not values:
        return None
    if len(values) > 1 or not _DIGITS.fullmatch(values[0]):
        return Unbelievable(f"Content-Length: {', '.join(values)}")
    return int(values[0])
