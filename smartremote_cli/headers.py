"""What an answer's status and headers promise, and whether two answers speak of the same bytes.

Strategy: `read_answer` turns a status line and header fields into one of a few promises, each of which says
exactly which bytes the body will hold. It believes nothing that is doubled, malformed or contradictory
(RFC 9110, 14.4 and 15.3.7; RFC 9112, 6.3): such an answer becomes `Unbelievable`, and none of its body is
written. `Identity.compare` then tells one version of the resource from the next.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from .blocks import MAX_SIZE
from .ranges import ByteRange

# What is told apart by its class and never compared is a NamedTuple, here and elsewhere: a frozen dataclass costs
# six times as much, at every start of the program.

# A server may begin a little before what was asked for; more than this is cheaper to ask again.
MOST_SKIPPED = 1024 * 1024

# RFC 9110, 8.8.2.2: a date is a strong validator when the resource had not changed for a second before it was sent.
SETTLED = 1.0

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII | re.IGNORECASE)
_UNSATISFIED = re.compile(r"bytes \*/(\d{1,19})", re.ASCII | re.IGNORECASE)
_DIGITS = re.compile(r"\d{1,19}", re.ASCII)
_ENTITY_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')


class Headers:
    """Header fields in the order received; names are case-insensitive, doubles are kept."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields = tuple((name.lower(), value.strip(" \t")) for name, value in fields)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._fields)

    def all(self, name: str) -> list[str]:
        """Return every value of the field *name* (lower case), in order."""
        return [value for key, value in self._fields if key == name]

    def get(self, name: str) -> str | None:
        """Return the first value of the field *name* (lower case), or None."""
        return next((value for key, value in self._fields if key == name), None)


class Match(enum.Enum):
    """What the validators of two answers say about their bytes."""

    SAME = enum.auto()  # a validator that both give is equal, or neither gives any
    UNPROVEN = enum.auto()  # nothing that both give can be compared
    DIFFERENT = enum.auto()


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one version of a resource from the next (RFC 9110, 8.8).

    *size* is in bytes, None while no answer has stated it. *etag* and *last_modified* are kept as received.
    *settled* says that the date was at least a second old when it was sent, which makes it a strong validator.
    """

    size: int | None
    etag: str | None = None
    last_modified: str | None = None
    settled: bool = field(default=False, compare=False)

    @property
    def strong_etag(self) -> str | None:
        return None if self.etag is None or self.etag.startswith("W/") else self.etag

    @property
    def _sent_etag(self) -> str | None:
        """The strong tag as a request may carry it: httpx sends ASCII alone, servers send any byte."""
        return self.strong_etag if self.strong_etag is not None and self.strong_etag.isascii() else None

    @property
    def has_validator(self) -> bool:
        return self.etag is not None or self.last_modified is not None

    @property
    def is_strong(self) -> bool:
        """Whether equal validators prove equal bytes."""
        return self.strong_etag is not None or (self.last_modified is not None and self.settled)

    def compare(self, now: Identity) -> Match:
        """Compare the validators, not the sizes, of this identity with those of a later answer.

        A weak tag proves nothing against another weak tag, and `W/` of the same tag is no change.
        """
        agreed = not (self.has_validator or now.has_validator)
        if self.etag is not None and now.etag is not None:
            if self.etag == now.etag:
                agreed = True
            elif self.strong_etag is not None or now.strong_etag is not None:
                if self.etag.removeprefix("W/") != now.etag.removeprefix("W/"):
                    return Match.DIFFERENT
        if self.last_modified is not None and now.last_modified is not None:
            if self.last_modified != now.last_modified:
                return Match.DIFFERENT
            agreed = True
        return Match.SAME if agreed else Match.UNPROVEN

    def sized(self, size: int | None) -> Identity:
        return replace(self, size=size)

    def precondition(self) -> dict[str, str]:
        """Return the header that makes a range request hold to these bytes; empty without a strong validator.

        If-Match rather than If-Range for tags: a change then costs a 412, not the beginning of a whole body.
        """
        if self._sent_etag is not None:
            return {"If-Match": self._sent_etag}
        if self.last_modified is not None and self.settled:
            return {"If-Range": self.last_modified}
        return {}

    def if_range(self) -> dict[str, str]:
        """Return the header that asks for a range of these bytes or for all of others; empty without strong validator.

        It is for whoever can use either.
        """
        tag = self._sent_etag or (self.last_modified if self.settled and self.strong_etag is None else None)
        return {} if tag is None else {"If-Range": tag}

    def condition(self) -> dict[str, str]:
        """Return the headers that make an unchanged resource answer 304; empty when that would prove nothing."""
        if self._sent_etag is not None:
            return {"If-None-Match": self._sent_etag}
        if self.last_modified is not None and self.settled:
            return {"If-Modified-Since": self.last_modified}
        return {}


class Partial(NamedTuple):
    """A believable 206: the body holds exactly the bytes *body*. The size is None where the total was `*`."""

    body: ByteRange
    identity: Identity


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
    """A 412: changed, or a server that mistreats preconditions."""


class Unproven(NamedTuple):
    """A body that may or may not be the whole resource: to be asked again without Range."""

    why: str


class Unbelievable(NamedTuple):
    """An answer that contradicts itself, the request or the standard: its body is never written.

    *size* is the total that a Content-Range named where only Content-Length spoke against it.
    """

    why: str
    size: int | None = None


class Failed(NamedTuple):
    """Any other status: the transfer's patience and the status decide."""

    status: int


Answer = Partial | Whole | Unsatisfiable | NotModified | PreconditionFailed | Unproven | Unbelievable | Failed


class Asked(NamedTuple):
    """What a request asked for: a range, the last *suffix* bytes, or everything; and whether conditionally.

    *inside* says that an earlier run knows the range to lie within the resource.
    """

    range: ByteRange | None = None
    suffix: int | None = None
    conditional: bool = False
    inside: bool = False

    @property
    def header(self) -> str | None:
        """The value of the Range header, or None for a request of everything."""
        if self.range is not None:
            return self.range.header
        return None if self.suffix is None else f"bytes=-{self.suffix}"


EVERYTHING = Asked()


def identity_of(headers: Headers, size: int | None) -> Identity:
    """Return the identity that *headers* give to a resource of *size* bytes; malformed validators count as absent."""
    tags = headers.all("etag")
    etag = well_formed_tag(tags[0]) if len(tags) == 1 else None
    dates = headers.all("last-modified")
    modified = well_formed_date(dates[0]) if len(dates) == 1 else None
    return Identity(size, etag, modified, settled=_is_settled(modified, headers.get("date")))


def well_formed_tag(value: str | None) -> str | None:
    """Return *value* when it is an entity tag (RFC 9110, 8.8.3), else None."""
    return value if value is not None and _ENTITY_TAG.fullmatch(value) else None


def well_formed_date(value: str | None) -> str | None:
    """Return *value* when it names a time and can be sent back as it is, else None."""
    if value is None or not (value.isascii() and value.isprintable()) or parse_date(value) is None:
        return None
    return value


def read_answer(status: int, headers: Headers, asked: Asked) -> Answer:
    """Return what an answer to *asked* promises. Whatever is `Partial` or `Whole` may be written, nothing else."""
    match status:
        case 206:
            return _read_partial(headers, asked)
        case 200 | 203:  # a proxy has changed something about it (RFC 9110, 15.3.4)
            return _read_whole(headers, asked)
        case 304 if asked.conditional:
            return NotModified(identity_of(headers, None))
        case 412:
            return PreconditionFailed()
        case 416:
            ranges = headers.all("content-range")
            named = _UNSATISFIED.fullmatch(ranges[0]) if len(ranges) == 1 else None
            size = int(named[1]) if named else None
            return Unsatisfiable(size if size is None or size <= MAX_SIZE else None)
        case _ if 200 <= status < 400:
            return Unbelievable(f"status {status} to a GET")
        case _:
            return Failed(status)


def _read_partial(headers: Headers, asked: Asked) -> Answer:
    length = content_length(headers)
    ranges = headers.all("content-range")
    if isinstance(length, Unbelievable):
        return length
    if asked.header is None:
        if length is None or not _is_all(ranges, length) or coding_of(headers) is not None:
            return Unbelievable("206 Partial Content to a request without Range")
        return Whole(identity_of(headers, length), None, framed=True)
    if any(value.lower().startswith("multipart/") for value in headers.all("content-type")):
        return Unbelievable("several parts where one range was asked for")
    if coding_of(headers) is not None:
        return Unproven(f"a range of a body coded as {coding_of(headers)}")
    parsed = _CONTENT_RANGE.fullmatch(ranges[0]) if len(ranges) == 1 else None
    if parsed is None:
        return Unbelievable(f"Content-Range: {', '.join(ranges) or 'missing'}")
    first, last = int(parsed[1]), int(parsed[2])
    total = None if parsed[3] == "*" else int(parsed[3])
    if last < first or (total is not None and last >= total) or max(last + 1, total or 0) > MAX_SIZE:
        return Unbelievable(f"Content-Range: {ranges[0]}")
    body = ByteRange(first, last + 1)
    if length is not None and length != len(body):
        at_start = asked.range is not None and first == asked.range.start
        why = f"Content-Length: {length} with Content-Range: {ranges[0]}"
        return Unbelievable(why, size=total if at_start else None)
    if asked.range is not None:
        wanted = asked.range.start
        if not wanted - MOST_SKIPPED <= first <= wanted < body.stop:
            return Unbelievable(f"Content-Range: {ranges[0]} where {asked.header} was asked for")
    return Partial(body, identity_of(headers, total))


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
    elif headers.all("content-range") and not _is_all(headers.all("content-range"), length):
        return Unbelievable("200 with a Content-Range to a request without Range")
    if length is not None and length > MAX_SIZE:
        return Unbelievable(f"Content-Length: {length}")
    chunked = bool(headers.all("transfer-encoding"))
    return Whole(identity_of(headers, length), coding, framed=chunked or length is not None)


def _is_all(ranges: list[str], length: int | None) -> bool:
    """Return whether the fields *ranges* say that a body of *length* bytes is all there is."""
    return length is not None and ranges in ([f"bytes 0-{length - 1}/{length}"], [f"bytes */{length}"])


def content_length(headers: Headers) -> int | Unbelievable | None:
    """Return the announced length of the body in bytes, None without one, or why it cannot be believed."""
    values = headers.all("content-length")
    if headers.all("transfer-encoding"):
        codings = ", ".join(headers.all("transfer-encoding"))
        if values:
            return Unbelievable("Transfer-Encoding beside Content-Length")
        return None if codings.lower() == "chunked" else Unbelievable(f"Transfer-Encoding: {codings}")
    if not values:
        return None
    if len(values) > 1 or not _DIGITS.fullmatch(values[0]):
        return Unbelievable(f"Content-Length: {', '.join(values)}")
    return int(values[0])


def is_chunked(headers: Headers) -> bool:
    """Return whether the body comes in the chunked transfer coding, and in no other."""
    return ", ".join(headers.all("transfer-encoding")).lower() == "chunked"


def coding_of(headers: Headers) -> str | None:
    """Return the content codings applied to the body, or None when it is sent as it is."""
    codings = [part.strip().lower() for value in headers.all("content-encoding") for part in value.split(",")]
    return ", ".join(coding for coding in codings if coding not in ("", "identity")) or None


def parse_date(value: str) -> datetime | None:
    """Return the time that an HTTP date names (RFC 9110, 5.6.7), or None when it names none."""
    try:
        parsed = parsedate_to_datetime(value)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def retry_after(headers: Headers, now: float) -> float | None:
    """Return the seconds that Retry-After asks to wait (RFC 9110, 10.2.3), or None. *now* is Unix time."""
    value = headers.get("retry-after")
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value)  # infinite where the digits do not end
    date = parse_date(value)
    return None if date is None else max(0.0, date.timestamp() - now)


def _is_settled(modified: str | None, date: str | None) -> bool:
    if modified is None or date is None:
        return False
    then, now = parse_date(modified), parse_date(date)
    return then is not None and now is not None and (now - then).total_seconds() >= SETTLED
