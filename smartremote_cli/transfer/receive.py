"""Receiver: puts the body of a believed answer where it belongs.

What is missing is written. What is held already is compared, and a difference means that versions are mixed. The
ledger says which is which, under the guard of `State`; reading, writing and comparing happen outside it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ..core.blocks import BLOCK, MAX_SIZE
from ..core.ranges import ByteRange
from ..errors import AttemptFailed, ChecksumError, RemoteChangedError, UnbelievableError
from ..plan import planner
from ..plan.claims import Claim
from ..plan.patience import MIN_BYTES_PER_SECOND
from ..plan.pieces import Do
from ..protocol.digests import of_content
from ..protocol.headers import is_chunked
from ..transport.limiter import Limiter
from ..transport.response import Response
from .phase import SingleStream
from .state import State

if TYPE_CHECKING:
    import hashlib

# Bytes that one read brings at most. Each read takes the guard twice and makes several system calls, each of which
# takes the interpreter's lock: on a fast link that is what the time goes to. 1 GiB over loopback gained nothing from
# larger buffers and lost 5 to 10 % with smaller ones. On a slow link reads end sooner, see `transport.connection`.
BUFFER = 4096 * 1024


class VersionsMixed(Exception):
    """Two answers are not of one version. *in_bytes*: their bytes differ, so that all of them are in doubt."""

    def __init__(self, why: str, *, in_bytes: bool = False) -> None:
        super().__init__(why)
        self.in_bytes = in_bytes


class PartOnly(Exception):
    """What came instead of a whole resource may be just the part of it that was asked for."""


class _Pace:
    """Whether a body comes fast enough to count as progress; one that does not is a failed attempt."""

    def __init__(self, name: str, window: float) -> None:
        self._name = name
        self._window = window  # seconds
        self._begin(time.monotonic())

    def _begin(self, now: float) -> None:
        self._since, self._count = now, 0

    def add(self, count: int, waited: float) -> None:
        """Note *count* bytes more. Raises `AttemptFailed` when too few came in the last window.

        The limiter waited for *waited* seconds, which are not the server's fault.
        """
        self._count += count
        self._since += waited
        now = time.monotonic()
        elapsed = now - self._since
        if elapsed > self._window:
            if self._count < MIN_BYTES_PER_SECOND * elapsed:
                why = f"only {self._count} bytes in {elapsed:.0f} s"
                raise AttemptFailed(self._name, why, stalled=True, slow=self._count > 0)
            self._begin(now)


class Receiver:
    """Receives for one transfer; *limiter* slows all of it down."""

    def __init__(self, state: State, limiter: Limiter | None) -> None:
        self._state = state
        self._name = state.name
        self._limiter = limiter
        self._own = threading.local()  # a buffer, for all the answers that a thread takes
        self._resetting = threading.Lock()  # writing waits until the record says that nothing is held

    def receive(
        self, claim: Claim, response: Response, offset: int, stop: int | None, doubtful: int | None = None
    ) -> bool:
        """Take a body that begins at *offset* as far as *claim* needs it.

        Raises `AttemptFailed` when it breaks, is too slow, or ends elsewhere than it should, `VersionsMixed` when it
        is not of the version that is held, `ChecksumError` when the answer's digest is not that of its content,
        `PartOnly` when it ends after *doubtful* bytes.
        """
        self._reset_stale_record()
        digest = of_content(response.headers)
        hasher = digest.hasher() if digest is not None else None
        try:
            if self._take_body(claim, response, offset, stop, hasher):
                return True
        finally:
            if response.unconfirmed:
                self._take_back(claim, offset + response.received - response.unconfirmed)
        end = offset + response.received
        if end != stop:
            self._check_end(claim, response, offset, stop)
        if digest is not None and hasher is not None and not digest.fits(hasher):
            self._take_back(claim, offset)
            raise ChecksumError(
                self._name, f"the {digest.algorithm} that came with an answer is not its content's"
            )
        if stop is None:
            if end == doubtful:
                raise PartOnly
            self._ended(claim, end)
        return True

    def _take_body(
        self, claim: Claim, response: Response, offset: int, stop: int | None, hasher: hashlib._Hash | None
    ) -> bool:
        """Place the body's bytes; return whether no more of them are needed, before its end was seen."""
        start = offset
        view = self._buffer(BUFFER if stop is None else min(BUFFER, stop - offset))
        pace = _Pace(self._name, self._state.patience.slow_window)
        while stop is None or offset < stop:
            count, waited = self._read(response, view if stop is None else view[: stop - offset])
            if not count:
                break
            if self._state.is_leaving and not self._state.is_stopped:
                return True  # what came before a stop is kept
            if hasher is not None:
                hasher.update(view[:count])
            if response.length is None and offset + count == stop:
                # The last part waits for the end that proves it.
                self._check_end(claim, response, start, stop)
            enough = self._place(claim, offset, view[:count], stop, overrules=start == 0)
            offset += count
            if (enough and not response.unconfirmed) or self._state.is_stopped:
                return True
            pace.add(count, waited)
        return False

    def _check_end(self, claim: Claim, response: Response, start: int, stop: int | None) -> None:
        """Check that a body which announces no length ends where its range does (curl: error 18).

        Where it does not, its framing was not what it seemed to be, and nothing of that range is kept.
        """
        ends = response.finish()
        is_short = stop is not None and start + response.received < stop and is_chunked(response.headers)
        if ends and not is_short:
            return
        why = "the server's answer is inconsistent: its body does not end where it should"
        if stop is not None:
            self._take_back(claim, start)
            with self._state.cond:
                if self._state.provenance.exposed:
                    raise UnbelievableError(self._name, f"{why}, and some of its bytes were read already")
        raise AttemptFailed(self._name, why, garbled=True)

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

        Returns whether nothing that is still to come, up to *stop*, is needed. It takes the guard twice, for all
        threads want it for each of their buffers.
        """
        state = self._state
        ledger, copy = state.ledger, state.copy
        assert ledger is not None
        with state.cond:
            pieces = ledger.cut_body(claim, offset, len(data))
        for do, part in pieces:
            piece = data[part.start - offset : part.stop - offset]
            if do is Do.WRITE:
                copy.write(part.start, piece)
            elif do is Do.COMPARE:
                self._compare(claim, part, piece, overrules=overrules)
            else:
                with state.cond:
                    waits = ledger.keep_seam(part.start, bytes(piece))
                if not waits:
                    self._compare(claim, part, piece, overrules=False)
        return self._account(claim, offset + len(data), len(data), stop)

    def _account(self, claim: Claim, end: int, count: int, stop: int | None) -> bool:
        """Note that *count* bytes up to *end* are in place; return whether nothing more of the body is needed.

        Kept seams that are due are compared before: bytes that disagree with their neighbour must not be held, nor
        read by anybody.
        """
        state = self._state
        assert state.ledger is not None
        while True:
            with state.cond:
                due = state.ledger.take_due_seams(claim, min(end, claim.stop))
                if not due:  # nor can a seam become due before the claim's progress is noted
                    due = self._note(claim, end, count)
                    enough = self._is_enough(claim, end, stop)
                    break
            self._compare_seams(due)
        self._compare_seams(due)
        return enough

    def _is_enough(self, claim: Claim, offset: int, stop: int | None) -> bool:
        """Return whether nothing that comes after *offset* is needed. The guard is held."""
        state = self._state
        assert state.ledger is not None
        if stop is None:  # only its end says how long it is
            known = state.identity.size if state.identity is not None else None
            if known is not None and offset > known:
                why = f"the resource changed: more than {known} bytes came, where there were {known}"
                state.dispute()
                raise RemoteChangedError(self._name, why)
            return False
        if offset == stop or state.is_streaming or not state.ledger.is_finished(claim):
            return False
        return not claim.is_done or offset >= claim.stop + planner.SEAM

    def _note(self, claim: Claim, offset: int, count: int) -> list[tuple[int, bytes]]:
        """Account for arrived bytes; return the kept seams that can be compared now. The guard is held."""
        state = self._state
        assert state.ledger is not None
        if state.provenance.disputed:
            return []
        before = claim.position
        gained, due = state.ledger.note_written(claim, min(offset, claim.stop))
        claim.received += count
        state.unsaved.was_written = True
        state.note_progress(claim, before)
        if gained:
            state.unsaved.add(gained)
        if claim.is_done or any(state.is_satisfied(wanted) for wanted in state.awaited):
            state.cond.notify_all()  # not at every buffer: to wake a thread costs more than to account for one
        return due

    def _compare_seams(self, due: list[tuple[int, bytes]]) -> None:
        for at, kept in due:
            part = ByteRange(at, at + len(kept))
            if self._differs(part, memoryview(kept)):
                raise VersionsMixed(_difference(part), in_bytes=True)

    def _compare(self, claim: Claim, part: ByteRange, data: memoryview, *, overrules: bool) -> None:
        """Compare arrived bytes with held ones; a difference means that versions are mixed.

        An answer that *overrules* began at byte 0 and goes on to the end: what it contradicts is not held any more.
        """
        state = self._state
        if not self._differs(part, data):
            return
        why = _difference(part)
        assert state.opened is not None and state.ledger is not None
        if claim.sample and state.opened.mismatch is not None:
            raise state.opened.mismatch(why)
        with state.cond:
            # A copy in memory may let go of the block's beginning at any moment, and this answer has passed it.
            is_gone = state.copy.max_bytes is not None and part.start % BLOCK > 0
            if not state.is_streaming or state.is_strict or not overrules or is_gone:
                raise VersionsMixed(why, in_bytes=True)
            state.forget(ByteRange(part.start, MAX_SIZE))
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
        """Forget what an answer from *start* on has brought for *claim*."""
        state = self._state
        with state.cond:
            start = max(start, claim.origin)
            if claim.sample or start >= claim.position:
                return
            state.forget(ByteRange(start, claim.position))
            claim.position = start
            state.unsaved.add(1)

    def _reset_stale_record(self) -> None:
        """After a start over, have the record say that nothing is held, before anything is written anew."""
        state = self._state
        with self._resetting:
            with state.cond:
                is_stale, state.provenance.record_is_stale = state.provenance.record_is_stale, False
                draft = state.draft_record() if is_stale else None
            if draft is not None:
                state.copy.reset(draft)

    def _ended(self, claim: Claim, size: int) -> None:
        """A body without announced length came to its end: now the size is known, if that end is to be trusted."""
        state = self._state
        with state.cond:
            assert state.identity is not None and state.ledger is not None
            known = state.identity.size
            is_framed = (state.stream or SingleStream()).framed
            if known is not None and size < known and not is_framed:
                raise AttemptFailed(
                    self._name, f"the connection ended {known - size} bytes before the body did"
                )
            if known is not None and known != size:
                why = f"the resource changed: {size} bytes came, where there were {known}"
                state.dispute()
                raise RemoteChangedError(self._name, why)
            if not is_framed and known is None and not state.policy.digest_decides:
                raise UnbelievableError(
                    self._name,
                    "the server sends no length, so a truncated download would go unnoticed",
                    hint="give --checksum ALG:HEX to have it checked",
                )
            reached = claim.position
            state.adopt(state.identity.sized(size), claim)
            claim.stop, claim.position = size, min(reached, size)
            # The other blocks were held as they came, and some may have been let go of since.
            if size % BLOCK and claim.is_done:
                state.ledger.blocks.hold(ByteRange(size // BLOCK * BLOCK, size))
            state.unsaved.add(1)
            state.cond.notify_all()


def _difference(part: ByteRange) -> str:
    return f"its content differs (first difference in bytes {part.start}-{part.stop - 1})"
