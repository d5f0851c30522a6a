"""OpenFile: one resource open in one manager, shared by however many `RemoteFile`s read it.

It owns the transfer, which it begins when something is read and begins anew after one has failed, and the
streams that tell what to read ahead. Reads come first: idle filling ends the moment that one arrives.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

from .blocks import BLOCK, MAX_SIZE, BlockMap
from .copies import Copy
from .engine import Transfer
from .errors import ClosedError, RemoteChangedError, SmartRemoteError
from .events import Listener, Snapshot
from .fetch import PastEndError
from .memory_copy import MemoryCopy
from .ranges import ByteRange
from .readahead import Readahead
from .state import Policy
from .storage import LocalCopy
from .targets import Target
from .transport import Remote, Transport

# What a copy in memory keeps of what was read, in bytes; the rest is fetched again when it is read again.
MOST_IN_MEMORY = 32 * 1024 * 1024

# Idle filling: how long nobody must have read, and how much is asked for at a time.
IDLE_AFTER = 0.3
IDLE_PIECE = 8 * 1024 * 1024

_FIRST_REST, _LONGEST_REST = 1.0, 300.0
_TICK = 0.2


class OpenFile:
    """Thread-safe. *readers* streams of it stay open; a forward jump of up to *jump* bytes reads on."""

    def __init__(
        self, remote: Remote, target: Target, *, readers: int, jump: int, connections: int, listener: Listener
    ) -> None:
        self.remote = remote
        self._target = target
        self._policy = Policy(connections=readers, share=False)
        self._jump = jump
        self._connections = connections
        self._listener = listener
        self._lock = threading.RLock()  # guards everything below; never held while waiting for bytes
        self._finishing = threading.Lock()  # one thread makes the file complete
        self._transfer: Transfer | None = None
        self._copy: Copy | None = None
        self._readahead = Readahead(readers, jump)
        self._size: int | None = None
        self._stated: int | None = None
        self._whole = False
        self._readers = 0
        self._last_read = time.monotonic()
        self._idle_want: ByteRange | None = None
        self._rest = _FIRST_REST
        self._rest_until = 0.0
        self._closed = False

    @property
    def path(self) -> str | None:
        return self._target.path

    @property
    def size(self) -> int:
        """The resource's size in bytes, asked for when it is not known yet."""
        with self._lock:
            known = self._stated if self._size is None else self._size
        if known is not None:
            return known
        with self._reading():
            transfer = self._transfer_for(ByteRange(0, 1))
            with self._learning():
                size = transfer.open().size
                if size is None:  # never announced: it is known when everything is here
                    transfer.ensure()
                    size = transfer.size
        return self._note_size(size)

    def state_size(self, size: int) -> None:
        """Take *size*, in bytes, as the resource's until an answer says so too, or raises."""
        if not 0 <= size <= MAX_SIZE:
            raise ValueError(f"a size of {size} bytes")
        with self._lock:
            if self._size is not None and self._size != size:
                raise RemoteChangedError(self.remote.name, f"has {self._size} bytes, not {size}")
            self._stated = size

    def read_at(self, offset: int, length: int) -> bytes:
        """Return *length* bytes from *offset* on; fewer only where the resource ends."""
        if offset < 0 or length < 0:
            raise ValueError(f"a read of {length} bytes at {offset}")
        with self._lock:
            self._check_open()
            size = self._size
        if not length or (size is not None and offset >= size):
            return b""
        wanted = ByteRange(offset, offset + length if size is None else min(offset + length, size))
        with self._reading():
            whole = self._whole_copy()
            if whole is not None:
                return whole.read(wanted)
            transfer = self._transfer_for(wanted)
            try:
                with self._learning():
                    identity = transfer.open()
            except PastEndError:
                return b""
            if identity.size is not None:
                self._note_size(identity.size)
                if offset >= identity.size:
                    return b""
                wanted = ByteRange(offset, min(wanted.stop, identity.size))
            self._read_ahead(transfer, wanted)
            data = transfer.read(wanted)
            self._bound_memory(transfer)
        return data

    def blocks(self) -> BlockMap:
        """Return a copy of the map of held blocks. Asks for the size when it is not known yet."""
        size = self.size
        with self._lock:
            copy = self._copy
            if copy is None:
                return BlockMap(size)
            return BlockMap(copy.blocks.size, copy.blocks.bits)

    def stat(self) -> os.stat_result:
        """Return the data file's stat result, with the resource's size; of the process where there is none."""
        size = self.size
        with self._lock:
            copy = self._copy
        if isinstance(copy, LocalCopy):
            found = list(os.fstat(copy.descriptor))
        else:
            found = [0o100444, 0, 0, 1, os.getuid(), os.getgid(), 0, 0, 0, 0]
        found[6] = size
        return os.stat_result(found)

    def complete(self, listener: Callable[[Snapshot], None] | None = None) -> None:
        """Fetch all that is missing; *listener* is given a snapshot a few times a second, and at the end."""
        everything = ByteRange(0, MAX_SIZE)
        while self._whole_copy() is None:
            with self._reading():
                transfer = self._transfer_for(everything)
                transfer.share(self._connections)
                transfer.want(everything)
                try:
                    with self._learning():
                        while not transfer.wait(everything, _TICK):
                            if listener is not None:
                                listener(_snapshot(transfer))
                        transfer.ensure()
                finally:
                    transfer.unwant(everything)
                self._finish(transfer)
        if listener is not None:
            size = self.size
            listener(Snapshot(size, size, 0))

    def save_part(self) -> None:
        """Save the record now. Does nothing for a complete file, or one of which nothing was read."""
        with self._lock:
            self._check_open()
            transfer = self._transfer
        if transfer is not None and transfer.identity is not None and not self._whole:
            transfer.checkpoint()

    def invalidate(self, offset: int, length: int) -> None:
        """Forget the blocks that hold any of the *length* bytes from *offset* on; they are fetched when read again.

        A complete file gets its record back first.
        """
        if offset < 0 or length < 0:
            raise ValueError(f"a range of {length} bytes at {offset}")
        size = self.size
        if not length or offset >= size:
            return
        damaged = ByteRange(offset, min(offset + length, size))
        with self._reading(), self._finishing, self._lock:
            for want in self._readahead.end():
                if self._transfer is not None:
                    self._transfer.unwant(want, cut=True)
            if self._whole:
                self._copy = self._target.unfinish()
                self._whole = False
            if self._transfer is not None and not self._transfer.is_over:
                self._transfer.forget(damaged)
            elif self._copy is not None:
                self._copy.blocks.forget(damaged)
                self._copy.checkpoint(self._copy.snapshot())

    def close(self) -> None:
        """Stop fetching, save the record, and close. Whoever is reading gets `ClosedError`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            transfer, self._transfer = self._transfer, None
        if transfer is not None:
            if transfer.is_complete and not self._whole:
                with contextlib.suppress(SmartRemoteError):
                    self._finish(transfer)
            transfer.stop()
        self._target.close()

    def forget_threads(self, transport: Transport) -> None:
        """In a child process: the threads and connections stayed behind; begin anew, over the same copy."""
        self.remote = Remote(self.remote.url, transport)
        self._lock = threading.RLock()
        self._finishing = threading.Lock()
        self._transfer = None
        self._readers = 0
        self._idle_want = None
        self._readahead = Readahead(self._policy.connections, self._jump)

    # Idle filling

    def fill(self) -> bool:
        """While nobody reads, bring another piece of what is missing; return whether there may be more to do.

        Errors are kept quiet and followed by a growing rest: one dead server is not asked thousands of times.
        """
        with self._lock:
            now = time.monotonic()
            idle = not self._readers and now - self._last_read >= IDLE_AFTER and now >= self._rest_until
            if self._closed or self._whole or not idle:
                return not (self._closed or self._whole)
            if self._transfer is None or self._transfer.identity is None:
                return False  # nothing was read yet: nobody is known to want it
            if self._transfer.is_over:
                self._transfer = None
            transfer = self._transfer or self._begin(ByteRange(0, MAX_SIZE))
            want = self._next_missing(transfer)
            self._idle_want = want
        try:
            if want is None:
                if transfer.is_complete:
                    self._finish(transfer)
                return not self._whole
            transfer.want(want)
            while not transfer.wait(want, _TICK):
                with self._lock:
                    if self._idle_want is not want:
                        return True
            self._rest = _FIRST_REST
        except SmartRemoteError:
            with self._lock:
                self._rest_until = time.monotonic() + self._rest
                self._rest = min(2 * self._rest, _LONGEST_REST)
        finally:
            if want is not None:
                transfer.unwant(want, cut=True)
        return True

    def _next_missing(self, transfer: Transfer) -> ByteRange | None:
        if self._copy is None or transfer.size is None:
            return ByteRange(0, MAX_SIZE) if not transfer.is_complete else None
        run = next(self._copy.blocks.missing(), None)
        return None if run is None else ByteRange(run.start, min(run.stop, run.start + IDLE_PIECE))

    # Under the hood

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Have idle filling stand back for as long as somebody reads."""
        with self._lock:
            self._check_open()
            self._readers += 1
            want, self._idle_want = self._idle_want, None
            transfer = self._transfer
        if want is not None and transfer is not None:
            transfer.unwant(want, cut=True)
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
                self._last_read = time.monotonic()

    def _transfer_for(self, wanted: ByteRange) -> Transfer:
        with self._lock:
            self._check_open()
            if self._transfer is not None and self._transfer.is_over:
                self._transfer = None
            return self._transfer or self._begin(wanted)

    def _begin(self, wanted: ByteRange) -> Transfer:
        """Begin a transfer that asks for *wanted* first. Called with the lock held."""
        first, condition = self._target.first(wanted.start, len(wanted))
        self._readahead.end()
        self._transfer = Transfer(
            self.remote, self._target.open, first, self._policy, self._listener, None, condition
        )
        return self._transfer

    @contextlib.contextmanager
    def _learning(self) -> Iterator[None]:
        """Take note of the copy, and of a size, also where it comes as an error."""
        try:
            yield
        except PastEndError as error:
            self._note_size(error.size)
            raise
        finally:
            with self._lock:
                if self._transfer is not None and self._transfer.identity is not None:
                    self._copy = self._transfer.copy

    def _note_size(self, size: int | None) -> int:
        with self._lock:
            if size is None:
                raise RemoteChangedError(self.remote.name, "the server never says how large it is")
            if self._stated is not None and size != self._stated:
                raise RemoteChangedError(self.remote.name, f"has {size} bytes, not {self._stated}")
            self._size = size
            return size

    def _read_ahead(self, transfer: Transfer, wanted: ByteRange) -> None:
        with self._lock:
            plan = self._readahead.read(wanted)
            size = self._size or MAX_SIZE
            want = plan.want.clip(ByteRange(0, size)) if plan.want is not None else None
            if want is not None:
                transfer.want(want, first=True)
            for dropped in plan.dropped:
                clipped = dropped.clip(ByteRange(0, size))
                if clipped is not None:
                    transfer.unwant(clipped, cut=want is None or not want.overlaps(clipped))

    def _whole_copy(self) -> Copy | None:
        with self._lock:
            self._check_open()
            return self._copy if self._whole else None

    def _finish(self, transfer: Transfer) -> None:
        """Every block is held: have the target make it durable; the transfer is not needed any more."""
        with self._finishing:
            if self._whole or not transfer.is_complete:
                return
            transfer.stop()
            self._target.finish()
            with self._lock:
                self._whole = True
                self._size = transfer.size
                self._copy = transfer.copy
                if self._transfer is transfer:
                    self._transfer = None

    def _bound_memory(self, transfer: Transfer) -> None:
        copy = transfer.copy
        if isinstance(copy, MemoryCopy) and copy.blocks.held * BLOCK > MOST_IN_MEMORY:
            with self._lock:
                kept = self._readahead.end()
            for want in kept:
                transfer.unwant(want, cut=True)
            for run in list(copy.blocks.present()):
                transfer.let_go(run)

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(self.remote.name, "I/O operation on closed file")


def _snapshot(transfer: Transfer) -> Snapshot:
    present, size, connections = transfer.progress()
    return Snapshot(present, size, connections, transfer.cells(64))
