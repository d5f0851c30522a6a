"""OpenFile: one resource open in one manager, shared by however many `RemoteFile`s read it.

It owns the transfer, which it begins when something is read and begins anew after one has failed, and the
streams that tell what to read ahead. Reads come first: idle filling ends the moment that one arrives. Once every
block is here, reads go to the copy alone.
"""

from __future__ import annotations

import contextlib
import os
import stat
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
from .readahead import MOST_AHEAD, Readahead
from .remote import Remote
from .state import Policy
from .storage import LocalCopy
from .targets import MemoryTarget, Target
from .transport import Transport

# What a copy in memory keeps of what was read, in bytes, and how far it reads ahead; the rest is fetched again
# when it is read again.
MOST_IN_MEMORY = 32 * 1024 * 1024
AHEAD_IN_MEMORY = 4 * 1024 * 1024

# Idle filling: how many seconds nobody must have read, how much is asked for at a time, after how many seconds
# without a byte another file has its turn, and how many seconds to rest after an error.
IDLE_AFTER = 0.3
IDLE_PIECE = 8 * 1024 * 1024
TURN = 2.0
FIRST_REST, LONGEST_REST = 1.0, 300.0

_TICK = 0.2


class OpenFile:
    """Thread-safe. *readers* streams of it stay open; a forward jump of up to *jump* bytes reads on.

    *stir* is called when a read is over: there may be something to fill.
    """

    def __init__(
        self,
        remote: Remote,
        target: Target,
        *,
        readers: int,
        jump: int,
        connections: int,
        listener: Listener,
        stir: Callable[[], None] = lambda: None,
    ) -> None:
        self.remote = remote
        self._target = target
        self._policy = Policy(connections=readers, share=False)
        self._jump = jump
        self._connections = connections
        self._listener = listener
        self._stir = stir
        self._size: int | None = None
        self._stated: int | None = None
        self._copy: Copy | None = None
        self._whole = False  # every block is here and compared: the copy alone is read
        self._finished = False  # and the record is gone
        self._rest = FIRST_REST
        self._rest_until = 0.0
        self._closed = False
        self._begin_process()

    def _begin_process(self) -> None:
        self._lock = threading.RLock()  # guards all fields; never held while waiting for bytes
        self._finishing = threading.Lock()  # one thread at a time writes or removes the record
        self._transfer: Transfer | None = None
        self._ahead = self._new_readahead()
        self._readers = 0
        self._last_read = time.monotonic()
        self._idle_want: ByteRange | None = None

    def _new_readahead(self) -> Readahead:
        most = AHEAD_IN_MEMORY if isinstance(self._target, MemoryTarget) else MOST_AHEAD
        return Readahead(self._policy.connections, self._jump, most)

    @property
    def path(self) -> str | None:
        return self._target.path

    @property
    def size(self) -> int:
        """The resource's size in bytes, asked for when it is not known yet."""
        with self._lock:
            self._check_open()
            known = self._stated if self._size is None else self._size
        if known is not None:
            return known
        with self._reading():
            transfer = self._transfer_for(ByteRange(0, 1))
            with self._learning(transfer):
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
            self._check_open()
            if self._size is not None and self._size != size:
                raise RemoteChangedError(self.remote.name, f"has {self._size} bytes, not {size}")
            self._stated = size

    def read_at(self, offset: int, length: int, is_closed: Callable[[], bool] = lambda: False) -> bytes:
        """Return *length* bytes from *offset* on; fewer only where the resource ends.

        `ClosedError` once *is_closed* says that nobody wants them any more.
        """
        if offset < 0 or length < 0:
            raise ValueError(f"a read of {length} bytes at {offset}")
        with self._lock:
            self._check_open()
            size = MAX_SIZE if self._size is None else self._size
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
            return BlockMap.fitting(size, self._met().blocks.bits)

    def stat(self) -> os.stat_result:
        """Return the data file's stat result, with the resource's size; without a data file, a regular file's."""
        size = self.size
        with self._lock:
            copy = self._copy
        if isinstance(copy, LocalCopy):
            found = os.fstat(copy.descriptor)
            if found.st_size == size:
                return found
            return os.stat_result([*found[:6], size, *found[7:]])
        return os.stat_result([stat.S_IFREG | 0o444, 0, 0, 1, os.getuid(), os.getgid(), size, 0, 0, 0])

    def complete(self, listener: Callable[[Snapshot], None] | None = None) -> None:
        """Fetch all that is missing; *listener* is given a snapshot a few times a second, and at the end."""
        everything = ByteRange(0, MAX_SIZE)
        with self._reading():
            while self._whole_copy() is None:
                transfer = self._transfer_for(everything)
                transfer.share(self._connections)
                transfer.want(everything)
                try:
                    with self._learning(transfer):
                        while not transfer.wait(everything, _TICK):
                            if listener is not None:
                                listener(_snapshot(transfer))
                        transfer.ensure()
                except ClosedError:  # maybe only because another thread saw first that all is here
                    if self._whole_copy() is None:
                        raise
                finally:
                    transfer.unwant(everything)
                if isinstance(transfer.copy, MemoryCopy):
                    break
                self._settle(transfer)
            self._finish()
        if listener is not None:
            size = self.size
            listener(Snapshot(size, size, 0))

    def save_part(self) -> None:
        """Save the record now. Does nothing for a complete file, or one of which nothing was read."""
        with self._lock:
            self._check_open()
            transfer = None if self._whole else self._transfer
        if transfer is not None and transfer.identity is not None:
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
        with self._reading():
            self._settle_if_held()
            self._finish()
            with self._finishing, self._lock:  # also over the disk: nobody may read what is being forgotten
                self._check_open()
                self._end_streams(self._transfer)
                if self._whole:
                    self._copy = self._target.unfinish()
                    self._whole = self._finished = False
                if self._transfer is not None and not self._transfer.is_over:
                    self._transfer.forget(damaged)
                elif self._copy is not None:
                    self._copy.blocks.forget(damaged)
                    self._copy.checkpoint(self._copy.snapshot())

    def close(self) -> None:
        """Stop fetching, save the record, and close. Whoever is reading gets `ClosedError`."""
        self._settle_if_complete()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            transfer, self._transfer = self._transfer, None
        if transfer is not None:
            transfer.stop()
        with contextlib.suppress(SmartRemoteError):  # the record stays then: the blocks are not lost
            self._finish()
        self._target.close()

    def forked(self, transport: Transport, stir: Callable[[], None]) -> None:
        """Go on in a child process, on the same copy, over *transport*: threads and connections are the parent's."""
        self.remote = self.remote.over(transport)
        self._stir = stir
        self._begin_process()
        self._target.forked()

    # Idle filling

    def fill(self) -> float | None:
        """While nobody reads, bring another piece of what is missing.

        Returns in how many seconds to ask again; None when there is nothing to do before another read. Errors are
        kept quiet and followed by a growing rest: one dead server is not asked thousands of times.
        """
        with self._lock:
            now = time.monotonic()
            if self._closed or self._finished or self._readers or self._copy is None:
                return None  # of what nobody has read yet, nobody is known to want more
            if isinstance(self._copy, MemoryCopy):
                return None
            wait = max(self._last_read + IDLE_AFTER, self._rest_until) - now
            if wait > 0:
                return wait
            if self._transfer is not None and self._transfer.is_over:
                self._transfer = None
            want = self._next_missing()
            self._idle_want = want
            transfer = self._transfer
            if transfer is None and not self._whole:
                transfer = self._begin(want or ByteRange(0, 1))
        try:
            if want is None or transfer is None:
                if transfer is not None:
                    transfer.wait(
                        ByteRange(0, MAX_SIZE), _TICK
                    )  # all is here, and maybe still being compared
                self._settle_if_complete()
                self._finish()
                return None if self._finished else _TICK
            self._wait_for_idle(transfer, want)
            self._rest = FIRST_REST
        except SmartRemoteError:
            with self._lock:
                self._rest_until = time.monotonic() + self._rest
                self._rest = min(2 * self._rest, LONGEST_REST)
        finally:
            if want is not None and transfer is not None:
                transfer.unwant(want, cut=True)
        return 0.0

    def _wait_for_idle(self, transfer: Transfer, want: ByteRange) -> None:
        """Wait for *want*, until a reader comes or nothing arrives for a while."""
        transfer.want(want)
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
        if self._copy is None or self._whole:
            return None
        run = next(self._copy.blocks.missing(), None)
        return None if run is None else ByteRange(run.start, min(run.stop, run.start + IDLE_PIECE))

    # Under the hood

    def _read_held(self, wanted: ByteRange) -> bytes | None:
        """Return the bytes of *wanted* where all of them are here; idle filling need not stand back for that."""
        with self._lock:
            copy = self._copy
            if copy is None or self._size is None:
                return None
            if not self._whole:
                transfer = self._transfer
                if transfer is None or transfer.is_over or not transfer.deliver(wanted):
                    return None
                self._read_ahead(transfer, wanted)
                self._last_read = time.monotonic()
        data = copy.read(wanted)
        return data if len(data) == len(wanted) else None

    def _fetch(self, wanted: ByteRange, is_closed: Callable[[], bool]) -> bytes | None:
        """Return the bytes of *wanted*, fetched where they are missing; None when they were let go of again."""
        copy = self._whole_copy()
        if copy is not None:
            return copy.read(wanted)
        transfer = self._transfer_for(wanted)
        with self._learning(transfer):
            try:
                identity = transfer.open()
            except PastEndError:
                return b""
        if identity.size is not None:
            self._note_size(identity.size)
            if wanted.start >= identity.size:
                return b""
            wanted = ByteRange(wanted.start, min(wanted.stop, identity.size))
        self._read_ahead(transfer, wanted)
        while not transfer.wait(wanted, _TICK):
            if is_closed():
                raise ClosedError(self.remote.name, "I/O operation on closed file")
        data = transfer.read(wanted)
        self._bound_memory(transfer)
        size = transfer.size
        return data if size is None or len(data) >= min(wanted.stop, size) - wanted.start else None

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
                stir = not self._finished
            if stir:
                self._stir()

    def _transfer_for(self, wanted: ByteRange) -> Transfer:
        with self._lock:
            self._check_open()
            if self._transfer is not None and self._transfer.is_over:
                self._transfer = None
            return self._transfer or self._begin(wanted)

    def _begin(self, wanted: ByteRange) -> Transfer:
        """Begin a transfer that asks for *wanted* first. Called with the lock held."""
        first, condition = self._target.first(wanted.start, len(wanted))
        self._ahead.end()
        self._transfer = Transfer(
            self.remote, self._target.open, first, self._policy, self._listener, None, condition
        )
        return self._transfer

    @contextlib.contextmanager
    def _learning(self, transfer: Transfer) -> Iterator[None]:
        """Take note of the copy, and of a size, also where it comes as an error."""
        try:
            yield
        except PastEndError as error:
            self._note_size(error.size)
            raise
        finally:
            if transfer.identity is not None:
                with self._lock:
                    if self._transfer is transfer:
                        self._copy = transfer.copy

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
            everything = ByteRange(0, self._size or MAX_SIZE)
            plan = self._ahead.read(wanted, held=transfer.copy.blocks.holds(wanted))
            want = None if plan.want is None else plan.want.clip(everything)
            if want is not None:
                transfer.want(want, first=True)
            for dropped in plan.dropped:
                clipped = dropped.clip(everything)
                if clipped is not None:
                    transfer.unwant(clipped, cut=want is None or not want.overlaps(clipped))

    def _end_streams(self, transfer: Transfer | None) -> None:
        for want in self._ahead.end():
            clipped = want.clip(ByteRange(0, self._size or MAX_SIZE))
            if transfer is not None and clipped is not None:
                transfer.unwant(clipped, cut=True)

    def _whole_copy(self) -> Copy | None:
        with self._lock:
            self._check_open()
            return self._copy if self._whole else None

    def _settle_if_complete(self) -> None:
        with self._lock:
            transfer = self._transfer
        if transfer is not None and transfer.is_complete:
            self._settle(transfer)

    def _met(self) -> Copy:
        """Return the copy, once the server's first answer has told what it is a copy of."""
        with self._lock:
            known = self._copy
        if known is not None:
            return known
        transfer = self._transfer_for(ByteRange(0, 1))
        with self._learning(transfer):
            transfer.open()
        return transfer.copy

    def _settle_if_held(self) -> None:
        """Where every block is held, wait until all that has to be compared was."""
        while self._whole_copy() is None:
            copy = self._met()
            if isinstance(copy, MemoryCopy) or not copy.blocks.is_complete:
                return
            transfer = self._transfer_for(ByteRange(0, 1))
            with (
                self._learning(transfer),
                contextlib.suppress(ClosedError),
            ):  # another thread may have been first
                transfer.ensure()
            self._settle(transfer)

    def _settle(self, transfer: Transfer) -> None:
        """Every block is here and compared: from now on the copy alone is read."""
        with self._lock:
            if self._transfer is not transfer or not transfer.is_complete:
                return
            if isinstance(transfer.copy, MemoryCopy):  # bounded: what is here now may be let go of
                return
            self._whole = True
            self._size = transfer.size
            self._copy = transfer.copy
            self._transfer = None
        transfer.stop()

    def _finish(self) -> None:
        """Have the target make a file whose blocks are all here durable; its record goes."""
        with self._finishing:
            if self._whole and not self._finished:
                self._target.finish()
                self._finished = True

    def _bound_memory(self, transfer: Transfer) -> None:
        """Let go of what a copy in memory holds beyond its bound, save what streams still want."""
        copy = transfer.copy
        if not isinstance(copy, MemoryCopy) or copy.blocks.held * BLOCK <= MOST_IN_MEMORY:
            return
        with self._lock:
            kept = [ByteRange(want.start // BLOCK * BLOCK, want.stop) for want in self._ahead.wants]
        for run in list(copy.blocks.present()):
            parts = [run]
            for part in kept:
                parts = [left for piece in parts for left in piece.minus(part)]
            for part in parts:
                transfer.let_go(part)

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(self.remote.name, "I/O operation on closed file")


def _snapshot(transfer: Transfer) -> Snapshot:
    present, size, connections = transfer.progress()
    return Snapshot(present, size, connections, transfer.cells(64))
