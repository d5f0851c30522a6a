"""Receiver: puts the body of a believed answer where it belongs.

What is missing is written; what is held already is compared, and a difference means that versions are mixed.
Which is which, the ledger says under the guard of `State`; reading, writing and comparing happen outside it.
"""

from __future__ import annotations

import threading
import time

from ..core.blocks import BLOCK, MAX_SIZE
from ..core.ranges import ByteRange
from ..errors import AttemptFailed, ChecksumError, RemoteChangedError, UnbelievableError
from ..plan import planner
from ..plan.ledger import Claim, Do
from ..plan.patience import SLOWEST
from ..protocol.digests import of_content
from ..transport.limiter import Limiter
from ..transport.response import Response
from .state import State

# What one read brings at most. Each costs the guard twice and several system calls, and the interpreter's lock for
# each of them: on a fast link that is what the time goes to. On a slow one reads end sooner, see `sockets`.
BUFFER = 4096 * 1024


class VersionsMixed(Exception):
    """Two answers are not of one version. *disputed*: it shows in their bytes, and all of them are in doubt."""

    def __init__(self, why: str, *, disputed: bool = False) -> None:
        super().__init__(why)
        self.disputed = disputed


class PartOnly(Exception):
    """What came instead of a whole resource may be just the part of it that was asked for."""


class Receiver:
    """Receives for one transfer; *name* is its URL as it may be shown, *timeout* is in seconds."""

    def __init__(self, state: State, name: str, limiter: Limiter | None, timeout: float) -> None:
        self._state = state
        self._name = name
        self._limiter = limiter
        self._timeout = timeout
        self._own = threading.local()  # a buffer, for all the answers that a thread takes
        self._renouncing = threading.Lock()  # nobody writes before the record says that nothing is held

    def receive(
        self, claim: Claim, response: Response, offset: int, stop: int | None, doubtful: int | None = None
    ) -> bool:
        """Take a body that begins at *offset* as far as *claim* needs it.

        Raises `AttemptFailed` when it breaks or is too slow, `VersionsMixed` when it is not of the version that
        is held, `ChecksumError` when the answer's digest is not that of its content, `PartOnly` when it ends
        after *doubtful* bytes.
        """
        self._renounce()
        digest = of_content(response.headers)
        hasher = digest.hasher() if digest is not None else None
        view = self._buffer(BUFFER if stop is None else min(BUFFER, stop - offset))
        start = offset
        since, slow = time.monotonic(), 0
        while stop is None or offset < stop:
            count, waited = self._read(response, view if stop is None else view[: stop - offset])
            since += waited  # the limiter's doing, not the server's
            if not count:
                break
            if self._state.is_leaving and not self._state.stopping:
                return True  # what came before a stop is kept
            if hasher is not None:
                hasher.update(view[:count])
            enough = self._place(claim, offset, view[:count], stop, overrules=start == 0)
            offset += count
            if enough or self._state.stopping:
                return True
            slow += count
            now = time.monotonic()
            if now - since > 2 * self._timeout:
                if slow < SLOWEST * (now - since):
                    why = f"only {slow} bytes in {now - since:.0f} s"
                    raise AttemptFailed(self._name, why, stalled=True)
                since, slow = now, 0
        response.finish()
        if digest is not None and hasher is not None and not digest.fits(hasher):
            self._take_back(claim, start)
            raise ChecksumError(
                self._name, f"the {digest.algorithm} that came with an answer is not its content's"
            )
        if stop is None:
            if offset == doubtful:
                raise PartOnly
            self._ended(claim, offset)
        return True

    def _buffer(self, size: int) -> memoryview:
        """Return this thread's buffer, which has *size* bytes at least."""
        view: memoryview | None = getattr(self._own, "view", None)
        if view is None or len(view) < size:
            view = self._own.view = memoryview(bytearray(size))
        return view

    def _read(self, response: Response, view: memoryview) -> tuple[int, float]:
        """Read some of the body into *view*; return how many bytes, and how many seconds the limiter waited then."""
        if self._limiter is None:
            return response.read_into(view), 0.0
        count = response.read_into(view[: self._limiter.share])
        since = time.monotonic()
        self._limiter.take(count, lambda: self._state.is_leaving)
        return count, time.monotonic() - since

    def _place(
        self, claim: Claim, offset: int, data: memoryview, stop: int | None, *, overrules: bool
    ) -> bool:
        """Write, compare or keep *data*, which begins at *offset*, and account for it.

        Returns whether nothing of what is still to come, up to *stop*, is of use. The guard is taken twice, for
        every thread's every buffer wants it.
        """
        state = self._state
        ledger, copy = state.ledger, state.copy
        assert ledger is not None
        with state.cond:
            pieces = ledger.cut(claim, offset, len(data))
        for do, part in pieces:
            piece = data[part.start - offset : part.stop - offset]
            if do is Do.WRITE:
                copy.write(part.start, piece)
            elif do is Do.COMPARE:
                self._compare(claim, part, piece, overrules=overrules)
            else:
                with state.cond:
                    waits = ledger.keep(part.start, bytes(piece))
                if not waits:
                    self._compare(claim, part, piece, overrules=False)
        end = offset + len(data)
        while True:
            with state.cond:  # what disagrees with its neighbour is not to be held, nor read by anybody
                due = ledger.due(claim, min(end, claim.stop))
                if not due:
                    due = self._note(claim, end, len(data))
                    enough = self._is_enough(claim, end, stop)
                    break
            self._compare_seams(due)
        self._compare_seams(due)
        return enough

    def _is_enough(self, claim: Claim, offset: int, stop: int | None) -> bool:
        """Return whether nothing that comes after *offset* is of use. The guard is held."""
        state = self._state
        assert state.ledger is not None
        if stop is None:  # only its end says how long it is
            known = state.identity.size if state.identity is not None else None
            if known is not None and offset > known:
                why = f"the resource changed: more than {known} bytes came, where there were {known}"
                state.dispute()
                raise RemoteChangedError(self._name, why)
            return False
        if offset == stop or state.streaming or not state.ledger.is_finished(claim):
            return False
        return not claim.is_done or offset >= claim.stop + planner.SEAM

    def _note(self, claim: Claim, offset: int, count: int) -> list[tuple[int, bytes]]:
        """Account for arrived bytes; return the kept seams that can be compared now. The guard is held."""
        state = self._state
        assert state.ledger is not None
        if state.disputed:
            return []
        before = claim.position
        gained, due = state.ledger.arrived(claim, min(offset, claim.stop))
        claim.received += count
        state.touched = True
        if claim.sample:
            pass  # nothing new
        elif not state.streaming:
            state.patience.arrived += claim.position - before
        elif claim.position > state.furthest:
            state.patience.arrived += claim.position - state.furthest
            state.furthest = claim.position
        if gained:
            state.soil(gained)
        if claim.is_done or any(state.is_satisfied(wanted) for wanted in state.awaited):
            state.cond.notify_all()  # not at every buffer: to wake a thread costs more than to account for one
        return due

    def _compare_seams(self, due: list[tuple[int, bytes]]) -> None:
        for at, kept in due:
            part = ByteRange(at, at + len(kept))
            if self._differs(part, memoryview(kept)):
                raise VersionsMixed(_not_those(part), disputed=True)

    def _compare(self, claim: Claim, part: ByteRange, data: memoryview, *, overrules: bool) -> None:
        """Compare arrived bytes with held ones; a difference means that versions are mixed.

        An answer that *overrules* began at byte 0 and goes on to the end: what it contradicts is not held.
        """
        state = self._state
        if not self._differs(part, data):
            return
        why = _not_those(part)
        assert state.opened is not None and state.ledger is not None
        if claim.sample and state.opened.mismatch is not None:
            raise state.opened.mismatch(why)
        with state.cond:
            if not state.streaming or state.is_strict or not overrules:
                raise VersionsMixed(why, disputed=True)
            self._forget(ByteRange(part.start, MAX_SIZE))
            claim.position = min(claim.position, part.start)
            draft = state.draft_record()
        state.copy.checkpoint(draft)
        state.copy.write(part.start, data)

    def _differs(self, part: ByteRange, data: memoryview) -> bool:
        held = self._state.copy.read(part)
        if len(held) == len(part):
            return held != data
        # A copy in memory has let go of some blocks meanwhile. The others are held, and count.
        edge = (part.start // BLOCK + 1) * BLOCK
        if part.stop <= edge:
            return False
        first, rest = ByteRange(part.start, edge), ByteRange(edge, part.stop)
        return self._differs(first, data[: len(first)]) or self._differs(rest, data[len(first) :])

    def _take_back(self, claim: Claim, start: int) -> None:
        """Hold nothing any more that an answer from *start* on has brought for *claim*."""
        state = self._state
        with state.cond:
            start = max(start, claim.origin)
            if claim.sample or start >= claim.position:
                return
            self._forget(ByteRange(start, claim.position))
            claim.position = start
            state.soil(1)

    def _forget(self, part: ByteRange) -> None:
        """Mark every block that *part* touches as missing. The guard is held."""
        state = self._state
        state.copy.blocks.forget(part)
        state.before = state.before & state.copy.blocks.bits

    def _renounce(self) -> None:
        """After a start over, have the record say that nothing is held, before anything is written anew."""
        state = self._state
        with self._renouncing:
            with state.cond:
                renounced, state.renounced = state.renounced, False
                draft = state.draft_record() if renounced else None
            if draft is not None:
                state.copy.reset(draft)

    def _ended(self, claim: Claim, size: int) -> None:
        """A body without announced length came to its end: now the size is known, if that end is to be trusted."""
        state = self._state
        with state.cond:
            assert state.identity is not None and state.ledger is not None
            known = state.identity.size
            if known is not None and size < known and not state.framed:
                raise AttemptFailed(
                    self._name, f"the connection ended {known - size} bytes before the body did"
                )
            if known is not None and known != size:
                why = f"the resource changed: {size} bytes came, where there were {known}"
                state.dispute()
                raise RemoteChangedError(self._name, why)
            if not state.framed and known is None and not state.policy.digest_decides:
                raise UnbelievableError(
                    self._name,
                    "the server announces no length, so that nothing tells a whole body from a broken one",
                    hint="give --checksum ALG:HEX to have it checked",
                )
            state.adopt(state.identity.sized(size), claim)
            if size % BLOCK:  # the others were held as they came, and some may have been let go of since
                state.ledger.blocks.hold(ByteRange(size // BLOCK * BLOCK, size))
            claim.stop = claim.position = size
            state.soil(1)
            state.cond.notify_all()


def _not_those(part: ByteRange) -> str:
    return f"bytes {part.start} to {part.stop - 1} are not the ones that are held"
