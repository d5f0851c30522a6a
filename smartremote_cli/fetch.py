"""Fetcher: what one worker thread does. Take a claim, ask, check the answer, and put the body where it belongs.

Decisions are made under the guard of `State`, and acted on outside it. Whatever an answer brings is compared
where bytes are held already; a difference means that two versions are mixed.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

from . import planner
from .digests import of_resource
from .errors import (
    AttemptFailed,
    ChecksumError,
    OffsetError,
    RemoteChangedError,
    RemotePermissionError,
    SmartRemoteError,
    UnbelievableError,
)
from .events import Listener, Notice, Retrying, Started
from .headers import Asked, Identity, Unbelievable, read_answer
from .ledger import Claim
from .limiter import Limiter
from .ranges import ByteRange
from .receive import Receiver, VersionsMixed
from .remote import Remote, refusal
from .state import Opened, State
from .transport import Response
from .verdict import (
    MOST_ODD,
    AskFor,
    Changed,
    Confirmed,
    Context,
    Mixed,
    Odd,
    Otherwise,
    PastEnd,
    Refused,
    Take,
    Verdict,
    judge,
)

log = logging.getLogger("smartremote")

SKIPPABLE = 64 * 1024  # a body of no use that is this short is read to its end, for the connection's sake
IDLE_LOOK = 0.1  # seconds after which a connection without work looks for some to share

Opener = Callable[[Identity, Response], Opened]


class PastEndError(OffsetError):
    """What was asked for begins past the end; *size* is what the server says."""

    def __init__(self, what: str, size: int) -> None:
        super().__init__(what, f"the offset lies past the end, at {size} bytes")
        self.size = size


class Fetcher:
    """The work of one transfer's threads. *kick* starts more of them, *opened* is told when the copy is open."""

    def __init__(
        self,
        state: State,
        remote: Remote,
        opener: Opener,
        listener: Listener,
        limiter: Limiter | None,
        kick: Callable[[], None],
        opened: Callable[[], None],
    ) -> None:
        self._state = state
        self._remote = remote
        self._opener = opener
        self._listener = listener
        self._receiver = Receiver(state, remote.name, limiter, remote.transport.options.timeout)
        self._kick = kick
        self._on_open = opened

    def run(self) -> None:
        """Serve claims until there are none, or the transfer ends."""
        state, me = self._state, threading.current_thread()
        try:
            while self._serve_next():
                pass
        except SmartRemoteError as error:
            self.fail(error)
        except BaseException as error:  # a defect: it must reach the caller, not die with the thread
            failure = SmartRemoteError("a defect of smartremote", f"{type(error).__name__}: {error}")
            failure.__cause__ = error
            self.fail(failure)
        finally:
            with state.cond:
                state.threads.pop(me, None)
                if state.barrier is not None and not state.threads:
                    barrier, state.barrier = state.barrier, None
                    barrier()
                self._kick()
                state.cond.notify_all()

    def fail(self, error: SmartRemoteError) -> None:
        """End the transfer with *error*, for everybody."""
        state = self._state
        with state.cond:
            if state.error is None and not state.stopping:
                state.error = error
        self._abort_others()

    # Claims

    def _serve_next(self) -> bool:
        """Serve one claim; return whether to look for another."""
        state = self._state
        with state.cond:
            if state.is_leaving or (state.ledger is None and state.probing):
                return False
            if state.ledger is None:
                state.probing = True
        if state.probing:
            try:
                return self._persist(None)
            finally:
                with state.cond:
                    state.probing = False
        claim = self._take_claim()
        if claim is None:
            return False
        with self._serving(claim):
            return self._persist(claim)
        return True

    def _take_claim(self) -> Claim | None:
        state = self._state
        with state.cond:
            while not state.is_leaving and state.ledger is not None:
                now = time.monotonic()
                state.patience.try_more(now)
                if len(state.threads) > state.patience.connections or not state.todo:
                    return None
                claim = state.ledger.next_claim(state.patience.connections, now, whole=state.streaming)
                if claim is not None:
                    claim.owner = threading.current_thread()
                    self._close_evicted()
                    self._kick()
                    return claim
                if not state.ledger.claims or state.streaming:
                    return None
                state.cond.wait(IDLE_LOOK)
        return None

    def _close_evicted(self) -> None:
        """Close the connections whose work was taken over. Called with the guard held; shutdown(2) does not wait."""
        state = self._state
        assert state.ledger is not None
        for claim in state.ledger.evicted:
            owner = claim.owner
            response = state.threads.get(owner) if isinstance(owner, threading.Thread) else None
            if response is not None:
                log.info("a connection was far slower than the others: its work goes to another")
                response.abort()
        state.ledger.evicted.clear()

    @contextlib.contextmanager
    def _serving(self, claim: Claim) -> Iterator[None]:
        """Give *claim* back in the end. What puts held bytes in doubt is known by then: nobody takes them for done."""
        try:
            yield
        except VersionsMixed as reason:
            self._versions_mixed(reason)
        except (AttemptFailed, ChecksumError):
            raise
        except SmartRemoteError as error:
            self.fail(error)
            raise
        finally:
            self._release(claim)

    def _release(self, claim: Claim) -> None:
        state = self._state
        with state.cond:
            if state.ledger is not None:
                state.ledger.release(claim, keep=not state.streaming, now=time.monotonic())
            state.cond.notify_all()

    def _persist(self, claim: Claim | None) -> bool:
        """Try until *claim* (None: the first answer) is here; return whether this worker should go on."""
        state, patience = self._state, self._state.patience
        failures, seen = 0, patience.arrived
        useless, corrupt = 0, False
        while self._is_needed(claim):
            position = None if claim is None else claim.position
            try:
                self._sleep_until(patience.not_before)
                taken = self._attempt(claim)
                if claim is None or claim.position != position:
                    useless = 0
                elif taken and not self._is_done(claim):
                    useless += 1
                    self._obey_useless(useless)
            except VersionsMixed as reason:
                self._versions_mixed(reason)
            except ChecksumError as error:  # its bytes were taken back: they are asked for once more
                if corrupt:
                    raise
                corrupt = True
                self._listener(Retrying(str(error), 0.0, 1))
                log.info("%s; once more", error)
            except RemotePermissionError as error:
                with state.cond:
                    if not patience.refused() and not (patience.one_only and len(state.threads) > 1):
                        raise
                log.info("%s; once more with one connection", error)
                return len(state.threads) == 1
            except AttemptFailed as error:
                now = time.monotonic()
                with state.cond:
                    if state.is_leaving:
                        return False
                    if claim is not None and state.ledger is not None and state.ledger.is_finished(claim):
                        return True  # its work was taken over
                    if error.crowded and len(state.threads) > 1:
                        patience.crowded(error, len(state.threads), now)
                        log.info("%s; going on with %d connections", error, patience.limit)
                        return False
                    if patience.is_progress(seen, error, now):
                        failures = 0
                    seen = patience.arrived
                    failures += 1
                    wait = patience.wait(failures, error, now)
                self._listener(Retrying(str(error), wait, failures))
                log.info("%s; again in %.1f s", error, wait)
                self._sleep_until(now + wait)
        with state.cond:
            return not state.is_leaving

    def _obey_useless(self, count: int) -> None:
        """Ask again after an answer that was believed and brought nothing; after some in a row without ranges."""
        if count >= MOST_ODD:
            self._turn_to_stream(None)
        else:
            raise AttemptFailed(self._remote.name, "an answer brought none of the bytes asked for")

    def _is_needed(self, claim: Claim | None) -> bool:
        state = self._state
        with state.cond:
            if state.is_leaving:
                return False
            if claim is None or state.ledger is None:
                return state.ledger is None
            return not state.ledger.is_finished(claim)

    def _is_done(self, claim: Claim | None) -> bool:
        with self._state.cond:
            return claim is None or self._state.ledger is None or self._state.ledger.is_finished(claim)

    def _sleep_until(self, moment: float) -> None:
        state = self._state
        with state.cond:
            while not state.is_leaving and (left := moment - time.monotonic()) > 0:
                state.cond.wait(left)

    # One attempt

    def _attempt(self, claim: Claim | None) -> bool:
        """Send one request for what is left of *claim*; return whether its body was taken."""
        state = self._state
        with state.cond:
            if claim is not None and state.ledger is not None and state.ledger.is_finished(claim):
                return False  # another connection has taken it over, or brought it
            asked, extra = self._request_for(claim)
            response, state.stash = state.stash, None
            if claim is not None:
                claim.since, claim.received = time.monotonic(), 0
        if response is None:
            response = self._remote.ask(asked, extra.items())
        else:
            asked, extra = Asked(), {}
        keep = False
        try:
            with self._using(response):
                verdict = self._judge(response, asked, bool(extra))
                if isinstance(verdict, Take):
                    return self._take(claim, response, verdict, asked)
                keep = verdict is Otherwise.USE_AS_STREAM
                self._obey(verdict, response)
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
            return Asked(range=state.ledger.asked(claim)), extra
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
                odd=state.odd,
                rumour=state.rumour,
            )
            if isinstance(answer, Unbelievable) and answer.size is not None:
                state.rumour = answer.size
        verdict = judge(answer, at)
        log.debug("%s %s: %s, %s", self._remote.name, asked.header, answer, verdict)
        return verdict

    def _obey(self, verdict: Verdict, response: Response) -> None:
        """Do what *verdict* says about an answer whose body is not taken."""
        state, name = self._state, self._remote.name
        if verdict is not Otherwise.USE_AS_STREAM:
            response.skip(SKIPPABLE)
        match verdict:
            case Confirmed():
                opened = self._opener(Identity(None), response)
                with state.cond:
                    state.begin(opened, opened.copy.identity)
                self._has_opened()
            case Otherwise.UNCONDITIONALLY:
                with state.cond:
                    state.again, state.precondition, state.condition = True, False, {}
            case Otherwise.IN_ONE_PIECE | Otherwise.USE_AS_STREAM:
                self._turn_to_stream(response if verdict is Otherwise.USE_AS_STREAM else None)
            case AskFor(asked=asked):
                with state.cond:
                    state.first = asked
            case Mixed(why=why):
                raise VersionsMixed(why)
            case Changed(why=why):
                raise RemoteChangedError(name, why)
            case PastEnd(size=size):
                raise PastEndError(name, size)
            case Odd(why=why, final=final):
                with state.cond:
                    state.odd += 1
                if final:
                    raise UnbelievableError(name, f"its answer cannot be believed: {why}")
                raise AttemptFailed(name, f"its answer cannot be believed: {why}")
            case Refused() | Take():
                raise refusal(response, name)

    def _turn_to_stream(self, response: Response | None) -> None:
        state = self._state
        with state.cond:
            if state.streaming and state.ledger is not None:
                if not state.stream_resumes:
                    raise UnbelievableError(self._remote.name, "its answers cannot be believed")
                state.stream_resumes = False
                return
            state.stash = response
            if state.ledger is None:
                state.begin_stream()
                return
            state.barrier = state.begin_stream
        self._abort_others()

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

    def _abort_others(self) -> None:
        state, me = self._state, threading.current_thread()
        with state.cond:
            others = [(thread, response) for thread, response in state.threads.items() if thread is not me]
            state.cond.notify_all()
        for thread, response in others:
            if response is not None:
                response.abort()
            self._remote.transport.abort(thread.ident)

    # Believed answers

    def _take(self, claim: Claim | None, response: Response, verdict: Take, asked: Asked) -> bool:
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
            with self._serving(claim):
                return self._receiver.receive(claim, response, verdict.start, verdict.stop)
            return True
        with state.cond:
            state.odd, state.again = 0, False
            claim.since = time.monotonic()  # its pace is that of the body
            state.patience.welcome()
            if verdict.whole:
                self._begin_whole(verdict, claim)
            self._kick()
        return self._receiver.receive(claim, response, verdict.start, verdict.stop)

    def _begin_whole(self, verdict: Take, claim: Claim) -> None:
        """Note what is streamed from here on. Called with the guard held."""
        state = self._state
        state.stream_identity = verdict.identity
        state.framed = verdict.framed
        assert state.identity is not None
        if not state.is_strict or state.identity.size is None:
            state.adopt(verdict.identity, claim)

    def _open(self, response: Response, verdict: Take) -> Claim | None:
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
                if opened.samples:
                    ledger.samples = list(opened.samples)
                    claim = self._as_sample(claim)
            if claim is not None:
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

    def _versions_mixed(self, reason: VersionsMixed) -> None:
        """Start over once, as one stream, unless held bytes must not change."""
        state, why = self._state, str(reason)
        with state.cond:
            if state.barrier is not None:
                return
            if state.streaming and state.stream_resumes and not state.is_strict:
                state.stream_resumes = (
                    False  # what goes on in the middle may be of another version: from byte 0
                )
                return
            if state.ledger is None or state.is_strict or state.restarts:
                flips = "; its answers are of several versions" if state.restarts else ""
                if reason.disputed and state.ledger is not None:
                    state.dispute()
                error = RemoteChangedError(self._remote.name, why + flips)
                state.error = state.error or error
                raise error
            state.restarts += 1
            state.barrier = state.start_over
        self._listener(Notice(f"{why}: starting over, in one piece"))
        self._abort_others()
