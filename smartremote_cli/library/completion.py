"""Completion: everything of a session fetched, compared with the digests that are expected, and made durable."""

from __future__ import annotations

import contextlib
import enum
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from ..core.blocks import EVERY_BYTE
from ..errors import NotCachedError
from ..events import MAP_CELLS, Notice, Snapshot
from ..store.copies import Copy
from ..transfer.digester import Digester
from ..transfer.transfer import Transfer
from .checks import digest_error
from .checksum import Checksum

if TYPE_CHECKING:
    from .session import Session

# How often a listener hears of progress. Judgement: fast enough for a display that people watch, and 5 calls a second
# cost nothing.
LISTENER_INTERVAL_SECONDS = 0.2


class _Next(enum.Enum):
    """What follows when a transfer was asked for everything."""

    FINISH = enum.auto()  # all is here: make it durable
    DONE = enum.auto()  # all was here, in a copy that stays bounded
    PASS_THROUGH = enum.auto()  # a copy in memory cannot hold it: read it once in order


class Completion:
    """One `complete` of a session, over up to *connections* where its policy says otherwise."""

    def __init__(
        self, session: Session, connections: int | None, listener: Callable[[Snapshot], None] | None
    ) -> None:
        self._session = session
        self._connections = connections
        self._listener = listener

    def run(self) -> None:
        """Return when all is here, durable, and what is expected.

        A digest that is wrong has everything fetched once more, unless a reader has got some of it; then comes
        `ChecksumError`. A file that the user named keeps its blocks and its record; any other copy forgets them.
        """
        session = self._session
        while self._finds_damage() or not session.finish():
            copy = session.whole_copy()
            if copy is not None:
                self._check_whole(copy)
            elif session.options.offline:
                session.opened_copy()
                if session.whole_copy() is None:
                    self._refuse_gaps()
            else:
                # One attempt for all of it: a transfer that fails between two would be begun again in silence.
                match session.attempt(EVERY_BYTE, self._fill):
                    case _Next.PASS_THROUGH:
                        return self._pass_through()
                    case _Next.DONE:
                        return

    def _finds_damage(self) -> bool:
        """Look at every block before the whole is called complete; what is damaged is forgotten then."""
        copy = self._session.whole_copy()
        return copy is not None and self._session.forget_damaged(copy, everything=True)

    def _exceeds_memory(self, transfer: Transfer) -> bool:
        """Return whether all of it may be more than a copy in memory holds."""
        size, most = transfer.open().size, transfer.copy.max_bytes
        is_more = most is not None and (size is None or size > most)
        if is_more and self._connections is not None:
            transfer.share(self._connections)
        return is_more

    def _pass_through(self) -> None:
        """Read everything once in order, comparing digests, and let go of it on the way."""
        session, position, told = self._session, 0, time.monotonic()
        for piece in session.stream(0, None):
            position += len(piece)
            transfer, now = session.transfer, time.monotonic()
            if self._listener is None or transfer is None or now - told < LISTENER_INTERVAL_SECONDS:
                continue
            told = now
            _, size, connections = transfer.progress()
            self._listener(Snapshot(position, size, connections, _cells(position, size)))

    def _fill(self, transfer: Transfer) -> _Next:
        """Fetch and check everything, unless it is more than the copy may hold; return what follows."""
        session = self._session
        if self._exceeds_memory(transfer):
            return _Next.PASS_THROUGH
        transfer.drop_damaged(everything=True)
        with session.pinned(EVERY_BYTE), contextlib.ExitStack() as stack:
            digesters = [
                stack.enter_context(Digester(transfer, checksum.algorithm))
                for checksum in session.expected()
                if not transfer.copy.is_foreign
            ]
            self._fetch(transfer)
            self._check(transfer, {digester.algorithm: digester for digester in digesters})
        session.note_whole(transfer)
        return _Next.FINISH if transfer.copy.max_bytes is None else _Next.DONE

    def _fetch(self, transfer: Transfer) -> None:
        if self._connections is not None:
            transfer.share(self._connections)
        if self._listener is not None:
            self._fetch_and_tell(transfer, self._listener)
        transfer.ensure()

    def _fetch_and_tell(self, transfer: Transfer, listener: Callable[[Snapshot], None]) -> None:
        transfer.request(EVERY_BYTE)
        try:
            while not transfer.wait(EVERY_BYTE, LISTENER_INTERVAL_SECONDS):
                present, size, connections = transfer.progress()
                listener(Snapshot(present, size, connections, transfer.cells(MAP_CELLS)))
        finally:
            transfer.cancel(EVERY_BYTE)

    def _check(self, transfer: Transfer, digesters: dict[str, Digester]) -> None:
        """Compare what *transfer* has brought; where it is wrong, fetch it once more."""
        session, copy = self._session, transfer.copy
        expected = self._pending(transfer)
        for checksum in expected:
            digester = digesters.get(checksum.algorithm)
            right = (
                checksum.agrees_with(copy) if digester is None else digester.hexdigest() == checksum.digest
            )
            if not right:
                expected = self._mend(transfer, checksum, expected)
                break
        session.note_agreed(expected)

    def _mend(
        self, transfer: Transfer, wrong: Checksum, expected: tuple[Checksum, ...]
    ) -> tuple[Checksum, ...]:
        """Fetch everything once more, in one piece, and return what it agrees with; raise when that is wrong too."""
        session = self._session
        with session.lock:  # a reader gets either bytes, and there is no start over, or none before it
            may = not session.is_exposed and not transfer.copy.is_foreign
            if may:
                session.checks.forget_announced()
                transfer.start_over()
        if not may:
            self._refuse(wrong)
        session.tell(Notice(f"{wrong.algorithm} does not match: fetching everything again"))
        self._fetch(transfer)
        expected = self._pending(transfer) or expected
        for checksum in expected:
            if not checksum.agrees_with(transfer.copy):
                self._refuse(checksum, ", also when fetched again")
        return expected

    def _refuse(self, wrong: Checksum, more: str = "") -> NoReturn:
        if self._session.destination.is_named:
            raise digest_error(self._session, wrong, more)
        self._session.refuse(wrong, more)

    def _pending(self, transfer: Transfer | None) -> tuple[Checksum, ...]:
        with self._session.lock:
            return self._session.checks.pending(transfer)

    def _check_whole(self, copy: Copy) -> None:
        """Compare a copy that was completed by reads alone; have it fetched once more where it is wrong."""
        session = self._session
        pending = self._pending(None)
        wrong = next((checksum for checksum in pending if not checksum.agrees_with(copy)), None)
        if wrong is None:
            session.note_agreed(pending)
        elif session.is_exposed or copy.is_foreign or session.options.offline:
            self._refuse(wrong)
        else:
            session.reopen()

    def _refuse_gaps(self) -> NoReturn:
        gap = next(self._session.opened_copy().blocks.missing(), None)
        where = "" if gap is None else f": bytes {gap.start} to {gap.stop - 1} are missing"
        why = f"not all of it is cached, and offline no server is asked{where}"
        raise NotCachedError(self._session.remote.name, why)


def _cells(position: int, size: int | None) -> tuple[float, ...]:
    """Return how much of each of equal stretches lies before *position*."""
    if not size:
        return ()
    return tuple(min(1.0, max(0.0, position * MAP_CELLS / size - cell)) for cell in range(MAP_CELLS))


def finish_unasked(session: Session) -> None:
    """Make a file that reads or idle filling have completed durable, unless it is wrong: then it is forgotten.

    Where nothing was fetched there is nothing to find out, and a large file is not read for it.
    """
    session.note_whole_if_complete()
    copy = session.whole_copy()
    if copy is None:
        return
    if session.forget_damaged(copy):
        return
    with session.lock:
        pending = session.checks.pending(None) if session.has_fetched and not copy.is_foreign else ()
    wrong = next((checksum for checksum in pending if not checksum.agrees_with(copy)), None)
    if wrong is None:
        session.finish(checked=False)
    else:
        session.tell(Notice(str(digest_error(session, wrong))))
        session.distrust()
