"""Fetcher: what one worker thread does. Take a claim, and make attempts until it is here or patience ends.

Decisions are made under the guard of `State`, and acted on outside it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

from ..core.blocks import BLOCK
from ..errors import AttemptFailed, ChecksumError, RemoteChangedError, RemotePermissionError, SmartRemoteError
from ..events import Listener, Notice, Retrying
from ..plan.claims import Claim
from ..protocol.verdict import MAX_IMPLAUSIBLE
from ..transport.limiter import Limiter
from ..transport.remote import Remote
from .attempts import Attempts, Opener
from .receive import PartOnly, Receiver, VersionsMixed
from .state import State

log = logging.getLogger("smartremote")

IDLE_LOOK = 0.1  # seconds after which a connection without work looks for some to share


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
        self._listener = listener
        self._kick = kick
        receiver = Receiver(state, remote.name, limiter, remote.transport.options.timeout)
        self._attempts = Attempts(state, remote, opener, listener, receiver, kick, opened)

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
        self._attempts.abort_others()

    # Claims

    def _serve_next(self) -> bool:
        """Serve one claim; return whether to look for another."""
        state = self._state
        with state.cond:
            if state.is_leaving or (state.ledger is None and state.probing):
                return False
            probing = state.ledger is None
            if probing:
                state.probing = True
        if probing:
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
                claim = state.ledger.claim_next(state.patience.connections, now, whole=state.streaming)
                if claim is not None:
                    claim.owner, claim.since, claim.received = threading.current_thread(), now, 0
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
            if not isinstance(claim.owner, threading.Thread) or claim.owner not in state.threads:
                continue
            log.info("a connection was far slower than the others: its work goes to another")
            self._remote.abort(claim.owner, state.threads[claim.owner])
        state.ledger.evicted.clear()

    @contextlib.contextmanager
    def _serving(self, claim: Claim) -> Iterator[None]:
        """Give *claim* back in the end. What puts held bytes in doubt is known by then: nobody takes them for done."""
        try:
            yield
        except VersionsMixed as reason:
            self._versions_mixed(reason)
        except PartOnly:
            self._stream_from_start()
        except AttemptFailed:
            with self._state.cond:
                if self._state.ledger is None or not self._state.ledger.is_finished(claim):
                    raise  # else its work was taken over
        except ChecksumError:
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
            position = 0 if claim is None else claim.position
            alone = patience.one_only
            try:
                self._sleep_until(patience.not_before)
                taken = self._attempts.make(claim, self._serving)
                if claim is None or claim.position >= position + BLOCK or self._is_done(claim):
                    useless = 0
                elif taken:
                    useless += 1
                    self._obey_useless(useless, claim.position > position)
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
                    if not patience.go_on_alone() and (alone or not patience.one_only):
                        raise
                    state.precondition = False
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
                        patience.use_one_fewer(error, len(state.threads), now)
                        log.info("%s; going on with %d connections", error, patience.limit)
                        return False
                    if patience.take_stock(seen, error, now):
                        failures = 0
                    seen = patience.arrived
                    failures += 1
                    # It may be the condition that makes it fail. Validators are compared anyway.
                    if failures >= patience.retries:
                        state.drop_conditions()
                    wait = patience.plan_retry(failures, error, now)
                    if error.broken and failures == patience.retries and state.asks_from_start:
                        log.info("%s; once more without ranges, which may be what fails", error)
                        self._attempts.turn_to_stream()
                    elif failures >= patience.retries:
                        state.drop_suffix()
                self._listener(Retrying(str(error), wait, failures))
                log.info("%s; again in %.1f s", error, wait)
                self._sleep_until(now + wait)
        with state.cond:
            return not state.is_leaving

    def _obey_useless(self, count: int, some: bool) -> None:
        """Ask again after a believed answer that brought less than a block, or not even *some* bytes of one.

        After some of them in a row, without ranges.
        """
        if count >= MAX_IMPLAUSIBLE:
            self._attempts.turn_to_stream()
        elif not some:
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

    def _stream_from_start(self) -> None:
        """Ask for everything, and not for how it goes on: for that the answer would have to be whole."""
        with self._state.cond:
            self._state.stream_resumes = False

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
            resumed = state.opened is not None and state.opened.resumed
            cached = state.before and not (state.exposed or resumed or state.streaming)
            if cached and reason.disputed:
                how, state.barrier = "what the cache holds is of another version", state.begin_anew
            elif state.ledger is None or state.is_strict or state.restarts:
                flips = "; its answers are of several versions" if state.restarts else ""
                if reason.disputed and state.ledger is not None:
                    state.dispute()
                error = RemoteChangedError(self._remote.name, why + flips)
                state.error = state.error or error
                raise error
            else:
                state.restarts += 1
                how, state.barrier = "starting over, in one piece", state.start_over
        self._listener(Notice(f"{why}: {how}"))
        self._attempts.abort_others()
