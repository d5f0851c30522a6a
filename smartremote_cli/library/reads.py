"""Reads: bytes of a session for its readers, at any offset or in order, with what they read next fetched ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..core.blocks import BLOCK, MAX_SIZE
from ..core.ranges import ByteRange
from ..errors import ClosedError, NotCachedError, PastEndError
from ..plan.readahead import MAX_AHEAD, MAX_AHEAD_IN_ORDER, OrderedStream, Plan, Readahead
from ..store.copies import Copy
from ..transfer.transfer import Transfer
from .checks import StreamDigest

if TYPE_CHECKING:
    from .session import Session

# Shares of a bounded copy: a reader in order may fill half of it, and each of several readers an eighth.
_SHARES_IN_ORDER, _SHARES = 2, 8
# How many bytes a stream hands on at a time. Judgement: more delays the first byte on a slow link, less costs a turn
# of the locks for every piece; a pipe takes 64 KiB at a time anyway (pipe(7)).
PIECE_BYTES = 256 * 1024
# How often a reader that waits looks whether its file was closed meanwhile. Judgement: who closes a file that another
# thread reads expects an end soon, not at once.
READER_POLL_SECONDS = 0.2


class Reads:
    """Thread-safe; the session's lock guards the read-ahead."""

    def __init__(self, session: Session) -> None:
        options, most = session.options, session.destination.max_bytes
        self._session = session
        self._ahead = Readahead(
            options.streams, options.jump, MAX_AHEAD if most is None else min(MAX_AHEAD, most // _SHARES)
        )

    # At any offset

    def read(self, wanted: ByteRange, is_closed: Callable[[], bool] = lambda: False) -> bytes:
        """Return the bytes of *wanted*, fetched where they are missing; fewer only where the resource ends.

        `ClosedError` once *is_closed* says that the reader is gone.
        """
        data = self.read_held(wanted)
        return self.fetch(wanted, is_closed) if data is None else data

    def read_held(self, wanted: ByteRange) -> bytes | None:
        """Return the bytes of *wanted* where all of them are here, without waiting for any; else None."""
        session = self._session
        with session.lock:
            copy = session.copy
            if copy is None or session.size is None:
                return None
            if not session.whole:
                transfer = session.transfer
                if transfer is None or transfer.is_over or not transfer.try_expose(wanted):
                    return None
                self._read_ahead(transfer, wanted)
            session.is_exposed = True
        data = self._read_copy(copy, wanted)
        return data if data is not None and len(data) == len(wanted) else None

    def fetch(self, wanted: ByteRange, is_closed: Callable[[], bool] = lambda: False) -> bytes:
        """Return the bytes of *wanted* as `read` does, waiting for those that are missing."""
        session = self._session
        data: bytes | None = None
        with session.pinned(wanted):
            while data is None:
                copy = session.whole_copy()
                if copy is not None:
                    with session.lock:
                        session.is_exposed = True
                    data = self._read_copy(copy, wanted)
                    if data is not None and len(data) < len(wanted) and session.forget_damaged(copy):
                        data = None
                elif session.options.offline:
                    data = self._read_unasked(wanted)
                else:
                    data = session.attempt(
                        wanted, lambda transfer: self._fetch_over(transfer, wanted, is_closed)
                    )
        return data

    def _read_copy(self, copy: Copy, wanted: ByteRange) -> bytes | None:
        """Read *wanted* from *copy*; None when another thread has had it replaced, and closed, meanwhile."""
        try:
            return copy.read(wanted)
        except ClosedError:
            if self._session.uses(copy):
                raise
            return None

    def _fetch_over(
        self, transfer: Transfer, wanted: ByteRange, is_closed: Callable[[], bool]
    ) -> bytes | None:
        session = self._session
        try:
            identity = transfer.open()
        except PastEndError as error:
            session.note_size(error.size)
            if wanted.start < error.size:
                raise  # another thread had asked for what lies past the end: `attempt` looks again
            return b""
        if identity.size is not None:
            session.note_size(identity.size)
            if wanted.start >= identity.size:
                return b""
            wanted = ByteRange(wanted.start, min(wanted.stop, identity.size))
        with session.lock:
            self._read_ahead(transfer, wanted)
        while not transfer.wait(wanted, READER_POLL_SECONDS):
            if is_closed():
                raise ClosedError(session.remote.name, "I/O operation on closed file")
        if not self._may_expose(transfer):
            return None
        data = transfer.read(wanted)
        if session.backpressure is not None:
            session.backpressure.let_go(transfer)
        stop = wanted.stop if transfer.size is None else min(wanted.stop, transfer.size)
        return data if len(data) >= stop - wanted.start else None

    def _may_expose(self, transfer: Transfer) -> bool:
        """Note that bytes are handed out; False where *transfer* was replaced, maybe by another version's."""
        session = self._session
        with session.lock:
            if session.transfer is not transfer:
                return False
            session.is_exposed = True
            return True

    def _read_unasked(self, wanted: ByteRange) -> bytes:
        session = self._session
        copy = session.opened_copy()
        size = copy.identity.size
        if size is not None:
            if wanted.start >= size:
                return b""
            wanted = ByteRange(wanted.start, min(wanted.stop, size))
        data = b"" if next(copy.blocks.missing(wanted), None) else copy.read(wanted)
        if len(data) < len(wanted):
            session.forget_damaged(copy)
        gap = next(copy.blocks.missing(wanted), None)
        if gap is not None:
            first, last = max(gap.start, wanted.start), min(gap.stop, wanted.stop) - 1
            why = f"bytes {first} to {last} are not cached, and offline no server is asked"
            raise NotCachedError(session.remote.name, why)
        return data

    # In order

    def stream(self, start: int, stop: int | None) -> Iterator[bytes]:
        """Yield the bytes [start, stop) in order, *stop* None meaning the end, with connections running ahead.

        A copy in memory lets go of what was handed out. Where all of the resource was read, `ChecksumError` comes
        after its last byte when it has not the digest that is expected.
        """
        session, digest = self._session, StreamDigest(self._session)
        most = session.opened_copy().max_bytes
        window = MAX_AHEAD_IN_ORDER if most is None else min(MAX_AHEAD_IN_ORDER, most // _SHARES_IN_ORDER)
        ordered = self._ahead.follow(start, stop, window)
        position, is_whole = start, digest.take(start, b"")  # of an empty resource that is all
        try:
            while stop is None or position < stop:
                self._advance(ordered, position)
                end = position // BLOCK * BLOCK + PIECE_BYTES
                piece = ByteRange(position, end if stop is None else min(end, stop))
                data = self.read(piece)
                is_whole = digest.take(position, data)
                if data:
                    yield data
                position += len(data)
                self._advance(ordered, position)
                with session.lock:
                    transfer = session.transfer
                if transfer is not None:
                    transfer.let_go(piece)
                if len(data) < len(piece):
                    break
            if is_whole:
                digest.verify()
        finally:
            with session.lock:
                self._obey(session.transfer, self._ahead.leave(ordered))

    def _advance(self, ordered: OrderedStream, position: int) -> None:
        session = self._session
        with session.lock:
            self._obey(session.transfer, self._ahead.advance(ordered, position))

    # Reading ahead. Called with the session's lock held.

    @property
    def demand(self) -> tuple[ByteRange, ...]:
        """What readers read ahead."""
        with self._session.lock:
            return self._ahead.demand

    def end(self) -> None:
        """Have nothing read ahead any more."""
        self._obey(self._session.transfer, Plan(None, self._ahead.end()), cut=True)

    def _read_ahead(self, transfer: Transfer, wanted: ByteRange) -> None:
        """Have what a read of *wanted* should bring along fetched, and not what no reader needs any more."""
        if self._session.options.streams:
            plan = self._ahead.read(wanted, held=transfer.copy.blocks.holds(wanted))
            self._obey(transfer, plan, cut=True)

    def _obey(self, transfer: Transfer | None, plan: Plan, *, cut: bool = False) -> None:
        """Request and cancel what *plan* says; *cut* also cuts cancelled requests short that serve no other reader."""
        if transfer is None:
            return
        everything = ByteRange(0, self._session.size or MAX_SIZE)
        request = None if plan.request is None else plan.request.clip(everything)
        if request is not None:
            transfer.request(request, first=True)
        for cancelled in plan.cancelled:
            clipped = cancelled.clip(everything)
            if clipped is not None:
                transfer.cancel(clipped, cut=cut and (request is None or not request.overlaps(clipped)))
