"""Receiver: puts the body of a believed answer where it belongs.

What is missing is written; what is held already is compared, and a difference means that versions are mixed.
Which is which, the ledger says under the guard of `State`; reading, writing and comparing happen outside it.
"""

from __future__ import annotations

import time

from . import planner
from .blocks import MAX_SIZE
from .errors import AttemptFailed, RemoteChangedError
from .ledger import Claim, Do
from .limiter import Limiter
from .patience import SLOWEST
from .ranges import ByteRange
from .state import State
from .transport import Response

BUFFER = 256 * 1024


class VersionsMixed(Exception):
    """Two answers are not of one version."""


class Receiver:
    """Receives for one transfer; *name* is its URL as it may be shown, *timeout* is in seconds."""

    def __init__(self, state: State, name: str, limiter: Limiter | None, timeout: float) -> None:
        self._state = state
        self._name = name
        self._limiter = limiter
        self._timeout = timeout

    def receive(self, claim: Claim, response: Response, offset: int, stop: int | None) -> bool:
        """Take a body that begins at *offset* as far as *claim* needs it."""
        state = self._state
        ledger, copy = state.ledger, state.copy
        assert ledger is not None
        self._renounce()
        view = memoryview(bytearray(BUFFER))
        began, total = time.monotonic(), 0
        while stop is None or offset < stop:
            room = BUFFER if stop is None else min(BUFFER, stop - offset)
            if self._limiter is not None:
                room = min(room, self._limiter.share)
            count = response.read_into(view[:room])
            if not count:
                break
            if self._limiter is not None:
                self._limiter.take(count, lambda: state.is_leaving)
            with state.cond:
                if state.is_leaving:
                    return True
                pieces = ledger.cut(claim, offset, count)
            for do, part in pieces:
                piece = view[part.start - offset : part.stop - offset]
                if do is Do.WRITE:
                    copy.write(part.start, piece)
                elif do is Do.COMPARE:
                    self._compare(claim, part, piece)
                else:
                    with state.cond:
                        waits = ledger.keep(part.start, bytes(piece))
                    if not waits:
                        self._compare(claim, part, piece)
            offset += count
            total += count
            with state.cond:
                due = self._note(claim, offset, count)
                enough = ledger.is_finished(claim) and (
                    not claim.is_done or offset >= claim.stop + planner.SEAM
                )
            for at, kept in due:
                self._compare(claim, ByteRange(at, at + len(kept)), memoryview(kept))
            if enough:
                return True
            elapsed = time.monotonic() - began
            if self._limiter is None and elapsed > 2 * self._timeout and total < SLOWEST * elapsed:
                raise AttemptFailed(self._name, f"only {total} bytes in {elapsed:.0f} s", stalled=True)
        if stop is None:
            self._ended(claim, offset)
        return True

    def _note(self, claim: Claim, offset: int, count: int) -> list[tuple[int, bytes]]:
        """Account for arrived bytes; return the kept seams that can be compared now. The guard is held."""
        state = self._state
        assert state.ledger is not None
        before = claim.position
        gained, due = state.ledger.arrived(claim, min(offset, claim.stop))
        claim.received += count
        if not state.streaming:
            state.patience.arrived += claim.position - before
        elif claim.position > state.furthest:
            state.patience.arrived += claim.position - state.furthest
            state.furthest = claim.position
        state.dirty += gained
        if gained or claim.is_done:
            state.cond.notify_all()
        return due

    def _compare(self, claim: Claim, part: ByteRange, data: memoryview) -> None:
        """Compare arrived bytes with held ones; a difference means that versions are mixed."""
        state = self._state
        held = state.copy.read(part)
        if held == data or len(held) < len(part):  # fewer: a copy in memory has let go of them
            return
        why = f"bytes {part.start} to {part.stop - 1} are not the ones that are held"
        assert state.opened is not None and state.ledger is not None
        if claim.sample and state.opened.mismatch is not None:
            raise state.opened.mismatch(why)
        if not state.streaming or state.is_strict:
            raise VersionsMixed(why)
        with state.cond:  # the stream, from byte 0, is of one version: what it contradicts is not held
            state.ledger.blocks.forget(ByteRange(part.start, MAX_SIZE))
            claim.position = min(claim.position, part.start)
            snapshot = state.snapshot()
        state.copy.checkpoint(snapshot)
        state.copy.write(part.start, data)

    def _renounce(self) -> None:
        """After a start over, have the record say that nothing is held, before anything is written anew."""
        state = self._state
        with state.cond:
            renounced, state.renounced = state.renounced, False
            snapshot = state.snapshot()
        if renounced:
            state.copy.renounce(snapshot)

    def _ended(self, claim: Claim, size: int) -> None:
        """A body without announced length came to its end: now the size is known."""
        state = self._state
        with state.cond:
            assert state.identity is not None and state.ledger is not None
            known = state.identity.size
            if known is not None and known != size:
                raise RemoteChangedError(self._name, f"{size} bytes came, where there were {known}")
            state.adopt(state.identity.sized(size), claim)
            if size:
                state.ledger.blocks.hold(ByteRange(0, size))
            claim.stop = claim.position = size
            state.dirty += 1
            state.cond.notify_all()
