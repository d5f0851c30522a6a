"""Attempts: one request for what a claim lacks, what its answer means, and whose its body is.

Nothing of an answer is used before `verdict` has held what it promises against what is known.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from ..core.ranges import ByteRange
from ..errors import AttemptFailed, PastEndError, RemoteChangedError, UnbelievableError
from ..events import Listener, Notice, Started
from ..plan import planner
from ..plan.claims import Claim
from ..protocol.answers import Asked, Unbelievable, read_answer
from ..protocol.digests import of_resource
from ..protocol.identity import Identity
from ..protocol.verdict import (
    Accept,
    AskInstead,
    Changed,
    Confirmed,
    Context,
    Implausible,
    Mixed,
    PastEnd,
    Refused,
    Retry,
    Verdict,
    judge,
)
from ..store.copies import Opened
from ..transport.remote import Remote, refusal
from ..transport.response import Response
from .receive import Receiver, VersionsMixed
from .state import State

log = logging.getLogger("smartremote")

SKIPPABLE = 64 * 1024  # a body of no use that is this short is read to its end, for the connection's sake

Opener = Callable[[Identity, Response], Opened]
Hold = Callable[[Claim], AbstractContextManager[None]]


class Attempts:
    """The requests of one transfer. *kick* starts more threads, *opened* is told when the copy is open."""

    def __init__(
        self,
        state: State,
        remote: Remote,
        opener: Opener,
        listener: Listener,
        receiver: Receiver,
        kick: Callable[[], None],
        opened: Callable[[], None],
    ) -> None:
        self._state = state
        self._remote = remote
        self._opener = opener
        self._listener = listener
        self._receiver = receiver
        self._kick = kick
        self._on_open = opened

    def make(self, claim: Claim | None, hold: Hold) -> bool:
        """Send one request for what is left of *claim*; return whether its body was taken.

        None is the claim of the first answer, which opens the copy; *hold* then has the claim that it serves.
        """
        state = self._state
        with state.cond:
            if claim is not None and state.ledger is not None and state.ledger.is_finished(claim):
                return False  # another connection has taken it over, or brought it
            asked, extra = self._request_for(claim)
            response, state.stash = state.stash, None
            if claim is not None:
                claim.since, claim.received = time.monotonic(), 0
        if response is None:
            response = self._remote.ask(asked, extra.items(), lambda: state.is_leaving)
        else:
            asked, extra = Asked(), {}
        keep = False
        try:
            with self._using(response):
                verdict = self._judge(response, asked, bool(extra))
                if isinstance(verdict, Accept):
                    return self._take(claim, response, verdict, hold)
                keep = self._obey(verdict, response)
                return False
        finally:
            if not keep:
                response.close()

    def _request_for(self, claim: Claim | None) -> tuple[Asked, dict[str, str]]:
        """Return what to ask for, and the condition headers. Called with the guard held."""
        state = self._state
        if claim is None or state.ledger is None:
            return (Asked(), {}) if state.streaming else (state.first, state.condition)
        if not state.streaming:
            known = state.identity
            extra = known.precondition() if known is not None and state.precondition else {}
            return Asked(range=state.ledger.range_to_ask(claim)), extra
        known = state.stream_identity
        if known is not None and known.size and state.stream_resumes:
            condition = known.if_range()
            if condition and planner.SEAM < claim.position < known.size:
                return Asked(range=ByteRange(claim.position - planner.SEAM, known.size)), condition
        return Asked(), {}

    def _judge(self, response: Response, asked: Asked, conditioned: bool) -> Verdict:
        answer = read_answer(response.status, response.headers, asked)
        state = self._state
        with state.cond:
            known = state.identity
            if state.streaming and state.stream_identity is not None and asked.header is not None:
                known = state.stream_identity
            at = Context(
                asked,
                known if state.ledger is not None else None,
                streaming=state.streaming,
                conditioned=conditioned,
                strict=state.is_strict,
                again=state.again,
                implausible=state.implausible,
                unconfirmed_size=state.unconfirmed_size,
            )
            if isinstance(answer, Unbelievable) and answer.size is not None:
                state.unconfirmed_size = answer.size
        verdict = judge(answer, at)
        log.debug("%s %s: %s, %s", self._remote.name, asked.header, answer, verdict)
        return verdict

    def _obey(self, verdict: Verdict, response: Response) -> bool:
        """Do what *verdict* says about an answer whose body is not taken; return whether it is kept for later."""
        state, name = self._state, self._remote.name
        if verdict is not Retry.USE_AS_STREAM:
            response.skip(SKIPPABLE)
        match verdict:
            case Confirmed():
                opened = self._opener(Identity(None), response)
                with state.cond:
                    state.begin(opened, opened.copy.identity)
                self._has_opened()
            case Retry.UNCONDITIONALLY:
                with state.cond:
                    state.again = True
                    state.drop_conditions()
            case Retry.IN_ONE_PIECE | Retry.USE_AS_STREAM:
                return self.turn_to_stream(response if verdict is Retry.USE_AS_STREAM else None)
            case AskInstead(asked=asked):
                with state.cond:
                    state.first = asked
            case Mixed(why=why):
                raise VersionsMixed(why)
            case Changed(why=why):
                raise RemoteChangedError(name, why)
            case PastEnd(size=size):
                raise PastEndError(name, size)
            case Implausible(why=why, final=final):
                with state.cond:
                    state.implausible += 1
                if final:
                    raise UnbelievableError(name, f"its answer cannot be believed: {why}")
                raise AttemptFailed(name, f"its answer cannot be believed: {why}")
            case Refused() | Accept():
                raise refusal(response, name)
        return False

    def turn_to_stream(self, response: Response | None = None) -> bool:
        """Read everything in one piece from here on; *response* is that very piece, where it is here already.

        Returns whether *response* is kept: it is not where the transfer is over, or another thread turned it first.
        """
        state = self._state
        with state.cond:
            if state.is_leaving:
                return False
            if state.streaming and state.ledger is not None:
                if not state.stream_resumes:
                    raise UnbelievableError(self._remote.name, "its answers cannot be believed")
                state.stream_resumes = False
                return False
            state.stash = response
            if state.ledger is None:
                state.begin_stream()
                return response is not None
            state.barrier = state.begin_stream
        self.abort_others()
        return response is not None

    @contextlib.contextmanager
    def _using(self, response: Response) -> Iterator[None]:
        """Let `stop` and `fail` reach this thread's answer."""
        state, me = self._state, threading.current_thread()
        with state.cond:
            if state.is_leaving:
                response.abort()
            state.threads[me] = response
        try:
            yield
        finally:
            with state.cond:
                state.threads[me] = None

    def abort_others(self) -> None:
        """End the requests of all threads but this one."""
        state, me = self._state, threading.current_thread()
        with state.cond:
            others = [(thread, response) for thread, response in state.threads.items() if thread is not me]
            state.cond.notify_all()
        for thread, response in others:
            self._remote.abort(thread, response)

    def _take(self, claim: Claim | None, response: Response, verdict: Accept, hold: Hold) -> bool:
        """Take the body of a believed answer, for the claim that it serves."""
        state = self._state
        digest = of_resource(response.headers)
        if digest is not None:
            with state.cond:
                state.digests.add(digest)
        if verdict.coding is not None:
            text = f"the server codes the body as {verdict.coding} unasked: it is stored as sent"
            self._listener(Notice(text))
        if claim is None:
            claim = self._open(response, verdict)
            if claim is None:
                return True
            with hold(claim):
                return self._receiver.receive(claim, response, verdict.start, verdict.stop, verdict.doubtful)
            return True
        with state.cond:
            state.implausible, state.again = 0, False
            if state.ledger is not None:
                state.ledger.note_head(claim, time.monotonic())
            state.patience.welcome()
            if verdict.whole:
                self._begin_whole(verdict, claim)
            self._kick()
        return self._receiver.receive(claim, response, verdict.start, verdict.stop)

    def _begin_whole(self, verdict: Accept, claim: Claim) -> None:
        """Note what is streamed from here on. Called with the guard held."""
        state = self._state
        state.stream_identity = verdict.identity
        state.framed = verdict.framed
        assert state.identity is not None
        if not state.is_strict or state.identity.size is None:
            state.adopt(verdict.identity, claim)

    def _open(self, response: Response, verdict: Accept) -> Claim | None:
        """Open the copy with the first answer; return the claim that its body serves, None when it serves none."""
        state = self._state
        opened = self._opener(verdict.identity, response)
        with state.cond:
            identity = verdict.identity
            if identity.size is None:  # a size that an earlier run learnt still binds
                identity = identity.sized(opened.copy.identity.size)
            opened.copy.settle(identity)
            ledger = state.begin(opened, identity)
            claim: Claim | None
            if verdict.whole:
                state.begin_stream()
                claim = Claim(0, ledger.blocks.size)
                self._begin_whole(verdict, claim)
            else:
                claim = Claim(verdict.start, verdict.stop or verdict.start)
                state.meeting = claim if opened.copy.blocks.held else None
                if opened.samples:
                    ledger.samples = list(opened.samples)
                    claim = self._as_sample(claim)
            if claim is not None:
                claim.owner, claim.since = threading.current_thread(), time.monotonic()
                ledger.claims.append(claim)
        self._has_opened()
        if verdict.whole:
            self._listener(Notice("no ranges here: reading everything in one piece", detail=True))
        elif not verdict.identity.is_strong:
            self._listener(Notice("no strong validator here: overlaps are compared instead", detail=True))
        return claim

    def _as_sample(self, claim: Claim) -> Claim | None:
        """Return *claim* as a sample where its bytes are held; nothing may be written before samples agree."""
        ledger = self._state.ledger
        assert ledger is not None
        body = ByteRange(claim.origin, claim.stop)
        if not ledger.blocks.holds(body):
            return None
        claim.sample = True
        ledger.samples_open += 1
        ledger.samples = [sample for sample in ledger.samples if not body.contains(sample)]
        return claim

    def _has_opened(self) -> None:
        state = self._state
        self._on_open()
        with state.cond:
            size, present = state.copy.identity.size, state.copy.blocks.bytes_held
            self._kick()
            state.cond.notify_all()
        self._listener(Started(self._remote.name, size, present))
