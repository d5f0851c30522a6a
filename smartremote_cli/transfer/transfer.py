"""Transfer: one resource being filled into one copy, by threads, behind one verb: `ensure`.

The package's README (`transfer/__init__.py`) tells how a transfer goes. Here are its public verbs and questions.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Mapping

from ..core.blocks import BLOCK, EVERY_BYTE
from ..core.ranges import ByteRange
from ..errors import ClosedError, LocalError
from ..events import Listener, ignore
from ..plan.patience import Patience
from ..protocol.answers import Asked
from ..protocol.approach import Approach
from ..protocol.digests import Digest
from ..protocol.identity import Identity
from ..store.copies import Copy
from ..transport.limiter import Limiter
from ..transport.remote import Remote
from .attempts import Attempts
from .checkpoints import Checkpointer
from .opening import Opener, Opening
from .receive import Receiver
from .state import Policy, Source, State
from .worker import Worker
from .workers import POLL_INTERVAL_SECONDS, Workers

# A stop waits this long for its threads and the last checkpoint: with start and exit it stays within the second that
# the contract promises after a signal.
SHUTDOWN_TIMEOUT_SECONDS = 0.6


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
        condition: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare to ask for *first*, with *condition* headers where a cached copy may only need confirming."""
        policy = policy or Policy()
        timeout = remote.transport.options.timeout
        cores = os.cpu_count() or 1
        patience = Patience(
            policy.connections, policy.retries, timeout, time.monotonic(), policy.pause, cores
        )
        self.remote = remote
        source = Source(remote, Approach(first, condition or {}), patience)
        self._state = state = State(source, policy)
        self._workers = workers = Workers(state, lambda: self._worker.serve())
        opening = Opening(state, workers, opener, listener, self._start_checkpoints)
        attempts = Attempts(state, workers, opening, listener, Receiver(state, limiter))
        self._worker = Worker(state, source, workers, attempts, listener)
        self._checkpoints: Checkpointer | None = None

    # Questions

    @property
    def identity(self) -> Identity | None:
        """What the first believed answer said, None before it."""
        return self._state.identity

    @property
    def copy(self) -> Copy:
        return self._state.copy

    @property
    def size(self) -> int | None:
        return None if self._state.identity is None else self._state.identity.size

    @property
    def digests(self) -> frozenset[Digest]:
        """Digests of the whole resource, as the server's answers gave them."""
        with self._state.cond:
            return frozenset(self._state.digests)

    def progress(self) -> tuple[int, int | None, int]:
        """Return (bytes present, size or None, connections at work)."""
        state = self._state
        with state.cond:
            if state.ledger is None:
                return 0, None, len(state.workers)
            open_blocks = [c.position % BLOCK for c in state.ledger.claims if not c.sample and not c.is_done]
            present = state.ledger.blocks.bytes_held + sum(open_blocks)
            busy = sum(response is not None for response in state.workers.values())
            size = self.size
            return (present if size is None else min(present, size)), size, busy

    def cells(self, count: int) -> tuple[float, ...]:
        """Return how full each of *count* equal stretches of the resource is, 0 to 1; empty while unknown."""
        state = self._state
        with state.cond:
            if state.ledger is None or self.size is None or not state.ledger.blocks.count:
                return ()
            blocks = state.ledger.blocks
            edges = [index * blocks.count // count for index in range(count + 1)]
            stretches = [(first, max(stop, first + 1)) for first, stop in itertools.pairwise(edges)]
            return tuple(blocks.held_in(first, stop) / (stop - first) for first, stop in stretches)

    def reach(self, start: int) -> tuple[object, int]:
        """Return how far the bytes from *start* on are held, and a mark that stays equal while none is dropped."""
        with self._state.cond:
            blocks = self.copy.blocks
            return (blocks, blocks.losses), blocks.reach(start)

    @property
    def is_over(self) -> bool:
        """Whether it has failed or was stopped; another may be begun on the same copy."""
        return self._state.is_over

    @property
    def is_complete(self) -> bool:
        """Whether every byte is held and compared."""
        state = self._state
        with state.cond:
            if state.ledger is None or state.ledger.claims or self.size is None:
                return False
            return state.error is None and state.is_satisfied(EVERY_BYTE)

    @property
    def is_ahead(self) -> bool:
        """Whether a single stream has brought everything that is requested by now, and more."""
        state = self._state
        with state.cond:
            return state.stream is not None and state.ledger is not None and not state.ledger.missing_demand()

    # Verbs

    def open(self) -> Identity:
        """Wait for the first believed answer, asking if need be, and return what it said."""
        state = self._state
        with state.cond:
            while state.identity is None or state.ledger is None:
                self._check()
                self._workers.start_one()
                state.cond.wait(POLL_INTERVAL_SECONDS)
            return state.identity

    def ensure(self, wanted: ByteRange | None = None) -> None:
        """Wait until every byte of *wanted* is held; None means all there are, their seams compared as well.

        Raises the error that ended the transfer; what had arrived by then is kept.
        """
        asked = wanted or EVERY_BYTE
        self.request(asked, first=True)
        try:
            self.wait(asked)
            state = self._state
            with state.cond:
                while wanted is None and not self.is_complete:
                    self._check()  # the last bytes are here, but maybe not yet the seams after them
                    self._workers.start_one()
                    state.cond.wait(POLL_INTERVAL_SECONDS)
        finally:
            self.cancel(asked)

    def wait(self, wanted: ByteRange, seconds: float | None = None) -> bool:
        """Wait until every byte of *wanted* is held, up to *seconds*; return whether it is. Raises as `ensure` does.

        It requests what no `request` covers for as long as it waits. Without sharing it requests *wanted* in any case,
        because another reader may cancel a request that covers it.
        """
        state = self._state
        deadline = None if seconds is None else time.monotonic() + seconds
        own = False
        with state.cond:
            state.awaited.append(wanted)
            try:
                while not state.is_satisfied(wanted):
                    self._check()
                    covered = any(asked.contains(wanted) for asked in state.demand)
                    if not own and not (covered and state.policy.share):
                        state.demand.insert(len(state.demand) if covered else 0, wanted)
                        own = True
                    self._workers.start_one()
                    left = POLL_INTERVAL_SECONDS if deadline is None else deadline - time.monotonic()
                    if left <= 0:
                        return False
                    state.cond.wait(min(left, POLL_INTERVAL_SECONDS))
                return True
            finally:
                state.awaited.remove(wanted)
                if own:
                    self.cancel(wanted)

    def request(self, wanted: ByteRange, *, first: bool = False) -> None:
        """Fetch *wanted* without waiting for it: after everything that was requested before, or *first*."""
        with self._state.cond:
            self._state.demand.insert(0 if first else len(self._state.demand), wanted)
            self._workers.start_one()
            self._state.cond.notify_all()  # wakes workers that look for work

    def cancel(self, wanted: ByteRange, *, cut: bool = False) -> None:
        """Take back one `request`. What is in flight still arrives, unless *cut* says to cut it short.

        A single stream is never cut short: its one answer brings what every reader waits for.
        """
        state = self._state
        with state.cond:
            with contextlib.suppress(ValueError):
                state.demand.remove(wanted)
            if cut and state.ledger is not None and not state.is_streaming:
                state.ledger.cut_short(wanted)
                state.cond.notify_all()  # wakes threads that wait for bytes that this request would have fetched

    def share(self, connections: int) -> None:
        """Divide what is wanted among up to *connections* connections from here on."""
        with self._state.cond:
            self._state.share_among(connections)

    def try_expose(self, wanted: ByteRange) -> bool:
        """Return whether *wanted* may be read from the copy now. From then on held bytes must not change."""
        with self._state.cond:
            if self._state.ledger is None or not self._state.is_satisfied(wanted):
                return False
            self._state.provenance.exposed = True
            return True

    def read(self, wanted: ByteRange) -> bytes:
        """Return the bytes of *wanted*, fetched where they are missing; fewer only at the end of the resource."""
        while True:
            self.wait(wanted)
            while not self.try_expose(wanted):  # everything may have been dropped meanwhile
                self.wait(wanted)
            if self.size is not None:
                if wanted.start >= self.size:
                    return b""
                wanted = ByteRange(wanted.start, min(wanted.stop, self.size))
            data = self.copy.read(wanted)
            if len(data) == len(wanted) or not self.drop_damaged():
                return data

    def drop_damaged(self, *, everything: bool = False) -> bool:
        """Drop the blocks that were found damaged, so that they are fetched; return whether there were any.

        With *everything* every held block is looked at first.
        """
        damaged = self.copy.damaged(everything=everything)
        if not damaged:
            return False
        state = self._state
        with state.cond:
            if state.ledger is not None:
                state.ledger.blocks.drop(damaged)
                state.unsaved.add(BLOCK)  # the record is not to claim them
        return True

    def let_go(self, done: ByteRange) -> None:
        """Drop the blocks of a copy in memory up to the end of *done*, which was read.

        The last one stays: what comes after it is compared with it.
        """
        state = self._state
        with state.cond:
            if state.ledger is None or self.copy.max_bytes is None:
                return
            start, stop = max(0, done.start // BLOCK - 1) * BLOCK, done.stop - BLOCK
            whole = state.ledger.blocks.inside(ByteRange(start, stop)) if start < stop else range(0)
            if whole:
                part = ByteRange(whole.start * BLOCK, min(whole.stop * BLOCK, state.ledger.blocks.size))
                state.ledger.blocks.drop(self.copy.forget(part))

    def drop(self, part: ByteRange) -> None:
        """Drop the blocks of a copy in memory that lie in *part*: they are missing again."""
        state = self._state
        with state.cond:
            if state.ledger is not None and self.copy.max_bytes is not None:
                state.ledger.blocks.drop(self.copy.forget(part))

    def checkpoint(self) -> None:
        """Save the record now. Raises `LocalError`."""
        with self._state.cond:
            draft = self._state.draft_record()
        self.copy.checkpoint(draft)

    def forget(self, damaged: ByteRange) -> bool:
        """Mark every block that *damaged* touches as missing, in the record too; return whether there is a copy yet."""
        with self._state.cond:
            if self._state.opened is None:
                return False
            self.copy.blocks.forget(damaged)
            draft = self._state.draft_record()
        self.copy.checkpoint(draft)
        return True

    def completes(self, seconds: float) -> bool:
        """Return `is_complete`; where every block is held, wait up to *seconds* for its workers to finish."""
        state = self._state
        deadline = time.monotonic() + seconds
        with state.cond:
            while not self.is_complete and not self.is_over:
                left = deadline - time.monotonic()
                if left <= 0 or state.ledger is None or not state.copy.blocks.is_complete:
                    break
                state.cond.wait(left)
            return self.is_complete

    def start_over(self) -> None:
        """Forget every block: the next `ensure` fetches everything anew, in one piece."""
        state = self._state
        with state.cond:
            state.go_on_in(state.fresh_stream())
            state.forget_all()

    def stop(self) -> None:
        """End all requests and save a last checkpoint, within `SHUTDOWN_TIMEOUT_SECONDS`; the copy stays open."""
        deadline = time.monotonic() + SHUTDOWN_TIMEOUT_SECONDS
        with self._state.cond:
            self._state.end()
        self._workers.stop(SHUTDOWN_TIMEOUT_SECONDS / 2)
        if self._checkpoints is not None:
            self._checkpoints.finish(max(0.05, deadline - time.monotonic()))

    def outlast(self) -> None:
        """After `stop`, wait for the last worker, so that nothing of this transfer is written any more."""
        self._workers.outlast()

    def _check(self) -> None:
        self._state.raise_error()
        if self._state.is_over:
            raise ClosedError(self.remote.name, "the transfer was stopped")

    def _start_checkpoints(self) -> None:
        state = self._state
        with state.cond:  # `stop` ends it; after a stop it is not begun any more
            if self._checkpoints is not None or state.is_over or not state.copy.is_durable:
                return
            checkpoints = Checkpointer(state, self._worker.fail)
            if not checkpoints.start():
                raise LocalError(self.remote.name, "the system allows no more threads")
            self._checkpoints = checkpoints
