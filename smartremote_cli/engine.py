"""Transfer: one resource being filled into one copy, by threads, behind one verb: `ensure`.

Strategy: the first ranged GET is also the probe; its answer opens the copy (`opener`), and its bytes are kept.
Workers then take claims from the ledger, each over its own connection, as many as have proved useful. What an
answer promises is checked against what is known of the resource before a byte of it is written; what overlaps
held bytes is compared. A server without ranges, or whose answers are not of one version, is read in one piece.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from . import planner
from .blocks import BLOCK, MAX_SIZE, BlockMap
from .errors import (
    AttemptFailed,
    ClosedError,
    IncompleteError,
    OffsetError,
    RemoteChangedError,
    RemoteNotFoundError,
    RemotePermissionError,
    SmartRemoteError,
    UnbelievableError,
)
from .events import Listener, Notice, Retrying, Started, ignore
from .headers import (
    Asked,
    Failed,
    Identity,
    Match,
    NotModified,
    Partial,
    PreconditionFailed,
    Unbelievable,
    Unproven,
    Unsatisfiable,
    Whole,
    read_answer,
)
from .ledger import Claim, Do, Ledger
from .limiter import Limiter
from .ranges import ByteRange
from .resume import changed
from .storage import Copy, MemoryCopy, StaleCopyError
from .transport import Remote, Response, refusal

log = logging.getLogger("smartremote")

BUFFER = 256 * 1024
LONGEST_WAIT = 300.0  # a server that asks for more than this is not waited for
SLOWEST = 1024  # bytes per second; below it, bytes do not count as progress
CHECKPOINT_SECONDS = 1.0
CHECKPOINT_BYTES = 64 * planner.MIB
LAST_WORD = 0.6  # seconds that a stop waits for the last checkpoint


@dataclass(frozen=True, slots=True)
class Opened:
    """What the opener made of the first answer: the copy to fill, and what must be compared before it is trusted.

    *resumed* copies hold bytes of an earlier run, so that a change cannot be mended by starting over.
    *mismatch* is the error for samples that differ.
    """

    copy: Copy
    resumed: bool = False
    samples: tuple[ByteRange, ...] = ()
    mismatch: Callable[[str], SmartRemoteError] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """How hard to try. *retries* are failures in a row without progress; *digest_decides* allows to start over."""

    connections: int = 8
    retries: int = 5
    digest_decides: bool = False
    pause: Callable[[int, float], float] = field(default=planner.pause)


Opener = Callable[[Identity, Response], Opened]


class _Mixed(Exception):
    """Two answers are not of one version."""


class _AskOtherwise(Exception):
    """The same claim is to be asked for in another way, at once."""


class Transfer:
    """Fills one copy from one remote. `ensure` is idempotent, blocks, and may be called from several threads."""

    def __init__(
        self,
        remote: Remote,
        opener: Opener,
        first: Asked,
        policy: Policy | None = None,
        listener: Listener = ignore,
        limiter: Limiter | None = None,
        condition: dict[str, str] | None = None,
    ) -> None:
        """Prepare to ask for *first*, with *condition* headers where a cached copy is only to be confirmed."""
        self.remote = remote
        self.policy = policy or Policy()
        self._opener = opener
        self._first = first
        self._condition = condition or {}
        self._listener = listener
        self._limiter = limiter
        self._timeout = remote.transport.options.timeout
        # Guards everything below. Nothing that can block on network or disk runs while it is held.
        self._cond = threading.Condition()
        self._opened: Opened | None = None
        self._identity: Identity | None = None
        self._ledger: Ledger | None = None
        self._pending: list[ByteRange] = []  # wants from before the ledger existed
        self._probing = False
        self._streaming = False
        self._stream: Response | None = None  # an answer that turned out to be the whole resource
        self._stream_identity: Identity | None = None
        self._precondition = True
        self._delivered = False
        self._barrier: Callable[[], None] | None = None  # workers leave; the last one calls it
        self._restarts = 0
        self._odd = 0  # unbelievable answers in a row
        self._asked_again = False
        self._refused_once = False
        self._threads: dict[threading.Thread, Response | None] = {}
        self._allowed = 1
        self._limit = self.policy.connections
        self._raise_at = 0.0
        self._raise_step = 2.0
        self._not_before = 0.0
        self._arrived = 0  # bytes of blocks newly held, plus what claims have brought: never falls
        self._window = (time.monotonic(), 0)
        self._slow_rounds = 0
        self._furthest = 0
        self._error: SmartRemoteError | None = None
        self._stopping = False
        self._saver: threading.Thread | None = None
        self._dirty = 0
        self._save_now = False
        self._renounce = False  # the record must say that nothing is held before anything is written anew
        self._framed = True

    # What callers ask

    @property
    def identity(self) -> Identity | None:
        """What the first believed answer said, None before it."""
        return self._identity

    @property
    def copy(self) -> Copy:
        assert self._opened is not None, "no answer yet"
        return self._opened.copy

    @property
    def size(self) -> int | None:
        return None if self._identity is None else self._identity.size

    @property
    def is_unframed(self) -> bool:
        """Whether the resource came without a length, so that only a digest can tell that it is whole."""
        return not self._framed

    def progress(self) -> tuple[int, int | None, int]:
        """Return (bytes present, size or None, connections at work)."""
        with self._cond:
            if self._ledger is None:
                return 0, None, len(self._threads)
            partial = sum(c.position % BLOCK for c in self._ledger.claims if not c.sample and not c.is_done)
            busy = sum(1 for response in self._threads.values() if response is not None)
            size = self.size
            present = self._ledger.blocks.bytes_held + partial
            return (present if size is None else min(present, size)), size, busy

    def cells(self, count: int) -> tuple[float, ...]:
        """Return how full each of *count* equal stretches of the resource is, 0 to 1."""
        with self._cond:
            if self._ledger is None or self.size is None or not self._ledger.blocks.count:
                return ()
            blocks = self._ledger.blocks
            edges = [index * blocks.count // count for index in range(count + 1)]
            pairs = [(a, max(b, a + 1)) for a, b in itertools.pairwise(edges)]
            return tuple(blocks.held_in(a, min(b, blocks.count)) / (b - a) for a, b in pairs)

    def open(self) -> Identity:
        """Wait for the first believed answer, asking if need be, and return what it said."""
        with self._cond:
            self._kick()
            while self._identity is None or self._opened is None:
                self._check()
                self._cond.wait()
            return self._identity

    def ensure(self, wanted: ByteRange | None = None) -> None:
        """Wait until every byte of *wanted* (None: all there are) is held and compared with what it should be.

        Raises the error that ended the transfer; what had arrived by then is kept.
        """
        want = wanted or ByteRange(0, MAX_SIZE)
        self.want(want)
        try:
            with self._cond:
                while not self._is_satisfied(want):
                    self._check()
                    self._kick()
                    self._cond.wait(1.0)
                while wanted is None and self._ledger is not None and self._ledger.claims:
                    self._check()  # the last bytes are here, but their seams may not have been compared yet
                    self._cond.wait(1.0)
                self._check()
        finally:
            self.unwant(want)

    def want(self, wanted: ByteRange) -> None:
        """Have *wanted* fetched, after what is wanted already, without waiting for it."""
        with self._cond:
            (self._pending if self._ledger is None else self._ledger.wants).append(wanted)
            self._kick()

    def unwant(self, wanted: ByteRange) -> None:
        with self._cond:
            for wants in (self._pending, [] if self._ledger is None else self._ledger.wants):
                with contextlib.suppress(ValueError):
                    wants.remove(wanted)

    def read(self, wanted: ByteRange) -> bytes:
        """Return the bytes of *wanted*, fetched where they are missing; fewer only at the end of the resource."""
        self.ensure(wanted)
        with self._cond:
            self._delivered = True
        if self.size is not None:
            if wanted.start >= self.size:
                return b""
            wanted = ByteRange(wanted.start, min(wanted.stop, self.size))
        return self.copy.read(wanted)

    def let_go(self, done: ByteRange) -> None:
        """Drop the blocks of a copy in memory that lie before the end of *done*, which was read."""
        with self._cond:
            if self._ledger is not None and isinstance(self.copy, MemoryCopy):
                whole = self._ledger.blocks.inside(ByteRange(done.start // BLOCK * BLOCK, done.stop))
                if whole:
                    part = ByteRange(whole.start * BLOCK, min(whole.stop * BLOCK, self._ledger.blocks.size))
                    self._ledger.blocks.forget(part)
                    self.copy.forget(part)

    def start_over(self) -> None:
        """Forget every block: the next `ensure` fetches everything anew, as one stream."""
        with self._cond:
            assert self._ledger is not None
            self._ledger.drop_all()
            self._streaming = True
            self._stream_identity = None
            self._furthest = 0
            self._renounce = True

    def stop(self) -> None:
        """End all requests, save a last checkpoint within `LAST_WORD` seconds, and leave the copy open."""
        with self._cond:
            self._stopping = True
            threads = list(self._threads.items())
            stashed, self._stream = self._stream, None
            self._save_now = True
            self._cond.notify_all()
        if stashed is not None:
            stashed.close()
        for thread, response in threads:
            if response is not None:
                response.abort()
            self.remote.transport.abort(thread.ident)
        deadline = time.monotonic() + LAST_WORD
        for thread, _ in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, min(0.3, deadline - time.monotonic())))
        if self._saver is not None and self._saver is not threading.current_thread():
            self._saver.join(max(0.05, deadline - time.monotonic()))

    # Workers

    def _is_satisfied(self, wanted: ByteRange) -> bool:
        ledger = self._ledger
        if ledger is None or self._barrier is not None or ledger.samples or ledger.samples_open:
            return False
        if self._identity is not None and self._identity.size is None and wanted.stop >= MAX_SIZE:
            return False
        return ledger.satisfied(wanted)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._stopping:
            raise ClosedError(self.remote.name, "the transfer was stopped")

    def _kick(self) -> None:
        """Start as many workers as may be of use. Called with the guard held."""
        if self._is_leaving():
            return
        if self._identity is None or self._streaming:
            room = 1
        else:
            room = min(self._allowed, self._limit, max(1, -(-self._todo() // planner.LEAST_STEAL)))
        if len(self._threads) < room and (self._identity is None or self._todo()):
            thread = threading.Thread(target=self._work, name="smartremote-fetch", daemon=True)
            self._threads[thread] = None
            thread.start()

    def _is_leaving(self) -> bool:
        return self._stopping or self._error is not None or self._barrier is not None

    def _todo(self) -> int:
        if self._ledger is None:
            return 1
        if self._ledger.samples:
            return len(self._ledger.samples) * planner.LEAST_STEAL
        return self._ledger.missing_wanted()

    def _work(self) -> None:
        me = threading.current_thread()
        try:
            while (claim := self._take_claim()) is not None:
                if not self._serve(claim):
                    break
        except SmartRemoteError as error:
            self._fail(error)
        except BaseException as error:  # a defect: it must reach the caller, not die with the thread
            log.exception("a worker failed")
            failure = SmartRemoteError("smartremote", f"{type(error).__name__}: {error}")
            failure.__cause__ = error
            self._fail(failure)
        finally:
            with self._cond:
                self._threads.pop(me, None)
                if self._barrier is not None and not self._threads:
                    self._barrier()
                    self._barrier = None
                self._kick()
                self._cond.notify_all()

    def _take_claim(self) -> Claim | None:
        with self._cond:
            while not self._is_leaving():
                if self._ledger is None:
                    if self._probing:
                        return None
                    self._probing = True
                    return Claim(0, 1)
                self._raise_limit()
                if len(self._threads) > max(1, self._limit):
                    return None
                claim = None
                if self._todo():
                    now = time.monotonic()
                    claim = self._ledger.next_claim(self._connections(), now, whole=self._streaming)
                if claim is not None:
                    self._kick()
                    return claim
                if not self._ledger.claims or self._streaming or not self._todo():
                    return None
                self._cond.wait(0.1)
            return None

    def _connections(self) -> int:
        return max(1, min(self._limit, self.policy.connections))

    def _raise_limit(self) -> None:
        now = time.monotonic()
        if self._limit < self.policy.connections and not self._refused_once and now >= self._raise_at > 0:
            self._limit += 1
            self._raise_at = now + self._raise_step

    def _serve(self, claim: Claim) -> bool:
        """Bring *claim*, trying as often as patience allows; return whether this worker should go on."""
        failures, seen = 0, self._arrived
        probing = self._ledger is None
        try:
            while True:
                with self._cond:
                    if self._is_leaving():
                        return False
                    if probing and self._ledger is not None:
                        return True
                    if self._ledger is not None and self._ledger.is_finished(claim):
                        return True
                before = self._arrived
                try:
                    self._wait_until_allowed()
                    done = self._attempt(claim)
                    if done:
                        return True
                    if self._arrived == before:
                        raise AttemptFailed(self.remote.name, "an answer brought none of the bytes asked for")
                except _AskOtherwise:
                    continue
                except _Mixed as reason:
                    self._mixed(str(reason))
                    return False
                except (RemotePermissionError, RemoteNotFoundError) as error:
                    if not self._refused_for_crowding(error):
                        raise
                    return True
                except AttemptFailed as error:
                    with self._cond:
                        if self._stopping or self._error is not None:
                            return False
                        if error.crowded and len(self._threads) > 1:
                            self._lower_limit(error)
                            return False
                        if self._progressed_since(seen, error):
                            failures = 0
                        seen = self._arrived
                        failures += 1
                        wait = self._patience(failures, error)
                        self._not_before = max(
                            self._not_before, time.monotonic() + (error.retry_after or 0.0)
                        )
                    self._listener(Retrying(str(error), wait, failures))
                    log.info("%s; again in %.1f s", error, wait)
                    self._sleep(wait)
        finally:
            with self._cond:
                if probing:
                    self._probing = False
                if self._ledger is not None:
                    self._ledger.release(claim, keep=not self._streaming)
                self._cond.notify_all()

    def _patience(self, failures: int, error: AttemptFailed) -> float:
        """Return how long to wait after *failures* in a row, or raise the end of all patience."""
        allowed = self.policy.retries
        if error.refused and self._identity is None:
            allowed = min(allowed, 1)
        if error.retry_after is not None and error.retry_after > LONGEST_WAIT:
            raise IncompleteError(
                error.what, f"{error.why}; to be asked again after {error.retry_after:.0f} s"
            )
        if failures > allowed or self._slow_rounds > allowed:
            raise IncompleteError(error.what, error.why)
        wait = self.policy.pause(failures, random.random())
        return max(wait, error.retry_after or 0.0)

    def _progressed_since(self, seen: int, error: AttemptFailed) -> bool:
        """Return whether new bytes came, fast enough to count; keep the slow rounds' account."""
        now = time.monotonic()
        since, had = self._window
        if now - since >= 2 * self._timeout:
            slow = self._arrived - had < SLOWEST * (now - since)
            self._slow_rounds = self._slow_rounds + 1 if slow else 0
            self._window = (now, self._arrived)
            if slow and error.stalled:
                return False
        return self._arrived > seen

    def _lower_limit(self, error: AttemptFailed) -> None:
        """Go on with one connection less; `_raise_limit` tries more again, at growing intervals."""
        now = time.monotonic()
        self._limit = max(1, min(self._limit, len(self._threads)) - 1)
        self._raise_step = min(self._raise_step * 2, 60.0)
        self._raise_at = now + self._raise_step
        if error.retry_after is not None and error.retry_after <= LONGEST_WAIT:
            self._not_before = max(self._not_before, now + error.retry_after)
        log.info("%s; going on with %d connections", error, self._limit)

    def _refused_for_crowding(self, error: RemotePermissionError | RemoteNotFoundError) -> bool:
        """Return whether a 403 after successes is to be tried once more, over one connection."""
        with self._cond:
            if not isinstance(error, RemotePermissionError) or not self._arrived:
                return False
            if self._refused_once:
                return len(self._threads) > 1  # others of the same crowd
            self._refused_once = True
            self._limit = 1
            log.info("%s; once more with one connection", error)
            return True

    def _wait_until_allowed(self) -> None:
        with self._cond:
            wait = self._not_before - time.monotonic()
        if wait > 0:
            self._sleep(wait)

    def _sleep(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        with self._cond:
            while not self._stopping and self._error is None and (left := deadline - time.monotonic()) > 0:
                self._cond.wait(left)

    # One attempt

    def _attempt(self, claim: Claim) -> bool:
        """Send one request for what is left of *claim*; return whether all of it is here now."""
        with self._cond:
            probing = self._ledger is None
            asked, extra = self._request_for(claim)
            response, self._stream = self._stream, None
            claim.since, claim.received = time.monotonic(), 0
        if response is None:
            response = self.remote.ask(asked, extra.items())
        else:
            asked = Asked()
        try:
            with self._using(response):
                answer = read_answer(response.status, response.headers, asked)
                log.debug("%s: %s -> %s %s", self.remote.name, asked.header, response.status, answer)
                match answer:
                    case Partial():
                        self._odd = 0
                        if probing:
                            self._check_suffix(answer, asked)
                            claim = self._open_with(answer.identity, response, answer.body)
                        else:
                            self._hold_to(answer.identity, asked)
                        return self._receive(claim, response, answer.body.start, answer.body.stop)
                    case Whole():
                        return self._receive_whole(claim, response, answer, asked, bool(extra), probing)
                    case NotModified():
                        self._confirm(answer, response)
                        return True
                    case _:
                        self._refused(answer, response, asked, bool(extra), probing)
                        return False
        finally:
            if self._stream is not response:
                response.close()
            if probing:
                with self._cond:
                    if self._ledger is not None:
                        self._ledger.release(claim, keep=not self._streaming)

    def _request_for(self, claim: Claim) -> tuple[Asked, dict[str, str]]:
        if self._ledger is None:
            if self._streaming:
                return Asked(), {}
            return self._first, dict(self._condition)
        if not self._streaming:
            extra = self._identity.precondition() if self._identity is not None and self._precondition else {}
            return Asked(range=self._ledger.asked(claim)), extra
        known = self._stream_identity
        if known is not None and known.is_strong and known.size is not None and claim.position > planner.SEAM:
            validator = known.strong_etag or known.last_modified or ""
            return Asked(range=ByteRange(claim.position - planner.SEAM, known.size)), {"If-Range": validator}
        return Asked(), {}

    @contextlib.contextmanager
    def _using(self, response: Response) -> Iterator[None]:
        me = threading.current_thread()
        with self._cond:
            if self._stopping:
                response.abort()
            if me in self._threads:
                self._threads[me] = response
        try:
            yield
        finally:
            with self._cond:
                if me in self._threads:
                    self._threads[me] = None

    def _open_with(self, identity: Identity, response: Response, body: ByteRange | None) -> Claim:
        """Open the copy with the first answer, and return the claim that its body serves."""
        if identity.size is None and body is not None:
            with self._cond:
                self._streaming = True  # no total: ask for everything, whose length is the size
            raise _AskOtherwise
        opened = self._opener(identity, response)
        with self._cond:
            self._opened = opened
            opened.copy.settle(identity)
            self._identity = identity
            ledger = Ledger(opened.copy.blocks)
            ledger.wants, self._pending = self._pending, []
            ledger.samples = list(opened.samples)
            self._ledger = ledger
            claim = Claim(0, ledger.blocks.size) if body is None else Claim(body.start, body.stop)
            if opened.samples and body is not None:
                claim.sample = ledger.blocks.holds(body)
                ledger.samples_open = int(claim.sample)
            usable = body is None or claim.sample or not opened.samples
            if usable:
                ledger.claims.append(claim)
            self._arrived += 1  # an answer is progress
            self._ramp()
            self._start_saver()
            present = ledger.blocks.bytes_held
        if not identity.is_strong:
            self._listener(
                Notice("the server gives no strong validator: overlaps are compared instead", detail=True)
            )
        self._listener(Started(self.remote.name, identity.size, present))
        if not usable:
            raise _AskOtherwise  # nothing may be written before the held blocks have proved right
        return claim

    def _check_suffix(self, answer: Partial, asked: Asked) -> None:
        """Ask by offsets where the answer to a suffix range is some other part."""
        size = answer.identity.size
        if asked.suffix is None or answer.body.stop == size:
            return
        if size is None:
            self._ask_for_everything()
        else:
            self._without_suffix(size)

    def _hold_to(self, now: Identity, asked: Asked) -> None:
        """Raise unless an answer is of the version that this transfer began with."""
        with self._cond:
            known = self._stream_identity if self._streaming and self._stream_identity else self._identity
            assert known is not None
            self._compare_sizes(known, now)
            if known.compare(now) is not Match.SAME:
                raise _Mixed(changed(known, now))
            if self._streaming and asked.range is not None and not (known.is_strong and now.is_strong):
                raise _Mixed("a range without a strong validator")
            self._ramp()

    def _compare_sizes(self, known: Identity, now: Identity) -> None:
        if known.size is not None and now.size is not None and known.size != now.size:
            raise RemoteChangedError(self.remote.name, changed(known, now))

    def _ramp(self) -> None:
        """One more answer came: one more connection may be opened (1, 2, 4, 8 …)."""
        self._allowed = min(self._allowed + 1, self.policy.connections)
        self._kick()

    def _confirm(self, answer: NotModified, response: Response) -> None:
        """The cached copy is what the server has: open it as it is."""
        opened = self._opener(Identity(None), response)
        with self._cond:
            self._opened = opened
            self._identity = opened.copy.identity
            self._ledger = Ledger(opened.copy.blocks)
            self._ledger.wants, self._pending = self._pending, []
            self._arrived += 1
            self._ramp()
            self._start_saver()
            present = opened.copy.blocks.bytes_held
        self._listener(Started(self.remote.name, self.size, present))

    def _receive_whole(
        self, claim: Claim, response: Response, answer: Whole, asked: Asked, conditioned: bool, probing: bool
    ) -> bool:
        """A 200: the resource from byte 0, or a changed one; the validators tell."""
        with self._cond:
            known = self._identity
        if not probing and known is not None:
            self._compare_sizes(known, answer.identity)
            differs = known.compare(answer.identity) is Match.DIFFERENT
            if differs and (not self._streaming or self._is_strict()):
                raise _Mixed(changed(known, answer.identity))
            if not self._streaming and not self._asked_again:
                with self._cond:
                    self._asked_again, self._precondition = True, False
                raise _AskOtherwise
        if probing and conditioned and asked.header is not None:
            with self._cond:
                self._condition = {}  # the cached copy is of another version: ask for the part that is wanted
            raise _AskOtherwise
        if asked.suffix is not None and answer.identity.size is not None and not self._streaming:
            return self._without_suffix(answer.identity.size)
        if answer.coding is not None:
            text = f"the server codes the body as {answer.coding} unasked: it is stored as sent"
            self._listener(Notice(text))
        if probing:
            with self._cond:
                self._streaming = True
            claim = self._open_with(answer.identity, response, None)
        elif not self._streaming:
            self._leave_for(self._begin_stream)
            with self._cond:
                self._stream = response
            raise _AskOtherwise
        with self._cond:
            assert self._ledger is not None
            self._stream_identity = answer.identity
            self._framed = answer.framed
            if not self._is_strict() or self.size is None:
                self._adopt(answer.identity, claim)
        self._listener(Notice("the server sends no ranges: reading everything in one piece", detail=True))
        return self._receive(claim, response, 0, answer.identity.size)

    def _adopt(self, identity: Identity, claim: Claim) -> None:
        """Take the stream's identity as the resource's. Called with the guard held."""
        assert self._ledger is not None
        size = self.size if identity.size is None else identity.size
        self._identity = identity.sized(size)
        self.copy.settle(self._identity)
        self._ledger.blocks = self.copy.blocks
        claim.stop = self.copy.blocks.size

    def _leave_for(self, barrier: Callable[[], None]) -> None:
        """Have every worker leave; the last one calls *barrier*, with the guard held."""
        me = threading.current_thread()
        with self._cond:
            self._barrier = barrier
            responses = [r for t, r in self._threads.items() if r is not None and t is not me]
            self._cond.notify_all()
        for response in responses:
            response.abort()

    def _begin_stream(self) -> None:
        """The last worker has left: from here on everything is one claim. What is held will be compared."""
        assert self._ledger is not None
        self._streaming = True
        self._ledger.samples.clear()
        self._ledger.strays.clear()

    def _without_suffix(self, size: int) -> bool:
        """The server ignores suffix ranges, but told the size: ask for the same bytes by their offsets."""
        suffix = self._first.suffix
        if not size or suffix is None:
            with self._cond:
                self._first = Asked()
            raise _AskOtherwise
        with self._cond:
            self._first = Asked(range=ByteRange(max(0, size - suffix), size))
        raise _AskOtherwise

    def _refused(
        self, answer: object, response: Response, asked: Asked, conditioned: bool, probing: bool
    ) -> None:
        """Raise what an answer without usable bytes means."""
        name = self.remote.name
        match answer:
            case Unsatisfiable(size=size):
                self._unsatisfiable(size, asked, probing)
            case PreconditionFailed() if conditioned:
                with self._cond:
                    self._precondition, self._condition = False, {}
                raise _AskOtherwise
            case Unproven():
                response.skip(BLOCK)
                self._ask_for_everything()
            case Unbelievable(why=why):
                self._odd += 1
                if asked.header is None:
                    raise UnbelievableError(name, f"its answer cannot be believed: {why}")
                if self._odd < 2:
                    raise AttemptFailed(name, f"its answer cannot be believed: {why}")
                self._ask_for_everything()
            case Failed(status=501) if asked.suffix is not None:
                with self._cond:
                    self._first = Asked(range=ByteRange(0, BLOCK))
                raise _AskOtherwise
            case _:
                response.skip(BLOCK)
                raise refusal(response, name)

    def _unsatisfiable(self, size: int | None, asked: Asked, probing: bool) -> None:
        if probing and asked.range is not None and asked.range.start > 0 and size is not None:
            if asked.range.start >= size:
                raise PastEndError(self.remote.name, size)
        if probing and asked.suffix is not None and size:
            self._without_suffix(size)
        if asked.header is None:
            raise UnbelievableError(self.remote.name, "416 to a request without Range")
        self._ask_for_everything()

    def _ask_for_everything(self) -> None:
        if self._ledger is None:
            with self._cond:
                self._streaming = True
        elif self._streaming:
            raise UnbelievableError(self.remote.name, "its answers cannot be believed")
        else:
            self._leave_for(self._begin_stream)
        raise _AskOtherwise

    # The body

    def _receive(self, claim: Claim, response: Response, offset: int, stop: int | None) -> bool:
        """Take the body, which begins at *offset*, as far as the claim needs it; return whether the claim is done."""
        ledger, copy = self._ledger, self.copy
        assert ledger is not None
        if self._renounce:
            with self._cond:
                self._renounce, snapshot = False, self._snapshot()
            copy.checkpoint(snapshot)
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
                self._limiter.take(count, lambda: self._stopping)
            with self._cond:
                if self._is_leaving():
                    return False
                pieces = ledger.cut(claim, offset, count)
            for do, part in pieces:
                piece = view[part.start - offset : part.stop - offset]
                if do is Do.WRITE:
                    copy.write(part.start, piece)
                elif do is Do.COMPARE:
                    self._compare(claim, part, piece)
                else:
                    with self._cond:
                        ledger.keep(part.start, bytes(piece))
            offset += count
            total += count
            with self._cond:
                due = self._note(claim, offset, count)
                finished = ledger.is_finished(claim)
                past = offset >= claim.stop + planner.SEAM
            for at, kept in due:
                self._compare(claim, ByteRange(at, at + len(kept)), memoryview(kept))
            if (past or (finished and not claim.is_done)) and stop is not None and offset < stop:
                return True
            elapsed = time.monotonic() - began
            if elapsed > 2 * self._timeout and total < SLOWEST * elapsed and self._limiter is None:
                raise AttemptFailed(self.remote.name, f"only {total} bytes in {elapsed:.0f} s", stalled=True)
        if stop is None:
            self._ended(claim, offset)
        with self._cond:
            return ledger.is_finished(claim)

    def _note(self, claim: Claim, offset: int, count: int) -> list[tuple[int, bytes]]:
        """Account for arrived bytes. Called with the guard held."""
        assert self._ledger is not None
        before = claim.position
        gained, due = self._ledger.arrived(claim, min(offset, claim.stop))
        claim.received += count
        if not self._streaming:
            self._arrived += claim.position - before
        elif claim.position > self._furthest:
            self._arrived += claim.position - self._furthest
            self._furthest = claim.position
        self._dirty += gained
        if gained or claim.is_done:
            if self._dirty >= CHECKPOINT_BYTES:
                self._save_now = True
            self._cond.notify_all()
        return due

    def _compare(self, claim: Claim, part: ByteRange, data: memoryview) -> None:
        """Compare arrived bytes with held ones; a difference means that versions are mixed."""
        if self.copy.read(part) == data:
            return
        opened = self._opened
        assert opened is not None and self._ledger is not None
        why = f"bytes {part.start} to {part.stop - 1} are not the ones that are held"
        if claim.sample or (opened.samples and not self._streaming):
            if opened.mismatch is not None:
                raise opened.mismatch(why)
        if not self._streaming or self._is_strict():
            raise _Mixed(why)
        with self._cond:  # the stream, from byte 0, is of one version: what it contradicts is not held
            self._ledger.blocks.forget(ByteRange(part.start, MAX_SIZE))
            claim.position = min(claim.position, part.start)
            snapshot = self._snapshot()
        self.copy.checkpoint(snapshot)
        self.copy.write(part.start, data)

    def _ended(self, claim: Claim, size: int) -> None:
        """A body without announced length came to its end: now the size is known."""
        with self._cond:
            assert self._identity is not None and self._ledger is not None
            self._compare_sizes(self._identity, Identity(size))
            self._adopt(self._identity.sized(size), claim)
            if size:
                self._ledger.blocks.hold(ByteRange(0, size))
            claim.stop = claim.position = size
            self._dirty += BLOCK

    # Versions

    def _is_strict(self) -> bool:
        """Whether held bytes must not change any more: they are an earlier run's, or somebody has read them."""
        assert self._opened is not None
        return (self._opened.resumed and not self.policy.digest_decides) or self._delivered

    def _mixed(self, why: str) -> None:
        """Answers are not of one version: start over once, as one stream, unless held bytes must not change."""
        with self._cond:
            if self._barrier is not None:
                return
            if self._opened is None or self._is_strict() or self._restarts:
                flips = " (its answers are of several versions)" if self._restarts else ""
                raise RemoteChangedError(self.remote.name, why + flips)
            self._restarts += 1
        log.info("%s; starting over as one stream", why)
        self._listener(Notice(f"{why}: starting over, as one stream"))
        self._leave_for(self.start_over)

    def _fail(self, error: SmartRemoteError) -> None:
        with self._cond:
            if self._error is None and not self._stopping:
                self._error = error
            responses = [
                r for t, r in self._threads.items() if r is not None and t is not threading.current_thread()
            ]
            self._cond.notify_all()
        for response in responses:
            response.abort()

    # Checkpoints

    def _snapshot(self) -> BlockMap:
        """Return a copy of the map of what is written. Called with the guard held."""
        return BlockMap(self.copy.blocks.size, self.copy.blocks.bits)

    def _start_saver(self) -> None:
        if self._saver is None:
            self._saver = threading.Thread(target=self._save, name="smartremote-checkpoint", daemon=True)
            self._saver.start()

    def _save(self) -> None:
        """Checkpoint every second or 64 MiB, and once more at the end, apart from the threads that fetch."""
        last = time.monotonic()
        while True:
            with self._cond:
                while not self._save_now and not (
                    self._dirty and time.monotonic() - last >= CHECKPOINT_SECONDS
                ):
                    self._cond.wait(CHECKPOINT_SECONDS if self._dirty else None)
                ending = self._stopping
                dirty, self._dirty, self._save_now = self._dirty, 0, False
                snapshot = self._snapshot()
            try:
                if dirty:
                    self.copy.checkpoint(snapshot)
            except StaleCopyError as error:
                log.info("%s", error)
            except SmartRemoteError as error:
                self._fail(error)
            last = time.monotonic()
            if ending:
                return


class PastEndError(OffsetError):
    """What was asked for begins past the end; *size* is what the server says."""

    def __init__(self, what: str, size: int) -> None:
        super().__init__(what, f"the offset lies past the end, at {size} bytes")
        self.size = size
