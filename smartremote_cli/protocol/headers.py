"""Headers: the fields of an answer, and what some of them say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


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


def coding_of(headers: Headers) -> str | None:
    """Return the content codings of the body (RFC 9110, 8.4), or None when it is sent as it is."""
    codings = [part.strip().lower() for value in headers.all("content-encoding") for part in value.split(",")]
    return ", ".join(coding for coding in codings if coding not in ("", "identity")) or None


def is_chunked(headers: Headers) -> bool:
    """Return whether the body comes in the chunked transfer coding, and in no other."""
    return ", ".join(headers.all("transfer-encoding")).lower() == "chunked"


def retry_after(headers: Headers, now: float) -> float | None:
    """Return the seconds that Retry-After asks to wait (RFC 9110, 10.2.3), or None. *now* is Unix time."""
    value = headers.get("retry-after")
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value)  # more digits than a float has room for give infinity
    date = parse_date(value)
    return None if date is None else max(0.0, date.timestamp() - now)


def parse_date(value: str) -> datetime | None:
    """Return the time that an HTTP date names (RFC 9110, 5.6.7), or None when it names none."""
    try:
        parsed = parsedate_to_datetime(value)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
