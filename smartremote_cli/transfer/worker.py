"""Worker: what one thread of a transfer does. Take a claim, and make attempts until it is here or patience ends.

Decisions are made under the guard of `State`, and acted on outside it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

from ..errors import (
    AttemptFailed,
    ChecksumError,
    RemoteChangedError,
    RemotePermissionError,
    SmartRemoteError,
    bug,
)
from ..events import Listener, Notice, Retrying
from ..plan.claims import Claim
from .attempts import Attempts
from .provenance import Remedy, remedy
from .receive import PartOnly, VersionsMixed
from .state import Source, State
from .tries import Tries
from .workers import Workers

log = logging.getLogger("smartremote")

# A connection without work looks this often whether there is some to share. Stealing a claim pays from 0.3 s on
# (`planner`), so that a tenth of a second is soon enough.
IDLE_POLL_SECONDS = 0.1


class Worker:
    """The work that every thread of one transfer does, which asks *source*."""

    def __init__(
        self, state: State, source: Source, workers: Workers, attempts: Attempts, listener: Listener
    ) -> None:
        self._state = state
        self._source = source
        self._workers = workers
        self._attempts = attempts
        self._listener = listener

    def serve(self) -> None:
        """Serve claims until there are none, or the transfer ends."""
        try:
            while self._serve_next():
                pass
        except SmartRemoteError as error:
            self.fail(error)
        except MemoryError as error:
            if not self._leave_to_others():
                self.fail(bug(error))
        except BaseException as error:  # a bug: it must reach the caller, not die with the thread
            self.fail(bug(error))

    def _leave_to_others(self) -> bool:
        """Go on with one connection fewer, each of which needs a buffer; return whether there is another one."""
        state = self._state
        with state.cond:
            others = len(state.workers) - 1
            if others < 1 or state.is_leaving:
                return False
            state.patience.most = state.patience.limit = others
        log.warning("out of memory: going on with %d connections", others)
        return True

    def fail(self, error: SmartRemoteError) -> None:
        """End the transfer with *error*, for everybody."""
        with self._state.cond:
            self._state.end(error)
        self._workers.abort_others()

    # Claims

    def _serve_next(self) -> bool:
        """Serve one claim; return whether to look for another."""
        state = self._state
        with state.cond:
            if state.is_leaving:
                return False
            probing = state.ledger is None
        if probing:
            return self._persist(None)
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
                if len(state.workers) > state.patience.connections or not state.todo:
                    return None
                claim = state.ledger.claim_next(state.patience.connections, now, whole=state.is_streaming)
                if claim is not None:
                    claim.owner, claim.since, claim.received = threading.current_thread(), now, 0
                    self._close_evicted()
                    self._workers.start_one()
                    return claim
                if not state.ledger.claims or state.is_streaming:
                    return None
                state.cond.wait(IDLE_POLL_SECONDS)
        return None

    def _close_evicted(self) -> None:
        """Close the connections whose work was taken over. Called with the guard held; shutdown(2) does not wait."""
        state = self._state
        assert state.ledger is not None
        for claim in state.ledger.evicted:
            if not isinstance(claim.owner, threading.Thread) or claim.owner not in state.workers:
                continue
            log.info("a connection was far slower than the others: its work goes to another")
            state.source.remote.abort(claim.owner, state.workers[claim.owner])
        state.ledger.evicted.clear()

    @contextlib.contextmanager
    def _serving(self, claim: Claim) -> Iterator[None]:
        """Give *claim* back in the end. What puts held bytes in doubt is known by then: they are not taken for done."""
        try:
            yield
        except VersionsMixed as mixed:
            self._resolve(mixed)
        except PartOnly:
            # Ask for everything, and not for how it goes on: for that the answer would have to be whole.
            with self._state.cond:
                self._state.read_from_start()
        except AttemptFailed:
            if not self._is_finished(claim):
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
                state.ledger.release(claim, keep=not state.is_streaming, now=time.monotonic())
            state.cond.notify_all()

    def _is_finished(self, claim: Claim | None) -> bool:
        """Return whether nothing of *claim* is missing any more; the first answer's is finished by itself."""
        state = self._state
        with state.cond:
            return claim is not None and state.ledger is not None and state.ledger.is_finished(claim)

    def _is_needed(self, claim: Claim | None) -> bool:
        state = self._state
        with state.cond:
            if state.is_leaving:
                return False
            return state.ledger is None if claim is None else not self._is_finished(claim)

    # Attempts

    def _persist(self, claim: Claim | None) -> bool:
        """Try until *claim* (None: the first answer) is here; return whether this worker should go on."""
        patience = self._state.patience
        tries = Tries(patience)
        while self._is_needed(claim):
            was_alone = self._is_alone()
            try:
                self._sleep_until(patience.not_before)
                self._attempt(claim, tries)
            except VersionsMixed as mixed:
                self._resolve(mixed)
            except ChecksumError as error:  # its bytes were taken back: ask for them once more
                tries.note_corrupt(error)
                self._listener(Retrying(str(error), 0.0, 1))
                log.info("%s; once more", error)
            except RemotePermissionError as error:
                return self._go_on_alone(error, was_alone)
            except AttemptFailed as error:
                leaves = self._after_failure(claim, error, tries)
                if leaves is not None:
                    return leaves
        with self._state.cond:
            return not self._state.is_leaving

    def _attempt(self, claim: Claim | None, tries: Tries) -> None:
        """Send one request, and ask in another way when believed answers keep bringing next to nothing."""
        before = 0 if claim is None else claim.position
        taken = self._attempts.make(self._source, claim, self._serving)
        if claim is None or not taken:
            return
        brought = claim.position - before
        tries.note_body(brought, done=self._is_finished(claim))
        if tries.are_fruitless:
            self._attempts.turn_to_stream()
        elif brought <= 0 and not self._is_finished(claim):
            raise AttemptFailed(self._state.name, "an answer brought none of the bytes asked for")

    def _is_alone(self) -> bool:
        """Return whether this worker is the only one by now, after a refusal."""
        with self._state.cond:
            return self._state.patience.one_only and len(self._state.workers) == 1

    def _go_on_alone(self, error: RemotePermissionError, was_alone: bool) -> bool:
        """Take a 403 after successes as "too many connections": go on with one; return whether it is this worker's.

        Raises *error* when the resource was refused from the start, or to the only connection.
        """
        state = self._state
        with state.cond:
            if was_alone or not state.patience.go_on_alone():
                raise error
            self._source.approach = self._source.approach._replace(preconditions=False)
            goes_on = len(state.workers) == 1
        log.info("%s; once more with one connection", error)
        return goes_on

    def _after_failure(self, claim: Claim | None, error: AttemptFailed, tries: Tries) -> bool | None:
        """Wait before the next attempt. Returns None to try again, else whether this worker serves other claims.

        Raises the error that ends the patience.
        """
        state, patience, now = self._state, self._state.patience, time.monotonic()
        with state.cond:
            if state.is_leaving:
                return False
            if self._is_finished(claim):
                return True  # its work was taken over
            if patience.is_patient and len(state.workers) > 1:
                return False  # another one waits alone
            is_crowded = error.crowded and len(state.workers) > 1
            if is_crowded:
                patience.use_one_fewer(error, len(state.workers), now)
            else:
                was_patient = patience.is_patient
                pause = self._next_pause(error, tries, now)
                turns_patient = patience.is_patient and not was_patient
        if is_crowded:
            log.info("%s; going on with %d connections", error, patience.limit)
            return False
        if turns_patient:
            self._listener(Notice(f"{error}: once more with one connection, and with more patience"))
            self._workers.abort_others()
        self._listener(Retrying(str(error), pause, tries.failures))
        log.info("%s; again in %.1f s", error, pause)
        self._sleep_until(now + pause)
        return None

    def _next_pause(self, error: AttemptFailed, tries: Tries, now: float) -> float:
        """Count the failure and return the seconds to wait before the next attempt, the last one in another way.

        Called with the guard held. Raises the error that ends the patience.
        """
        state, source = self._state, self._source
        tries.note_failure(error, now)
        if tries.are_exhausted:  # the condition may be what fails; validators are compared anyway
            source.approach = source.approach.without_conditions()
        pause = state.patience.plan_retry(tries.failures, error, now)
        if tries.are_exhausted and state.ledger is None:
            self._ask_first_for_less(error)
        elif tries.are_exhausted and error.garbled and not state.is_streaming:
            self._attempts.turn_to_stream()
        return pause

    def _ask_first_for_less(self, error: AttemptFailed) -> None:
        """Give up the range, or the suffix, that may be what the server fails at. Called with the guard held."""
        source = self._source
        if error.broken and source.approach.first.range is not None:
            log.info("%s; once more without ranges, which may be what fails", error)
            self._attempts.turn_to_stream()
        else:
            source.approach = source.approach.without_suffix()

    def _sleep_until(self, moment: float) -> None:
        state = self._state
        with state.cond:
            while not state.is_leaving and (left := moment - time.monotonic()) > 0:
                state.cond.wait(left)

    def _resolve(self, mixed: VersionsMixed) -> None:
        """Do what can be done about mixed versions. Raises `RemoteChangedError` where nothing can."""
        state = self._state
        with state.cond:
            what = remedy(
                state.phase,
                state.provenance,
                is_strict=state.is_strict,
                in_bytes=mixed.in_bytes,
                restarts=state.restarts,
            )
            match what:
                case Remedy.NONE:
                    return
                case Remedy.READ_FROM_START:
                    state.read_from_start()
                    return
                case Remedy.FETCH_ANEW:
                    how = "what the cache holds is of another version"
                    state.drain(state.mode, forgets=True)
                case Remedy.START_OVER:
                    how = "starting over, in one piece"
                    state.restarts += 1
                    state.drain(state.fresh_stream(), forgets=True)
                case Remedy.GIVE_UP:
                    raise self._changed(mixed)
        self._listener(Notice(f"{mixed}: {how}"))
        self._workers.abort_others()

    def _changed(self, mixed: VersionsMixed) -> RemoteChangedError:
        """End the transfer over *mixed* versions; return the error that says so. Called with the guard held."""
        state = self._state
        if mixed.in_bytes and state.ledger is not None:
            state.dispute()
        flips = "; its answers are of several versions" if state.restarts else ""
        error = RemoteChangedError(state.name, f"{mixed}{flips}")
        state.end(error)
        return error
