"""Attempts: one request for what a claim lacks, what its answer means, and who takes its body.

Nothing of an answer is used before `verdict` has held what it promises against what is known.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from ..core.ranges import ByteRange
from ..errors import AttemptFailed, PastEndError, RemoteChangedError, UnbelievableError
from ..events import Listener, Notice
from ..plan import planner
from ..plan.claims import Claim
from ..protocol.answers import EVERYTHING, Asked, Partial, read_answer
from ..protocol.digests import of_resource
from ..protocol.labels import page_instead_of
from ..protocol.verdict import (
    Accept,
    AskInstead,
    Changed,
    Confirmed,
    Implausible,
    Known,
    Mixed,
    PastEnd,
    Refused,
    Retry,
    Verdict,
    judge,
)
from ..transport.refusals import refusal
from ..transport.response import Response
from .opening import Opening
from .phase import Probing, SingleStream
from .receive import Receiver, VersionsMixed
from .state import Source, State
from .workers import Workers

log = logging.getLogger("smartremote")

# Bytes. A useless body that is this short is read to its end, so that its connection can be used again: one block
# costs less than the round trips of a new connection.
MAX_SKIPPED_BODY = 64 * 1024

Hold = Callable[[Claim], AbstractContextManager[None]]


class Attempts:
    """The requests of one transfer."""

    def __init__(
        self, state: State, workers: Workers, opening: Opening, listener: Listener, receiver: Receiver
    ) -> None:
        self._state = state
        self._workers = workers
        self._opening = opening
        self._listener = listener
        self._receiver = receiver

    def make(self, source: Source, claim: Claim | None, hold: Hold) -> bool:
        """Ask *source* for what is left of *claim*; return whether the body of its answer was taken.

        None stands for the claim of the first answer, which opens the copy; *hold* then has the claim that its body
        serves.
        """
        state = self._state
        with state.cond:
            if claim is not None and state.ledger is not None and state.ledger.is_finished(claim):
                return False  # another connection has taken it over, or fetched it
            asked, condition = self._request_for(source, claim)
            response, state.carried_response = state.carried_response, None
            if claim is not None:
                claim.since, claim.received = time.monotonic(), 0
        if response is None:
            response = source.remote.ask(asked, condition.items(), lambda: state.is_leaving)
        else:
            asked, condition = EVERYTHING, {}
        keep = False
        try:
            with self._workers.using(response):
                verdict = self._judge(source, response, asked, bool(condition))
                if isinstance(verdict, Accept):
                    return self._take(source, claim, response, verdict, hold)
                keep = self._obey(verdict, response)
                return False
        finally:
            if not keep:
                response.close()

    def turn_to_stream(self, response: Response | None = None) -> bool:
        """Read everything in one piece from here on; *response* is that piece, where it is here already.

        Returns whether *response* is kept. It is not when the transfer is over, or another thread came first.
        """
        state = self._state
        with state.cond:
            if state.is_leaving:
                return False
            if isinstance(state.mode, SingleStream):
                if not state.mode.resumes:
                    raise UnbelievableError(state.name, "the server's answers are inconsistent")
                state.read_from_start()
                return False
            state.carried_response = response
            if isinstance(state.mode, Probing):
                state.go_on_in(Probing(whole=True))
                return response is not None
            state.drain(SingleStream())
        self._workers.abort_others()
        return response is not None

    def _request_for(self, source: Source, claim: Claim | None) -> tuple[Asked, Mapping[str, str]]:
        """Return what to ask for, and the condition headers. Called with the guard held."""
        state, approach = self._state, source.approach
        if claim is None or state.ledger is None:
            return (EVERYTHING, {}) if state.is_streaming else (approach.first, approach.condition)
        if not isinstance(state.mode, SingleStream):
            return Asked(range=state.ledger.range_to_ask(claim)), approach.precondition(state.identity)
        return _rest_of_stream(state.mode, claim.position)

    def _judge(self, source: Source, response: Response, asked: Asked, conditioned: bool) -> Verdict:
        answer = read_answer(response.status, response.headers, asked)
        state = self._state
        with state.cond:
            stream, known = state.stream, state.identity
            if stream is not None and stream.identity is not None and asked.header is not None:
                known = stream.identity
            at = Known(
                asked,
                known if state.ledger is not None else None,
                streaming=state.is_streaming,
                conditioned=conditioned,
                strict=state.is_strict,
                answered=source.remote.answers_ranges,
            )
            verdict, source.approach = judge(answer, source.approach, at)
            if isinstance(answer, Partial) and isinstance(verdict, Accept):
                source.remote.answers_ranges = True
        log.debug("%s %s: %s, %s", source.remote.name, asked.header, answer, verdict)
        return verdict

    def _obey(self, verdict: Verdict, response: Response) -> bool:
        """Do what *verdict* says about an answer whose body is not taken; return whether it is kept for later."""
        name = self._state.name
        if verdict is not Retry.USE_AS_STREAM:
            response.skip(MAX_SKIPPED_BODY)
        match verdict:
            case Confirmed():
                self._opening.confirm(response)
            case Retry.UNCONDITIONALLY | AskInstead():
                pass  # the approach knows how
            case Retry.IN_ONE_PIECE:
                return self.turn_to_stream()
            case Retry.USE_AS_STREAM:
                return self.turn_to_stream(response)
            case Mixed(why=why):
                raise VersionsMixed(why)
            case Changed(why=why):
                raise RemoteChangedError(name, why)
            case PastEnd(size=size):
                raise PastEndError(name, size)
            case Implausible(why=why, final=True):
                raise UnbelievableError(name, f"the server's answer is inconsistent: {why}")
            case Implausible(why=why):
                raise AttemptFailed(name, f"the server's answer is inconsistent: {why}")
            case Refused() | Accept():
                raise refusal(response, name)
        return False

    def _take(
        self, source: Source, claim: Claim | None, response: Response, verdict: Accept, hold: Hold
    ) -> bool:
        """Take the body of a believed answer, for the claim that it serves."""
        state = self._state
        digest = of_resource(response.headers)
        if digest is not None:
            with state.cond:
                state.digests.add(digest)
        if verdict.coding is not None and (claim is None or verdict.whole):
            why = f"the server sent Content-Encoding {verdict.coding} although identity was requested"
            self._listener(Notice(f"{why}; storing the encoded bytes"))
        if claim is None:
            self._warn_of_page(source, response)
            claim = self._opening.open(response, verdict)
            if claim is None:
                return True
            with hold(claim):
                return self._receiver.receive(claim, response, verdict.start, verdict.stop, verdict.doubtful)
            return True
        with state.cond:
            if state.ledger is not None:
                state.ledger.note_head(claim, time.monotonic())
            state.patience.welcome()
            if verdict.whole:
                state.begin_whole(verdict.identity, verdict.framed, claim)
            self._workers.start_one()
        return self._receiver.receive(claim, response, verdict.start, verdict.stop)

    def _warn_of_page(self, source: Source, response: Response) -> None:
        """Warn of a page of HTML where the URL names a file of another kind: a login, an error, an interstitial."""
        name = page_instead_of(response.headers, source.remote.url)
        if name is not None:
            self._listener(Notice(f"the server sent an HTML page (text/html) in place of {name}"))


def _rest_of_stream(stream: SingleStream, position: int) -> tuple[Asked, Mapping[str, str]]:
    """Return the request for what a stream lacks from *position* on: its rest where that is provably of one version."""
    known = stream.identity
    if known is not None and known.size and stream.resumes:
        condition = known.if_range()
        if condition and planner.SEAM < position < known.size:
            return Asked(range=ByteRange(position - planner.SEAM, known.size)), condition
    return EVERYTHING, {}
