"""Opening: the first believed answer opens the copy, and its body serves the first claim."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ..core.ranges import ByteRange
from ..events import Listener, Notice, Started
from ..plan.claims import Claim
from ..protocol.identity import Identity
from ..protocol.verdict import Accept
from ..store.copies import Opened
from ..transport.response import Response
from .phase import Ranges, SingleStream
from .state import State
from .workers import Workers

Opener = Callable[[Identity, Response], Opened]


class Opening:
    """Opens the copy of one transfer by way of *opener*; *opened* is called when it is open."""

    def __init__(
        self, state: State, workers: Workers, opener: Opener, listener: Listener, opened: Callable[[], None]
    ) -> None:
        self._state = state
        self._workers = workers
        self._opener = opener
        self._listener = listener
        self._on_open = opened

    def confirm(self, response: Response) -> None:
        """Open the cached copy, which *response* says is what the server has."""
        state = self._state
        opened = self._opener(Identity(None), response)
        with state.cond:
            state.begin(opened, opened.copy.identity, Ranges())
        self._tell()

    def open(self, response: Response, verdict: Accept) -> Claim | None:
        """Open the copy with the first answer; return the claim that its body serves, None when it serves none."""
        opened = self._opener(verdict.identity, response)
        with self._state.cond:
            claim = self._begin(opened, verdict)
        self._tell()
        if verdict.whole:
            self._listener(Notice("no ranges here: reading everything in one piece", detail=True))
        elif not verdict.identity.is_strong:
            self._listener(Notice("no strong validator here: overlaps are compared instead", detail=True))
        return claim

    def _begin(self, opened: Opened, verdict: Accept) -> Claim | None:
        """Begin the ledger with the claim that the first body serves. Called with the guard held."""
        state, identity = self._state, verdict.identity
        if identity.size is None:  # a size that an earlier run learnt still binds
            identity = identity.sized(opened.copy.identity.size)
        opened.copy.settle(identity)
        ledger = state.begin(opened, identity, SingleStream() if verdict.whole else Ranges())
        if verdict.whole:
            claim = Claim(0, ledger.blocks.size)
            state.begin_whole(verdict.identity, verdict.framed, claim)
        else:
            claim = Claim(verdict.start, verdict.stop or verdict.start)
            state.first_claim = claim if opened.copy.blocks.held else None
            if opened.samples:
                ledger.samples = list(opened.samples)
                if not self._take_as_sample(claim):
                    return None
        claim.owner, claim.since = threading.current_thread(), time.monotonic()
        ledger.claims.append(claim)
        return claim

    def _take_as_sample(self, claim: Claim) -> bool:
        """Make *claim* a sample where its bytes are held; return whether they are.

        Nothing may be written before the samples agree.
        """
        ledger = self._state.ledger
        assert ledger is not None
        body = ByteRange(claim.origin, claim.stop)
        if not ledger.blocks.holds(body):
            return False
        claim.sample = True
        ledger.samples_open += 1
        ledger.samples = [sample for sample in ledger.samples if not body.contains(sample)]
        return True

    def _tell(self) -> None:
        state = self._state
        self._on_open()
        with state.cond:
            size, present = state.copy.identity.size, state.copy.blocks.bytes_held
            self._workers.start_one()
            state.cond.notify_all()
        self._listener(Started(state.name, size, present))
