"""Identity: what tells one version of a resource from the next, its size and its validators (RFC 9110, 8.8)."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field, replace

from .evidence import CHECKED_LATER, CODING, Evidence, differing, evidence_of
from .headers import Headers, only, parse_date

# RFC 9110, 8.8.2.2: a date is a strong validator when the answer's Date is at least one second later.
SETTLED_SECONDS = 1.0

# A change within this many seconds before the answer may be followed by another that the validators do not show:
# nginx and Apache make an ETag of the size and of the date in seconds. One second is the date's unit, the other is for
# clocks and file systems that count coarsely (FAT counts in two seconds); git treats such entries as racy, too.
RACY_SECONDS = 2.0

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
    *racy* says that the resource had changed at most `RACY_SECONDS` before: the next change may show the same
    validators. *evidence* is what else the answer says of the bytes, by field: it can prove a difference, never
    sameness, and is never sent.
    """

    size: int | None
    etag: str | None = None
    last_modified: str | None = None
    settled: bool = field(default=False, compare=False)
    racy: bool = field(default=False, compare=False)
    evidence: Evidence = field(default=(), compare=False)

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
    def coding(self) -> str | None:
        """The content coding that the bytes are in, None where no answer has named one."""
        return dict(self.evidence).get(CODING)

    @property
    def is_strong(self) -> bool:
        """Whether equal validators prove equal bytes, as far as the standard goes: what holds a transfer together."""
        return self.strong_etag is not None or (self.last_modified is not None and self.settled)

    @property
    def is_proof(self) -> bool:
        """Whether equal validators prove that bytes from an earlier run are still the resource's."""
        return self.is_strong and not self.racy

    def compare(self, now: Identity) -> Match:
        """Compare the validators, not the sizes, of this identity with those of a later answer.

        Any text that differs proves another version, well-formed or not; only a well-formed validator can agree.
        `W/` of the same tag is no change. Two weak tags that differ prove nothing, not even with equal dates, nor do
        the same validators of a body that is coded in one answer and not in the other.
        """
        if self.difference(now) is not None:
            return Match.DIFFERENT
        if self._is_weak and now._is_weak and self.etag != now.etag:
            return Match.UNPROVEN
        if self.coding != now.coding:
            return Match.UNPROVEN
        agreed = not (self.has_validator or now.has_validator)
        agreed = agreed or (self.etag is not None and self.etag == now.etag)
        agreed = agreed or (self.last_modified is not None and self.last_modified == now.last_modified)
        return Match.SAME if agreed else Match.UNPROVEN

    def difference(self, now: Identity) -> tuple[str, str, str] | None:
        """Return the name, the text here and the text in *now* of the first field that proves another version."""
        are_weak = self._is_weak and now._is_weak
        agree = self.strong_etag is not None and self.strong_etag == now.strong_etag
        before, after = self._texts(with_tag=not are_weak), now._texts(with_tag=not are_weak)
        return differing(before, after, ignoring=CHECKED_LATER if agree else ())

    @property
    def _is_weak(self) -> bool:
        return self.etag is not None and self.strong_etag is None

    def _texts(self, *, with_tag: bool) -> dict[str, str]:
        """Return every text that tells versions apart, by field."""
        texts = {"ETag": self.etag if with_tag else None, "Last-Modified": self.last_modified}
        return {name: text for name, text in texts.items() if text is not None} | dict(self.evidence)

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


def identity_of(headers: Headers, size: int | None, *, whole: bool = False) -> Identity:
    """Return the identity that *headers* give to a resource of *size* bytes.

    A malformed validator is evidence and nothing more. *whole* says that the body is the whole resource.
    """
    etag, modified = well_formed_tag(only(headers, "etag")), well_formed_date(only(headers, "last-modified"))
    date = headers.get("date")
    evidence = evidence_of(headers, whole=whole, etag=etag, last_modified=modified)
    age = _age(modified, date)
    return Identity(
        size,
        etag,
        modified,
        settled=age is not None and age >= SETTLED_SECONDS,
        racy=age is not None and age <= RACY_SECONDS,
        evidence=evidence,
    )


def well_formed_tag(value: str | None) -> str | None:
    """Return *value* when it is an entity tag (RFC 9110, 8.8.3), else None."""
    return value if value is not None and _ENTITY_TAG.fullmatch(value) else None


def well_formed_date(value: str | None) -> str | None:
    """Return *value* when it names a time and a request can carry it as it is, else None."""
    if value is None or not (value.isascii() and value.isprintable()) or parse_date(value) is None:
        return None
    return value


def _age(modified: str | None, date: str | None) -> float | None:
    """Return how many seconds after the change an answer of that *date* was made; None where one is missing."""
    if modified is None or date is None:
        return None
    then, now = parse_date(modified), parse_date(date)
    return None if then is None or now is None else (now - then).total_seconds()


def changed(known: Identity, now: Identity) -> str:
    """Say what differs, with both sides."""
    if known.size is not None and now.size is not None and known.size != now.size:
        return f"the resource changed: {known.size} bytes before, {now.size} now"
    proven = known.difference(now)
    if proven is None and known.etag == now.etag:
        return f"the resource changed: Last-Modified {known.last_modified} before, {now.last_modified} now"
    name, before, after = proven or ("ETag", known.etag, now.etag)
    return f"the resource changed: {name} {before} before, {after} now"
