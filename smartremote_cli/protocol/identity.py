"""Identity: what tells one version of a resource from the next, its size and its validators (RFC 9110, 8.8)."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field, replace

from .headers import Headers, parse_date

# RFC 9110, 8.8.2.2: a date is a strong validator when the answer's Date is at least one second later.
SETTLED_SECONDS = 1.0

_ENTITY_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')


class Match(enum.Enum):
    """What the validators of two answers say about their bytes."""

    SAME = enum.auto()  # a validator that both give is equal, or neither gives any
    UNPROVEN = enum.auto()  # no validator that both give can be compared
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
        """The strong tag, where a request can carry it: servers send any byte, httpx sends ASCII alone."""
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
        """Return the header that asks for a range of these bytes, or for the whole of a changed resource.

        Empty without a strong validator.
        """
        tag = self._sent_etag or (self.last_modified if self.settled and self.strong_etag is None else None)
        return {} if tag is None else {"If-Range": tag}

    def condition(self) -> dict[str, str]:
        """Return the headers with which an unchanged resource answers 304; empty when that would prove nothing."""
        if self._sent_etag is not None:
            return {"If-None-Match": self._sent_etag}
        if self.last_modified is not None and self.settled:
            return {"If-Modified-Since": self.last_modified}
        return {}


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
    """Return *value* when it names a time and a request can carry it as it is, else None."""
    if value is None or not (value.isascii() and value.isprintable()) or parse_date(value) is None:
        return None
    return value


def _is_settled(modified: str | None, date: str | None) -> bool:
    if modified is None or date is None:
        return False
    then, now = parse_date(modified), parse_date(date)
    return then is not None and now is not None and (now - then).total_seconds() >= SETTLED_SECONDS


def changed(known: Identity, now: Identity) -> str:
    """Say which validator differs, with both sides."""
    if known.size is not None and now.size is not None and known.size != now.size:
        return f"the resource changed: {known.size} bytes before, {now.size} now"
    tags = Identity(None, known.etag).compare(Identity(None, now.etag))
    dates = Identity(None, None, known.last_modified).compare(Identity(None, None, now.last_modified))
    if tags is Match.DIFFERENT or (tags is Match.UNPROVEN and dates is not Match.DIFFERENT):
        return f"the resource changed: ETag {known.etag} before, {now.etag} now"
    return f"the resource changed: Last-Modified {known.last_modified} before, {now.last_modified} now"
