"""OpenFile: one resource open in one manager, shared by however many `RemoteFile`s read it.

A view of `Session`: what it adds is idle filling, which ends the moment a read arrives that has to wait for the
network.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime

from ..core.blocks import EVERY_BYTE, MAX_SIZE, BlockMap
from ..core.ranges import ByteRange
from ..errors import ClosedError, RemoteChangedError, SmartRemoteError
from ..events import MAP_CELLS, Listener, Snapshot
from ..protocol.headers import parse_date
from ..store.destinations import Destination
from ..transfer.transfer import Transfer
from ..transport.remote import Remote
from ..transport.transport import Transport
from .checks import StreamDigest
from .checksum import Checksum
from .completion import finish_unasked
from .options import DownloadOptions
from .session import FIRST_BYTE, Session

# Idle filling begins when nothing was read for this long. Judgement: a program that reads on does so sooner, and its
# reads find the link free.
IDLE_AFTER_SECONDS = 0.3
# How much to fill of a file before another one has its turn. Judgement: about a second of a 64 Mbit/s link.
IDLE_PIECE_BYTES = 8 * 1024 * 1024
# Give another file its turn after this long without a byte. Judgement: longer than an ordinary answer takes.
TURN_SECONDS = 2.0
# How long to rest after an error, doubled each time: in the end a dead server is asked 12 times an hour.
MIN_REST_SECONDS, MAX_REST_SECONDS = 1.0, 300.0
# How often the filler looks whether a reader came. Judgement: readers do not wait for it, so that a fifth of a second
# only delays when their bytes have the whole link.
FILL_POLL_SECONDS = 0.2


class OpenFile:
    """Thread-safe. `complete` uses up to *connections*.

    *wake* is called when a read is over: there may be something to fill.
    """

    def __init__(
        self,
        remote: Remote,
        destination: Destination,
        options: DownloadOptions,
        *,
        connections: int,
        listener: Listener,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._session = Session(remote, destination, options, listener)
        self._connections = connections
        self._wake = wake
        self._rest = MIN_REST_SECONDS
        self._rest_until = 0.0
        self._begin_process()

    def _begin_process(self) -> None:
        self._lock = threading.RLock()  # guards what follows; taken before the session's
        self._readers = 0
        self._last_read = time.monotonic()
        self._idle_piece: ByteRange | None = None

    def expect(self, checksum: Checksum) -> None:
        """Expect *checksum* as well, for another who opens the same."""
        with self._session.lock:
            self._session.checks.demand(checksum)

    def stream_digest(self) -> StreamDigest:
        """Return digests for one reader, who may read in order."""
        return StreamDigest(self._session)

    @property
    def remote(self) -> Remote:
        return self._session.remote

    @property
    def path(self) -> str | None:
        return self._session.destination.path

    @property
    def size(self) -> int:
        """The resource's size in bytes, asked for when it is not known yet."""
        session = self._session
        with session.lock:
            session.check_open()
            known = session.stated if session.size is None else session.size
        if known is not None:
            return session.hand_out(known)
        with self._reading():
            return session.ask_size()

    @property
    def known_size(self) -> int | None:
        """The size in bytes, as far as it is known without asking."""
        return self._session.known_size

    @property
    def modified(self) -> datetime | None:
        """When the resource was modified, as the server's first answer dates it."""
        with self._reading():
            date = self._session.opened_copy().identity.last_modified
        return None if date is None else parse_date(date)

    def ask(self) -> None:
        """Have the server's first answer say what there is, unless one did. Raises what it refuses with."""
        with self._reading():
            self._session.opened_copy()

    def check_refused(self) -> None:
        """Raise what the server refused with when it was asked last; a read asks it again."""
        if self._session.refused is not None:
            raise self._session.refused

    def state_size(self, size: int) -> None:
        """Take *size*, in bytes, as the resource's until an answer says so too, or raises."""
        if not 0 <= size <= MAX_SIZE:
            raise ValueError(f"a size of {size} bytes")
        session = self._session
        with session.lock:
            session.check_open()
            if session.size is not None and session.size != size:
                raise RemoteChangedError(self.remote.name, f"has {session.size} bytes, not {size}")
            session.stated = size

    def read_at(self, offset: int, length: int, is_closed: Callable[[], bool] = lambda: False) -> bytes:
        """Return *length* bytes from *offset* on; fewer only where the resource ends.

        `ClosedError` once *is_closed* says that the reader is gone.
        """
        if offset < 0 or length < 0:
            raise ValueError(f"a read of {length} bytes at {offset}")
        session = self._session
        with session.lock:
            session.check_open()
            size = MAX_SIZE if session.size is None else session.size
        if not length or offset >= size:
            return b""
        wanted = ByteRange(offset, min(offset + length, size))
        data = session.reads.read_held(wanted)  # idle filling need not stand back for that
        if data is not None:
            self._last_read = time.monotonic()
            return data
        with self._reading():
            return session.reads.fetch(wanted, is_closed)

    def blocks(self) -> BlockMap:
        """Return a copy of the map of held blocks. Asks the server, which may have another version by now."""
        size = self.size
        with self._reading():
            return BlockMap.fitting(size, self._session.opened_copy().blocks.bits)

    def stat(self) -> os.stat_result:
        """Return the data file's stat result, with the resource's size; without a data file, a regular file's."""
        size = self.size
        with self._session.lock:
            self._session.check_open()
            copy = self._session.copy
        try:
            found = None if copy is None else copy.stat()
        except ClosedError:
            if copy is not None and self._session.uses(copy):
                raise
            found = None  # another thread has had it replaced meanwhile
        if found is None:
            return os.stat_result([stat.S_IFREG | 0o444, 0, 0, 1, os.getuid(), os.getgid(), size, 0, 0, 0])
        if found.st_size == size:
            return found
        return os.stat_result([*found[:6], size, *found[7:]])

    def complete(self, listener: Callable[[Snapshot], None] | None = None) -> None:
        """Fetch all that is missing and check it; *listener* is given a snapshot now and then, and at the end."""
        with self._reading():
            self._session.complete(self._connections, listener)
        if listener is not None:
            size = self.size
            listener(Snapshot(size, size, 0, (1.0,) * MAP_CELLS if size else ()))

    def save_part(self) -> None:
        """Save the record now. Does nothing for a complete file, or one of which nothing was read."""
        session = self._session
        with session.lock:
            session.check_open()
            transfer = None if session.whole else session.transfer
        if transfer is not None and transfer.identity is not None:
            transfer.checkpoint()

    def invalidate(self, offset: int, length: int) -> None:
        """Forget the blocks that hold any of the *length* bytes from *offset* on; they are fetched when read again.

        A complete file gets its record back first.
        """
        if offset < 0 or length < 0:
            raise ValueError(f"a range of {length} bytes at {offset}")
        size = self.size
        if length and offset < size:
            with self._reading():
                self._session.forget(ByteRange(offset, min(offset + length, size)))

    def close(self) -> None:
        """Stop fetching, save the record, and close. Reads that wait end in `ClosedError`."""
        with contextlib.suppress(OSError, SmartRemoteError):  # the record stays then: the blocks are not lost
            finish_unasked(self._session)
        self._session.close()

    def after_fork_in_child(self, transport: Transport, wake: Callable[[], None]) -> None:
        """Go on in a child process, on the same copy, over *transport*: threads and connections are the parent's."""
        self._session.after_fork_in_child(transport)
        self._wake = wake
        self._begin_process()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Have idle filling stand back during a read."""
        with self._lock:
            self._session.check_open()
            self._readers += 1
            piece, self._idle_piece = self._idle_piece, None
            transfer = self._session.transfer
        if piece is not None and transfer is not None:
            transfer.cancel(piece, cut=True)
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
                self._last_read = time.monotonic()
            if not self._session.finished:
                self._wake()

    # Idle filling

    def fill(self) -> float | None:
        """While nothing is read, bring another piece of what is missing.

        Returns in how many seconds to ask again; None when there is nothing to do before another read. Errors are
        kept quiet and followed by a growing rest.
        """
        with self._lock, self._session.lock:
            if not self._is_worth_filling():
                return None
            wait = max(self._last_read + IDLE_AFTER_SECONDS, self._rest_until) - time.monotonic()
            if wait > 0:
                return wait
            piece = self._idle_piece = self._next_missing()
        try:
            if piece is None:
                return self._finish()
            transfer = self._session.current(piece)
            if transfer is not None:
                self._wait_for_idle(transfer, piece)
            self._rest = MIN_REST_SECONDS
        except SmartRemoteError:
            with self._lock:
                self._rest_until = time.monotonic() + self._rest
                self._rest = min(2 * self._rest, MAX_REST_SECONDS)
        return 0.0

    def _is_worth_filling(self) -> bool:
        """Return whether something was read, and more can be kept. Called with both locks held."""
        session = self._session
        if session.closed or session.finished or self._readers or session.copy is None:
            return False
        return session.copy.max_bytes is None and not session.checks.has_failed

    def _finish(self) -> float | None:
        """All is here, and maybe still being compared; return in how many seconds to look again."""
        session = self._session
        transfer = session.current(FIRST_BYTE)
        if transfer is not None:
            transfer.wait(EVERY_BYTE, FILL_POLL_SECONDS)
        finish_unasked(session)
        return None if session.finished else FILL_POLL_SECONDS

    def _wait_for_idle(self, transfer: Transfer, piece: ByteRange) -> None:
        """Wait for *piece*, until a reader comes or nothing arrives for a while."""
        with self._lock:
            if self._idle_piece is not piece:
                return
            transfer.request(piece)
        try:
            present, since = -1, time.monotonic()
            while not transfer.wait(piece, FILL_POLL_SECONDS):
                with self._lock:
                    if self._idle_piece is not piece:
                        return
                arrived = transfer.progress()[0]
                if arrived != present:
                    present, since = arrived, time.monotonic()
                elif time.monotonic() - since >= TURN_SECONDS:
                    return
        finally:
            transfer.cancel(piece, cut=True)

    def _next_missing(self) -> ByteRange | None:
        if self._session.copy is None or self._session.whole:
            return None
        run = next(self._session.copy.blocks.missing(), None)
        return None if run is None else ByteRange(run.start, min(run.stop, run.start + IDLE_PIECE_BYTES))
