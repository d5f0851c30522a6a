"""What an answer means for a transfer under way: take its body, ask otherwise, start over, or give up.

`answers.read_answer` says what an answer promises by itself. Here it is held against what is known of the
resource from earlier answers. Values in, a verdict out; the engine does what the verdict says.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from ..core.blocks import BLOCK
from ..core.ranges import ByteRange
from .answers import (
    Answer,
    Asked,
    Failed,
    NotModified,
    Partial,
    PreconditionFailed,
    Unbelievable,
    Unproven,
    Unsatisfiable,
    Whole,
)
from .identity import Identity, Match, changed

# Statuses that are about the resource or the moment, not about how it was asked for.
PLAIN_REFUSALS = frozenset({401, 402, 403, 404, 407, 408, 410, 421, 425, 429, 451})

# So many unbelievable answers in a row, and ranges are given up.
MAX_IMPLAUSIBLE = 2


class Context(NamedTuple):
    """What was asked and what is known. *known* is None for the first answer of a transfer.

    *streaming* transfers read everything in one piece. *conditioned* requests carried a precondition or a
    condition. *strict* ones hold bytes that must not change. *again* says that the same was asked once before
    without a condition, *implausible* how many unbelievable answers came in a row, *unconfirmed_size* is the size
    that one of them named.
    """

    asked: Asked
    known: Identity | None
    streaming: bool = False
    conditioned: bool = False
    strict: bool = False
    again: bool = False
    implausible: int = 0
    unconfirmed_size: int | None = None


class Accept(NamedTuple):
    """Take the body: it is the bytes from *start* on, up to *stop* where that is known.

    Where no length is announced, and exactly *doubtful* bytes come, they may be just the part that was asked for.
    """

    start: int
    stop: int | None
    identity: Identity
    whole: bool = False
    coding: str | None = None
    framed: bool = True
    doubtful: int | None = None


class Confirmed(NamedTuple):
    """The cached copy is what the server has."""


class Retry(enum.Enum):
    """How to ask again, at once."""

    UNCONDITIONALLY = enum.auto()
    IN_ONE_PIECE = enum.auto()
    USE_AS_STREAM = enum.auto()  # this very answer is the whole resource


class AskInstead(NamedTuple):
    """Ask for something else instead."""

    asked: Asked


class Mixed(NamedTuple):
    """This answer is of another version than earlier ones, of the same size."""

    why: str


class Changed(NamedTuple):
    """The resource is another one now."""

    why: str


class PastEnd(NamedTuple):
    """What was asked for begins past the end of a resource of *size* bytes."""

    size: int


class Implausible(NamedTuple):
    """The answer cannot be believed; *final* when there is no other way to ask."""

    why: str
    final: bool


class Refused(NamedTuple):
    """The status decides: another attempt, or none."""


Verdict = Accept | Confirmed | Retry | AskInstead | Mixed | Changed | PastEnd | Implausible | Refused


def judge(answer: Answer, at: Context) -> Verdict:
    """Return what *answer* means *at* this point of a transfer."""
    match answer:
        case Partial():
            return _partial(answer, at)
        case Whole():
            return _whole(answer, at)
        case NotModified():
            return Confirmed()
        case PreconditionFailed() if at.conditioned:
            return _refused(at)
        case Unsatisfiable(size=size):
            return _unsatisfiable(size, at)
        case Unproven(why=why):
            return Implausible(why, final=True) if at.asked.header is None else Retry.IN_ONE_PIECE
        case Unbelievable(why=why):
            if at.asked.header is None:
                return Implausible(why, final=at.implausible >= MAX_IMPLAUSIBLE - 1)
            return (
                Retry.IN_ONE_PIECE if at.implausible >= MAX_IMPLAUSIBLE - 1 else Implausible(why, final=False)
            )
        case Failed(status=status) if status not in PLAIN_REFUSALS and (status < 500 or status == 501):
            return _refused(at)
        case _:
            return Refused()


def _refused(at: Context) -> Verdict:
    """It may be the condition, the suffix or, as long as none was answered, the range that is refused: ask without."""
    if at.conditioned:
        return Retry.IN_ONE_PIECE if at.streaming else Retry.UNCONDITIONALLY
    if at.known is not None or at.asked.header is None:
        return Refused()
    if at.asked.suffix is not None:
        return AskInstead(Asked(range=ByteRange(0, BLOCK)))
    return Retry.IN_ONE_PIECE


def _partial(answer: Partial, at: Context) -> Verdict:
    body, identity = answer.body, answer.identity
    if at.asked.suffix is not None and body.stop != identity.size:  # the head, or who knows what
        if identity.size is None:
            return Retry.IN_ONE_PIECE
        return AskInstead(Asked(range=ByteRange(max(0, identity.size - at.asked.suffix), identity.size)))
    if at.known is None:
        if identity.size is None:  # the length of a whole answer says it
            return Retry.IN_ONE_PIECE
        return Accept(body.start, body.stop, identity)
    if _sizes_differ(at.known, identity):
        return Changed(changed(at.known, identity))
    if at.known.compare(identity) is not Match.SAME:
        return Mixed(changed(at.known, identity))
    if at.streaming and not (at.known.is_strong and identity.is_strong):
        return Retry.IN_ONE_PIECE
    return Accept(body.start, body.stop, identity)


def _whole(answer: Whole, at: Context) -> Verdict:
    """A 200 is the whole resource from byte 0, or a changed one; the validators tell."""
    identity = answer.identity
    ranged = at.asked.header is not None
    if at.unconfirmed_size is not None and identity.size is not None and at.unconfirmed_size != identity.size:
        return Implausible(
            f"{identity.size} bytes, where its parts spoke of {at.unconfirmed_size}", final=True
        )
    if at.known is None:
        if (
            at.conditioned and ranged
        ):  # the cached copy is of another version: ask for the part that is wanted
            return Retry.UNCONDITIONALLY
        if at.asked.suffix is not None and not at.streaming and identity.size is not None:
            if not identity.size:
                return Accept(0, 0, identity, whole=True)
            start = max(0, identity.size - at.asked.suffix)
            return AskInstead(Asked(range=ByteRange(start, identity.size)))
        if ranged and _may_be_part(at.asked, identity.size):
            return Retry.IN_ONE_PIECE
        doubtful = len(at.asked.range) if at.asked.range is not None and identity.size is None else None
        return Accept(0, identity.size, identity, True, answer.coding, answer.framed, doubtful)
    if _sizes_differ(at.known, identity):
        return Changed(changed(at.known, identity))
    differs = at.known.compare(identity) is Match.DIFFERENT
    if differs and (not at.streaming or at.strict):
        return Mixed(changed(at.known, identity))
    if not at.streaming and not at.again:
        return Retry.UNCONDITIONALLY
    if ranged and identity.size is None:  # it may be that range all the same
        return Retry.IN_ONE_PIECE
    if not at.streaming:
        return Retry.USE_AS_STREAM
    return Accept(0, identity.size, identity, True, answer.coding, answer.framed)


def _may_be_part(asked: Asked, size: int | None) -> bool:
    """Return whether a 200 may be the part that was *asked* for, which ends where a resource of unknown size does.

    *size* is what it announces. One that begins at byte 0 can be told at its end, see `Take.doubtful`.
    """
    if asked.range is None:
        return size is None
    return asked.range.start > 0 and (size is None or size < len(asked.range))


def _unsatisfiable(size: int | None, at: Context) -> Verdict:
    """416 never means done: past the end, or that there are no ranges here."""
    if at.asked.header is None:
        return Implausible("416 to a request without Range", final=True)
    if at.known is None and size is not None:
        if at.asked.range is not None and 0 < at.asked.range.start >= size and not at.asked.inside:
            return PastEnd(size)
        if at.asked.suffix is not None and size:
            return AskInstead(Asked(range=ByteRange(max(0, size - at.asked.suffix), size)))
    return Retry.IN_ONE_PIECE


def _sizes_differ(known: Identity, now: Identity) -> bool:
    return known.size is not None and now.size is not None and known.size != now.size
