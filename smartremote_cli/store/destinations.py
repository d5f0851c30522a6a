"""Destination: where a resource is kept, and how what is kept there meets the resource again.

A destination says what to ask first, given what it holds, and opens its copy when the first answer is here: as it
is, after comparing some of it, or anew. Here is the one in memory.
"""

from __future__ import annotations

from typing import Protocol

from ..core.blocks import BLOCK, EVERY_BYTE, BlockMap
from ..core.ranges import ByteRange
from ..errors import RemoteChangedError
from ..plan.planner import with_seams
from ..protocol.answers import Asked
from ..protocol.identity import Identity, Match, changed
from .copies import AnswerHead, Copy, Opened
from .memory_copy import MAX_IN_MEMORY, MemoryCopy
from .part import Record

# Ask for this many bytes first where the end is not known or far away. By judgement: small files come whole with one
# request, and of a large one it keeps the first connection busy while the others connect.
FIRST_REQUEST_BYTES = 4 * 1024 * 1024


class Destination(Protocol):
    """What blocks are kept in. It serves one transfer after another, never two at once."""

    @property
    def path(self) -> str | None:
        """The data file; None for a destination in memory, or while the name is not known."""

    @property
    def max_bytes(self) -> int | None:
        """How many bytes it is meant to hold at once; None for all of them. Known before anything is open."""

    @property
    def may_be_bounded(self) -> bool:
        """Whether its copy may turn out to be one in memory, also when that is not known yet."""

    @property
    def copy(self) -> Copy | None:
        """The copy that is open."""

    @property
    def is_named(self) -> bool:
        """Whether it is a file that the user named, which stays as it is when its digest is wrong."""

    def first(self, offset: int, length: int | None) -> tuple[Asked, dict[str, str]]:
        """Return what to ask first when *length* bytes from *offset* on are wanted, and the condition headers.

        A negative *offset* counts from the end; *length* None means up to the end.
        """

    def open(self, identity: Identity, head: AnswerHead) -> Opened:
        """Open the copy, or let the one that is open meet the resource again. Raises when it is another one."""

    def open_unasked(self) -> Copy | None:
        """Open what is held as it is, without asking the server; None when nothing there can be relied on."""

    def give_up_held(self) -> None:
        """Forget what is held, on disk first, so that nothing of it outlives a change of the resource."""

    def finish(self) -> None:
        """Every block is held: make that durable, and remove the record."""

    def reopen_record(self) -> Copy:
        """Write the record of a complete copy again, so that blocks of it may be forgotten; return the copy."""

    def close(self) -> None:
        """Close the copy and keep what it holds."""

    def after_fork_in_child(self) -> None:
        """Go on in a child process, where threads that held locks do not exist."""


class MemoryDestination:
    """Blocks in memory: no file, no record."""

    path = None
    is_named = False
    may_be_bounded = True
    max_bytes: int | None = MAX_IN_MEMORY

    def __init__(self, name: str) -> None:
        self._name = name
        self._copy: MemoryCopy | None = None

    @property
    def copy(self) -> MemoryCopy | None:
        """The copy that is open."""
        return self._copy

    def first(self, offset: int, length: int | None) -> tuple[Asked, dict[str, str]]:
        return first_of_nothing(offset, length), {}

    def open(self, identity: Identity, head: AnswerHead) -> Opened:
        if self._copy is None:
            self._copy = MemoryCopy(identity)
            return Opened(self._copy)
        return meet_again(self._copy, identity, self._name)

    def open_unasked(self) -> Copy | None:
        """Return the copy that is open; None before the first answer."""
        return self._copy

    def give_up_held(self) -> None:
        """Begin with an empty copy at the next answer."""
        self._copy = None

    def finish(self) -> None:
        """Do nothing: there is no record."""

    def reopen_record(self) -> Copy:
        assert self._copy is not None
        return self._copy

    def close(self) -> None:
        self._copy = None

    def after_fork_in_child(self) -> None:
        if self._copy is not None:
            self._copy.after_fork_in_child()


def first_of_nothing(offset: int, length: int | None) -> Asked:
    """Return the first request where nothing is held: whole blocks, bounded; a suffix from the end."""
    if offset < 0:
        return Asked(suffix=-offset)
    most = FIRST_REQUEST_BYTES if length is None else max(1, min(length, FIRST_REQUEST_BYTES))
    return Asked(range=ByteRange(offset // BLOCK * BLOCK, -(-(offset + most) // BLOCK) * BLOCK))


def in_one_request(first: Asked) -> Asked:
    """Return *first*, which asks for the beginning where nothing is held, so that it asks for everything.

    A single connection gains nothing by asking in parts, and some links work only once.
    """
    if first.range == ByteRange(0, FIRST_REQUEST_BYTES) and not first.inside:
        return first._replace(range=EVERY_BYTE)
    return first


def first_of_held(record: Record, offset: int, length: int | None) -> tuple[Asked, dict[str, str]] | None:
    """Return the request that brings what is missing, or only confirms what is held; None where none can.

    Only a strong validator can: without one, held bytes may be an older version's.
    """
    known = record.identity
    if known is None or known.size is None or not can_confirm(known):
        return None
    if not known.size:
        return Asked(conditional=True), known.condition()
    start = max(0, known.size + offset) if offset < 0 else min(offset, known.size - 1)
    wanted = ByteRange(start, known.size if length is None else min(start + max(length, 1), known.size))
    blocks = BlockMap.fitting(known.size, record.bits)
    run = next(blocks.missing(wanted), None)
    if run is None:
        # A server that ignores the condition sends what is asked for: let that be a single byte.
        return Asked(range=ByteRange(start, start + 1), conditional=True), known.condition()
    missing = ByteRange(run.start, min(run.stop, run.start + FIRST_REQUEST_BYTES))
    right = missing.stop < known.size and blocks.holds_block(missing.stop // BLOCK)
    left = missing.start > 0 and blocks.holds_block(missing.start // BLOCK - 1)
    return Asked(range=with_seams(missing, left, right)), known.precondition()


def meet_again(copy: Copy, identity: Identity, name: str) -> Opened:
    """Go on with an open *copy*, whose bytes were read already; `RemoteChangedError` when it is another resource."""
    known = copy.identity
    same_size = known.size is None or identity.size is None or known.size == identity.size
    if not same_size or known.compare(identity) is not Match.SAME:
        raise RemoteChangedError(name, changed(known, identity))
    return Opened(copy, resumed=copy.blocks.held > 0)


def can_confirm(known: Identity) -> bool:
    """Return whether an answer can prove that bytes of *known* are still the resource's."""
    return known.size is not None and known.is_proof
