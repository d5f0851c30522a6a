"""Session: the transfers of one open file, one after another, into one copy.

A transfer begins when something is wanted, and another one after it has failed. What each has learnt stays: the
copy, the size, the streams that tell what to read ahead. Once every block is here and compared there is no transfer
any more, and the copy alone is read.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from ..core.blocks import BLOCK, MAX_SIZE
from ..core.ranges import ByteRange
from ..errors import ClosedError, PastEndError, RemoteChangedError
from ..events import Listener
from ..plan.readahead import MAX_AHEAD, Readahead
from ..protocol.identity import Identity
from ..store.copies import Copy, Opened
from ..store.destinations import Destination, MemoryDestination
from ..transfer.state import Policy
from ..transfer.transfer import Transfer
from ..transport.limiter import Limiter
from ..transport.remote import Remote
from ..transport.response import Response
from ..transport.transport import Transport

# How far a copy in memory reads ahead, in bytes.
AHEAD_IN_MEMORY = 4 * 1024 * 1024

_LAST_CLAIMS = 0.3  # seconds for threads whose last bytes are here to say that they are done
_LOOK = 0.02  # seconds between looks whether somebody wants more


class Session:
    """Thread-safe. `lock` guards all fields, and is never held while waiting for bytes."""

    def __init__(
        self, remote: Remote, destination: Destination, policy: Policy, jump: int, listener: Listener
    ) -> None:
        """Read *remote* into *destination*; a forward jump of up to *jump* bytes reads on."""
        self.remote = remote
        self.destination = destination
        self._policy = policy
        self._jump = jump
        self._listener = listener
        self.copy: Copy | None = None
        self.size: int | None = None
        self.stated: int | None = None  # by the caller
        self.whole = False  # every block is here and compared: the copy alone is read
        self.finished = False  # and the record is gone
        self.closed = False
        self._begin_process()

    def _begin_process(self) -> None:
        self.lock = threading.RLock()
        self.finishing = threading.Lock()  # one thread at a time writes or removes the record
        self.transfer: Transfer | None = None
        most = AHEAD_IN_MEMORY if isinstance(self.destination, MemoryDestination) else MAX_AHEAD
        self._ahead = Readahead(self._policy.connections, self._jump, most)

    def after_fork_in_child(self, transport: Transport) -> None:
        """Go on in a child process, on the same copy, over *transport*: threads and connections are the parent's."""
        self.remote = self.remote.over(transport)
        self._begin_process()
        self.destination.after_fork_in_child()

    def check_open(self) -> None:
        if self.closed:
            raise ClosedError(self.remote.name, "I/O operation on closed file")

    def uses(self, part: Copy | Transfer) -> bool:
        """Return whether *part* is still this one's own; another thread may have had it replaced meanwhile."""
        with self.lock:
            self.check_open()
            return part is self.copy or part is self.transfer

    def current(self, wanted: ByteRange) -> Transfer:
        """Return the transfer under way, else a new one that asks for *wanted* first."""
        while True:
            with self.lock:
                self.check_open()
                transfer = self.transfer
                if transfer is None or not transfer.is_over:
                    return transfer or self._begin(wanted)
                self.transfer = None
            transfer.stop()  # it has failed; its last threads go before another begins on the same copy

    def _begin(self, wanted: ByteRange) -> Transfer:
        first, condition = self.destination.first(wanted.start, len(wanted))
        self._ahead.end()
        brake = _Brake(self) if isinstance(self.destination, MemoryDestination) else None
        self.transfer = Transfer(
            self.remote, self._open, first, self._policy, self._listener, brake, condition
        )
        return self.transfer

    def _open(self, identity: Identity, response: Response) -> Opened:
        opened = self.destination.open(identity, response)
        with self.lock:
            closed = self.closed
        if closed:  # while that went on: nobody else will close the copy
            self.destination.close()
            raise ClosedError(self.remote.name, "I/O operation on closed file")
        return opened

    @contextlib.contextmanager
    def learning(self, transfer: Transfer) -> Iterator[None]:
        """Take note of the copy, and of a size, also where it comes as an error."""
        try:
            yield
        except PastEndError as error:
            self.note_size(error.size)
            raise
        finally:
            if transfer.identity is not None:
                with self.lock:
                    if self.transfer is transfer:
                        self.copy = transfer.copy

    def note_size(self, size: int | None) -> int:
        """Take note of the resource's size, which must be what was stated."""
        with self.lock:
            if size is None:
                raise RemoteChangedError(self.remote.name, "the server never says how large it is")
            if self.stated is not None and size != self.stated:
                raise RemoteChangedError(self.remote.name, f"has {size} bytes, not {self.stated}")
            self.size = size
            return size

    def met(self) -> Copy:
        """Return the copy, once the server's first answer has told what it is a copy of."""
        with self.lock:
            known = self.copy
        if known is not None:
            return known
        transfer = self.current(ByteRange(0, 1))
        with self.learning(transfer):
            transfer.open()
        return transfer.copy

    # Streams

    def read_ahead(self, transfer: Transfer, wanted: ByteRange) -> None:
        """Have what a read of *wanted* should bring along fetched, and not what nobody reads any more."""
        with self.lock:
            everything = ByteRange(0, self.size or MAX_SIZE)
            plan = self._ahead.read(wanted, held=transfer.copy.blocks.holds(wanted))
            want = None if plan.request is None else plan.request.clip(everything)
            if want is not None:
                transfer.request(want, first=True)
            for dropped in plan.cancelled:
                clipped = dropped.clip(everything)
                if clipped is not None:
                    transfer.cancel(clipped, cut=want is None or not want.overlaps(clipped))

    def end_streams(self) -> None:
        """Have nothing read ahead any more."""
        with self.lock:
            for want in self._ahead.end():
                clipped = want.clip(ByteRange(0, self.size or MAX_SIZE))
                if self.transfer is not None and clipped is not None:
                    self.transfer.cancel(clipped, cut=True)

    def bound_memory(self, transfer: Transfer) -> None:
        """Let go of what a copy in memory holds beyond its bound, save what streams still want."""
        if not self.is_full(transfer):
            return
        with self.lock:
            kept = [ByteRange(want.start // BLOCK * BLOCK, want.stop) for want in self._ahead.demand]
        for run in list(transfer.copy.blocks.present()):
            parts = [run]
            for part in kept:
                parts = [left for piece in parts for left in piece.minus(part)]
            for part in parts:
                transfer.drop(part)

    def is_full(self, transfer: Transfer) -> bool:
        """Whether a copy in memory holds more than it should."""
        if transfer.identity is None:
            return False
        most = transfer.copy.max_bytes
        return most is not None and transfer.copy.blocks.held * BLOCK > most

    # When all is here

    def whole_copy(self) -> Copy | None:
        """Return the copy when it alone is to be read."""
        with self.lock:
            self.check_open()
            return self.copy if self.whole else None

    def settle(self, transfer: Transfer) -> None:
        """From now on read the copy alone, if every block is here and compared."""
        with self.lock:
            if self.transfer is not transfer or not transfer.is_complete:
                return
            if transfer.copy.max_bytes is not None:  # bounded: what is here now may be let go of
                return
            self.whole = True
            self.size = transfer.size
            self.copy = transfer.copy
            self.transfer = None
        transfer.stop()

    def settle_if_complete(self) -> None:
        with self.lock:
            transfer = self.transfer
        if transfer is not None and transfer.completes(_LAST_CLAIMS):
            self.settle(transfer)

    def settle_if_held(self) -> None:
        """Where every block is held, wait until all that has to be compared was."""
        while self.whole_copy() is None:
            copy = self.met()
            if copy.max_bytes is not None or not copy.blocks.is_complete:
                return
            transfer = self.current(ByteRange(0, 1))
            # Stopped by another thread that saw first that all is here; or closed, which the next look says.
            with self.learning(transfer), contextlib.suppress(ClosedError):
                transfer.ensure()
            self.settle(transfer)

    def finish(self) -> None:
        """Have the destination make a file whose blocks are all here durable; its record goes."""
        with self.finishing:
            if self.whole and not self.finished:
                self.destination.finish()
                self.finished = True

    def forget(self, damaged: ByteRange) -> None:
        """Forget the blocks that *damaged* touches; a complete file gets its record back first."""
        self.settle_if_held()
        with self.finishing, self.lock:  # also over the disk: nobody may read what is being forgotten
            self.check_open()
            self.end_streams()
            if self.whole:
                self.copy = self.destination.reopen_record()
                self.whole = self.finished = False
            transfer = self.transfer
            if transfer is not None and not transfer.is_over and transfer.forget(damaged):
                return
            if self.copy is not None:
                self.copy.blocks.forget(damaged)
                self.copy.checkpoint(self.copy.draft_record())

    def close(self) -> None:
        """Stop fetching, save the record, and close the destination."""
        self.settle_if_complete()
        with self.lock:
            if self.closed:
                return
            self.closed = True
            transfer, self.transfer = self.transfer, None
        if transfer is not None:
            transfer.stop()
        with contextlib.suppress(OSError):  # the record stays then: the blocks are not lost
            self.finish()
        self.destination.close()


class _Brake(Limiter):
    """Bounds a copy in memory of a server without ranges, whose one answer is everything: it waits for its readers."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def share(self) -> int:
        return 4 * BLOCK

    def take(self, count: int, stopped: Callable[[], bool]) -> None:
        transfer = self._session.transfer
        if transfer is None or not self._session.is_full(transfer):
            return
        while not stopped() and transfer.is_ahead:
            time.sleep(_LOOK)
        self._session.bound_memory(transfer)
