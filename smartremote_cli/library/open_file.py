"""OpenFile: one resource open in one manager, shared by however many `RemoteFile`s read it.

Reads come first: idle filling ends the moment that one arrives that has to wait for the network.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator

from ..core.blocks import MAX_SIZE, BlockMap
from ..core.ranges import ByteRange
from ..errors import ClosedError, PastEndError, RemoteChangedError, SmartRemoteError
from ..events import Listener, Snapshot
from ..store.copies import Copy
from ..store.destinations import Destination
from ..transfer.state import Policy
from ..transfer.transfer import Transfer
from ..transport.remote import Remote
from ..transport.transport import Transport
from .session import Session

# Idle filling: how many seconds nobody must have read, how much is asked for at a time, after how many seconds
# without a byte another file has its turn, and how many seconds to rest after an error.
IDLE_AFTER = 0.3
IDLE_PIECE = 8 * 1024 * 1024
TURN = 2.0
FIRST_REST, MAX_REST = 1.0, 300.0

_TICK = 0.2


class OpenFile:
    """Thread-safe. *readers* streams of it stay open; a forward jump of up to *jump* bytes reads on.

    *wake* is called when a read is over: there may be something to fill.
    """

    def __init__(
        self,
        remote: Remote,
        destination: Destination,
        *,
        readers: int,
        jump: int,
        connections: int,
        listener: Listener,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._session = Session(remote, destination, Policy(connections=readers, share=False), jump, listener)
        self._connections = connections
        self._wake = wake
        self._rest = FIRST_REST
        self._rest_until = 0.0
        self._begin_process()

    def _begin_process(self) -> None:
        self._lock = threading.RLock()  # guards what follows; taken before the session's
        self._readers = 0
        self._last_read = time.monotonic()
        self._idle_want: ByteRange | None = None

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
            return known
        with self._reading():
            transfer = session.current(ByteRange(0, 1))
            with session.learning(transfer):
                size = transfer.open().size
                if size is None:  # never announced: it is known when everything is here
                    transfer.ensure()
                    size = transfer.size
        return session.note_size(size)

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

        `ClosedError` once *is_closed* says that nobody wants them any more.
        """
        if offset < 0 or length < 0:
            raise ValueError(f"a read of {length} bytes at {offset}")
        with self._session.lock:
            self._session.check_open()
            size = MAX_SIZE if self._session.size is None else self._session.size
        if not length or offset >= size:
            return b""
        wanted = ByteRange(offset, min(offset + length, size))
        data = self._read_held(wanted)
        if data is not None:
            return data
        with self._reading():
            while data is None:
                data = self._fetch(wanted, is_closed)
        return data

    def blocks(self) -> BlockMap:
        """Return a copy of the map of held blocks. Asks the server, which may have another version by now."""
        size = self.size
        with self._reading():
            return BlockMap.fitting(size, self._session.met().blocks.bits)

    def stat(self) -> os.stat_result:
        """Return the data file's stat result, with the resource's size; without a data file, a regular file's."""
        size = self.size
        with self._session.lock:
            copy = self._session.copy
        descriptor = getattr(copy, "descriptor", None)
        if descriptor is not None:
            found = os.fstat(descriptor)
            if found.st_size == size:
                return found
            return os.stat_result([*found[:6], size, *found[7:]])
        return os.stat_result([stat.S_IFREG | 0o444, 0, 0, 1, os.getuid(), os.getgid(), size, 0, 0, 0])

    def complete(self, listener: Callable[[Snapshot], None] | None = None) -> None:
        """Fetch all that is missing; *listener* is given a snapshot a few times a second, and at the end."""
        session = self._session
        with self._reading():
            while session.whole_copy() is None:
                transfer = session.current(ByteRange(0, MAX_SIZE))
                try:
                    with session.learning(transfer):
                        self._fetch_all(transfer, listener)
                except ClosedError:
                    if session.uses(transfer):
                        raise
                    continue  # another thread saw first that all was here
                if transfer.copy.max_bytes is not None:
                    break
                session.settle(transfer)
            session.finish()
        if listener is not None:
            size = self.size
            listener(Snapshot(size, size, 0, (1.0,) * 64 if size else ()))

    def _fetch_all(self, transfer: Transfer, listener: Callable[[Snapshot], None] | None) -> None:
        everything = ByteRange(0, MAX_SIZE)
        transfer.share(self._connections)
        transfer.request(everything)
        try:
            while not transfer.wait(everything, _TICK):
                if listener is not None:
                    present, size, connections = transfer.progress()
                    listener(Snapshot(present, size, connections, transfer.cells(64)))
            transfer.ensure()
        finally:
            transfer.cancel(everything)

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
        """Stop fetching, save the record, and close. Whoever is reading gets `ClosedError`."""
        self._session.close()

    def after_fork_in_child(self, transport: Transport, wake: Callable[[], None]) -> None:
        """Go on in a child process, on the same copy, over *transport*: threads and connections are the parent's."""
        self._session.after_fork_in_child(transport)
        self._wake = wake
        self._begin_process()

    # Reading

    def _read_held(self, wanted: ByteRange) -> bytes | None:
        """Return the bytes of *wanted* where all of them are here; idle filling need not stand back for that."""
        session = self._session
        with session.lock:
            copy = session.copy
            if copy is None or session.size is None:
                return None
            if not session.whole:
                transfer = session.transfer
                if transfer is None or transfer.is_over or not transfer.try_expose(wanted):
                    return None
                session.read_ahead(transfer, wanted)
        self._last_read = time.monotonic()
        data = self._read_over(copy, lambda: copy.read(wanted))
        return data if data is not None and len(data) == len(wanted) else None

    def _fetch(self, wanted: ByteRange, is_closed: Callable[[], bool]) -> bytes | None:
        """Return the bytes of *wanted*, fetched where they are missing; None when they were let go of again."""
        copy = self._session.whole_copy()
        if copy is not None:
            return self._read_over(copy, lambda: copy.read(wanted))
        transfer = self._session.current(wanted)
        return self._read_over(transfer, lambda: self._fetch_over(transfer, wanted, is_closed))

    def _read_over(self, part: Copy | Transfer, read: Callable[[], bytes | None]) -> bytes | None:
        """Return what *read* returns; None when another thread has had *part* replaced, and closed, meanwhile."""
        try:
            return read()
        except ClosedError:
            if self._session.uses(part):
                raise
            return None

    def _fetch_over(
        self, transfer: Transfer, wanted: ByteRange, is_closed: Callable[[], bool]
    ) -> bytes | None:
        session = self._session
        with session.learning(transfer):
            try:
                identity = transfer.open()
            except PastEndError:
                return b""
        if identity.size is not None:
            session.note_size(identity.size)
            if wanted.start >= identity.size:
                return b""
            wanted = ByteRange(wanted.start, min(wanted.stop, identity.size))
        session.read_ahead(transfer, wanted)
        while not transfer.wait(wanted, _TICK):
            if is_closed():
                raise ClosedError(self.remote.name, "I/O operation on closed file")
        data = transfer.read(wanted)
        session.bound_memory(transfer)
        stop = wanted.stop if transfer.size is None else min(wanted.stop, transfer.size)
        return data if len(data) >= stop - wanted.start else None

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Have idle filling stand back for as long as somebody reads."""
        with self._lock:
            self._session.check_open()
            self._readers += 1
            want, self._idle_want = self._idle_want, None
            transfer = self._session.transfer
        if want is not None and transfer is not None:
            transfer.cancel(want, cut=True)
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
        """While nobody reads, bring another piece of what is missing.

        Returns in how many seconds to ask again; None when there is nothing to do before another read. Errors are
        kept quiet and followed by a growing rest: one dead server is not asked thousands of times.
        """
        session = self._session
        with self._lock, session.lock:
            # Of what nobody has read yet, nobody is known to want more.
            if session.closed or session.finished or self._readers or session.copy is None:
                return None
            if session.copy.max_bytes is not None:
                return None
            wait = max(self._last_read + IDLE_AFTER, self._rest_until) - time.monotonic()
            if wait > 0:
                return wait
            want = self._next_missing()
            self._idle_want = want
            transfer = None if session.whole else session.current(want or ByteRange(0, 1))
        try:
            if want is None or transfer is None:
                if transfer is not None:
                    transfer.wait(
                        ByteRange(0, MAX_SIZE), _TICK
                    )  # all is here, and maybe still being compared
                session.settle_if_complete()
                session.finish()
                return None if session.finished else _TICK
            self._wait_for_idle(transfer, want)
            self._rest = FIRST_REST
        except SmartRemoteError:
            with self._lock:
                self._rest_until = time.monotonic() + self._rest
                self._rest = min(2 * self._rest, MAX_REST)
        finally:
            if want is not None and transfer is not None:
                transfer.cancel(want, cut=True)
        return 0.0

    def _wait_for_idle(self, transfer: Transfer, want: ByteRange) -> None:
        """Wait for *want*, until a reader comes or nothing arrives for a while."""
        transfer.request(want)
        present, since = -1, time.monotonic()
        while not transfer.wait(want, _TICK):
            with self._lock:
                if self._idle_want is not want:
                    return
            arrived = transfer.progress()[0]
            if arrived != present:
                present, since = arrived, time.monotonic()
            elif time.monotonic() - since >= TURN:
                return

    def _next_missing(self) -> ByteRange | None:
        if self._session.copy is None or self._session.whole:
            return None
        run = next(self._session.copy.blocks.missing(), None)
        return None if run is None else ByteRange(run.start, min(run.stop, run.start + IDLE_PIECE))
