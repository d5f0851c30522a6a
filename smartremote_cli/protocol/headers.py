"""Headers: the fields of an answer, and what some of them say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

# Words in Content-Encoding that name no coding: blank, charsets, media types, transfer encodings of mail, and what S3
# clients and hand-written servers put there. The body is stored as it is sent in any case.
_NO_CODING = (
    r"(?:|identity|none|null|no|off|raw|plain|text|default|binary|uncompressed|aws-chunked|chunked|[78]bit|"
    r"utf-?(?:8|16|32)[a-z]*|(?:us-)?ascii|iso-8859-\d+|latin-?\d|windows-\d+|cp\d+|\*|[a-z0-9.+-]+/[a-z0-9.+*-]+)"
)

_MONTHS = "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"

# The form in which servers are to send dates (RFC 9110, 5.6.7).
_IMF_FIXDATE = (
    rf"(?a:[A-Z][a-z]{{2}}, (\d\d) ({'|'.join(_MONTHS)}) (\d{{4}}) ([01]\d|2[0-3]):([0-5]\d):([0-5]\d) GMT)"
)


class Headers:
    """Header fields in the order received; names are case-insensitive, and repeated fields are kept."""

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


def only(headers: Headers, name: str) -> str | None:
    """Return the value of the field *name* (lower case), also where several fields repeat it; None where they differ.

    A back end and its proxy may each add the same field.
    """
    values = set(headers.all(name))
    return values.pop() if len(values) == 1 else None


def coding_of(headers: Headers) -> str | None:
    """Return the content codings of the body (RFC 9110, 8.4), or None when it is sent as it is.

    Servers also send words there that name no coding: charsets, media types, `none`, `binary`. `x-gzip` and
    `x-compress` are other names of `gzip` and `compress` (8.4.1).
    """
    codings = [
        part.strip(" \t\"'").lower() for value in headers.all("content-encoding") for part in value.split(",")
    ]
    return (
        ", ".join(coding.removeprefix("x-") for coding in codings if not re.fullmatch(_NO_CODING, coding))
        or None
    )


def is_chunked(headers: Headers) -> bool:
    """Return whether the body comes in the chunked transfer coding, and in no other.

    `chunked` twice is what proxies make that add the field to one that is there: the body is coded once. `identity`
    is no coding (RFC 2616, 3.6), and a blank is none either.
    """
    parts = [
        part.strip(" \t").lower() for value in headers.all("transfer-encoding") for part in value.split(",")
    ]
    return {part for part in parts if part not in ("", "identity")} == {"chunked"}


def retry_after(headers: Headers, now: float) -> float | None:
    """Return the seconds that Retry-After asks to wait (RFC 9110, 10.2.3), or None.

    A date is held against the Date of the same answer, because the two clocks may differ; *now*, Unix time, stands in
    where the answer has none.
    """
    value = headers.get("retry-after")
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value)  # more digits than a float has room for give infinity
    until, sent = parse_date(value), parse_date(headers.get("date") or "")
    return (
        None if until is None else max(0.0, until.timestamp() - (now if sent is None else sent.timestamp()))
    )


def parse_date(value: str) -> datetime | None:
    """Return the time that an HTTP date names (RFC 9110, 5.6.7), or None when it names none."""
    usual = re.fullmatch(_IMF_FIXDATE, value)
    if usual is not None:
        day, month, year, *time = usual.groups()
        hour, minute, second = map(int, time)
        try:
            return datetime(int(year), _MONTHS.index(month) + 1, int(day), hour, minute, second, tzinfo=UTC)
        except ValueError:  # there is no such day
            return None
    from email.utils import (
        parsedate_to_datetime,  # for other forms: it is a tenth of the time that a start takes
    )

    try:
        parsed = parsedate_to_datetime(value)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
