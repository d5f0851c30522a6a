"""What an answer means for a transfer under way: accept its body, ask otherwise, start over, or give up.

`answers.read_answer` says what an answer promises by itself. Here the promise is held against what earlier answers
have said of the resource. Values in, values out: the verdict, which the transfer carries out, and the approach that
the next request takes.
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
from .approach import Approach
from .identity import Identity, Match, changed

# Statuses that are about the way, the connection or the moment, not about what was asked (RFC 9110, 15.5; RFC 6585).
OF_THE_MOMENT = frozenset({407, 408, 421, 425, 429})

# Statuses that are about the resource. Filters and one-line servers also send them for a Range or a condition that
# they do not know; a request without it tells.
OF_THE_RESOURCE = frozenset({401, 402, 403, 404, 410, 451})

# After this many unbelievable answers in a row, stop asking for ranges. One may be a proxy's slip; a server that
# answers twice so will again.
MAX_IMPLAUSIBLE = 2


class Known(NamedTuple):
    """What was asked, and what is known of the resource. *identity* is None for the first answer of a transfer.

    *streaming* transfers read everything in one piece. *conditioned* requests carried a precondition or a
    condition. *strict* transfers hold bytes that must not change. *answered* says that the server has answered a
    range before, in this transfer or in an earlier one.
    """

    asked: Asked
    identity: Identity | None
    streaming: bool = False
    conditioned: bool = False
    strict: bool = False
    answered: bool = False


class Accept(NamedTuple):
    """The body is the bytes from *start* on, up to *stop* where that is known.

    When no length is announced and exactly *doubtful* bytes come, they may be just the part that was asked for.
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
    """The answer is inconsistent; *final* when there is no other way to ask."""

    why: str
    final: bool


class Refused(NamedTuple):
    """The status decides: another attempt, or none."""


Verdict = Accept | Confirmed | Retry | AskInstead | Mixed | Changed | PastEnd | Implausible | Refused


def judge(answer: Answer, approach: Approach, known: Known) -> tuple[Verdict, Approach]:
    """Return what *answer* means at this point of a transfer, and how to ask from now on."""
    verdict = _verdict(answer, approach, known)
    if isinstance(answer, Unbelievable) and answer.size is not None:
        approach = approach._replace(unconfirmed_size=answer.size)
    match verdict:
        case Retry.UNCONDITIONALLY:
            approach = approach.without_conditions()._replace(repeated=True)
        case AskInstead(asked=asked):
            approach = approach._replace(first=asked)
        case Implausible():
            approach = approach._replace(implausible=approach.implausible + 1)
        case Accept() if known.identity is not None:
            approach = approach._replace(implausible=0, repeated=False)
    return verdict, approach


def _verdict(answer: Answer, approach: Approach, known: Known) -> Verdict:
    last_chance = approach.implausible >= MAX_IMPLAUSIBLE - 1
    whole_asked = known.asked.header is None
    match answer:
        case Partial():
            return _partial(answer, known)
        case Whole(identity=identity) if _contradicts(approach.unconfirmed_size, identity.size):
            why = f"{identity.size} bytes, where its parts spoke of {approach.unconfirmed_size}"
            return Implausible(why, final=True)
        case Whole() if known.identity is not None:
            return _later_whole(answer, approach, known, known.identity)
        case Whole():
            return _first_whole(answer, known)
        case NotModified(identity=identity):
            asked = _conditioned_on(approach)
            return Retry.UNCONDITIONALLY if asked.compare(identity) is Match.DIFFERENT else Confirmed()
        case PreconditionFailed() if known.conditioned:
            return _refused(known)
        case Unsatisfiable(size=size):
            return _unsatisfiable(size, known)
        case Unproven(why=why):
            return Implausible(why, final=True) if whole_asked else Retry.IN_ONE_PIECE
        case Unbelievable(why=why) if last_chance and not whole_asked:
            return Retry.IN_ONE_PIECE
        case Unbelievable(why=why):
            return Implausible(why, final=last_chance)
        case Failed(status=status) if status in OF_THE_RESOURCE:
            return _refused_resource(known)
        case Failed(status=status) if status not in OF_THE_MOMENT and (status < 500 or status == 501):
            return _refused(known)
        case _:
            return Refused()


def _contradicts(unconfirmed: int | None, size: int | None) -> bool:
    return unconfirmed is not None and size is not None and unconfirmed != size


def _conditioned_on(approach: Approach) -> Identity:
    """Return the identity that the first request's condition names."""
    given = approach.condition
    return Identity(None, given.get("If-None-Match"), given.get("If-Modified-Since"))


def _refused_resource(known: Known) -> Verdict:
    """Ask once without the condition, then once for everything: a filter may refuse what it does not know."""
    if known.conditioned:
        return Retry.IN_ONE_PIECE if known.streaming else Retry.UNCONDITIONALLY
    if known.answered or known.identity is not None or known.asked.header is None:
        return Refused()
    return Retry.IN_ONE_PIECE


def _refused(known: Known) -> Verdict:
    """Ask without what may be refused: the condition, the suffix or, as long as no range was answered, the range."""
    if known.conditioned:
        return Retry.IN_ONE_PIECE if known.streaming else Retry.UNCONDITIONALLY
    if known.identity is not None or known.asked.header is None:
        return Refused()
    if known.asked.suffix is not None:
        return AskInstead(Asked(range=ByteRange(0, BLOCK)))
    return Retry.IN_ONE_PIECE


def _partial(answer: Partial, known: Known) -> Verdict:
    body, identity = answer.body, answer.identity
    if known.asked.suffix is not None and body.stop != identity.size:  # the head, or who knows what
        if identity.size is None:
            return Retry.IN_ONE_PIECE
        return AskInstead(Asked(range=ByteRange(max(0, identity.size - known.asked.suffix), identity.size)))
    if known.identity is None:
        if identity.size is None:  # the length of a whole answer says it
            return Retry.IN_ONE_PIECE
        return Accept(body.start, body.stop, identity, coding=answer.coding)
    if _sizes_differ(known.identity, identity):
        return Changed(changed(known.identity, identity))
    if known.identity.compare(identity) is not Match.SAME:
        return Mixed(changed(known.identity, identity))
    if known.streaming and not (known.identity.is_strong and identity.is_strong):
        return Retry.IN_ONE_PIECE
    return Accept(body.start, body.stop, identity, coding=answer.coding)


def _first_whole(answer: Whole, known: Known) -> Verdict:
    """Judge a 200 as the first answer. It is the resource from byte 0, unless it may be the part that was asked for."""
    asked, size = known.asked, answer.identity.size
    if asked.header is not None and known.conditioned:
        # The cached copy is of another version: ask for the part that is wanted.
        return Retry.UNCONDITIONALLY
    if asked.suffix is not None and not known.streaming and size is not None:
        if size:
            return AskInstead(Asked(range=ByteRange(max(0, size - asked.suffix), size)))
        return Accept(0, 0, answer.identity, whole=True)
    if asked.header is not None and _may_be_part(asked, size):
        return Retry.IN_ONE_PIECE
    doubtful = len(asked.range) if asked.range is not None and size is None else None
    return Accept(0, size, answer.identity, True, answer.coding, answer.framed, doubtful)


def _later_whole(answer: Whole, approach: Approach, known: Known, before: Identity) -> Verdict:
    """Judge a 200 that follows other answers. It is the whole resource or a changed one; the validators tell."""
    identity = answer.identity
    if _sizes_differ(before, identity):
        return Changed(changed(before, identity))
    differs = before.compare(identity) is Match.DIFFERENT
    if differs and (not known.streaming or known.strict):
        return Mixed(changed(before, identity))
    if not known.streaming and not approach.repeated:
        return Retry.UNCONDITIONALLY
    if known.asked.header is not None and identity.size is None:  # it may be just that range
        return Retry.IN_ONE_PIECE
    if not known.streaming:
        return Retry.USE_AS_STREAM
    return Accept(0, identity.size, identity, True, answer.coding, answer.framed)


def _may_be_part(asked: Asked, size: int | None) -> bool:
    """Return whether a 200 may be the part that was *asked* for, which ends where a resource of unknown size does.

    *size* is what it announces. One that begins at byte 0 can be told at its end, see `Accept.doubtful`.
    """
    if asked.range is None:
        return size is None
    return asked.range.start > 0 and (size is None or size < len(asked.range))


def _unsatisfiable(size: int | None, known: Known) -> Verdict:
    """416 never means done: past the end, or that there are no ranges here."""
    if known.asked.header is None:
        return Implausible("416 to a request without Range", final=True)
    if known.identity is None and size is not None:
        if known.asked.range is not None and 0 < known.asked.range.start >= size and not known.asked.inside:
            return PastEnd(size)
        if known.asked.suffix is not None and size:
            return AskInstead(Asked(range=ByteRange(max(0, size - known.asked.suffix), size)))
    return Retry.IN_ONE_PIECE


def _sizes_differ(before: Identity, now: Identity) -> bool:
    return before.size is not None and now.size is not None and before.size != now.size
