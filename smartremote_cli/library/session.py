"""Session: the one driver. The transfers of one resource, one after another, into one copy.

A transfer begins when something is wanted, and another one after it has failed, or when the resource has changed
and may be started over. What each has learnt stays: the copy, the size, the digests that the server announced, the
streams that tell what to read ahead. Once every block is here and compared there is no transfer any more, and the
copy alone is read.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from ..core.blocks import MAX_SIZE
from ..core.ranges import ByteRange
from ..errors import ClosedError, NotCachedError, PastEndError, RemoteChangedError
from ..events import Listener, Notice, Snapshot, ignore
from ..protocol.identity import Identity
from ..store.copies import Copy, Opened
from ..store.destinations import Destination
from ..transfer.transfer import Transfer
from ..transport.remote import Remote
from ..transport.response import Response
from ..transport.transport import Transport
from .backpressure import Backpressure
from .checks import Checks, refusal
from .checksum import Checksum
from .completion import Completion
from .options import DownloadOptions
from .reads import Reads

EVERYTHING = ByteRange(0, MAX_SIZE)
FIRST_BYTE = ByteRange(0, 1)

# How often to start over because the resource changed. One that changes three times during one download is being
# written all the time: the user should hear of it.
MAX_RESTARTS = 2
# How long threads whose last bytes are here may take to say that they are done. Judgement: they are a few lines of
# code away from it, and who closes a file does not notice a third of a second.
LAST_CLAIMS_SECONDS = 0.3

T = TypeVar("T")


class Session:
    """Thread-safe. `lock` guards all fields, and is never held while waiting for bytes.

    Locks are taken in this order: `finishing`, `_turn`, `lock`, then the transfer's own.
    """

    def __init__(
        self,
        remote: Remote,
        destination: Destination,
        options: DownloadOptions | None = None,
        listener: Listener = ignore,
    ) -> None:
        """Read *remote* into *destination*."""
        self.remote = remote
        self.destination = destination
        self.options = options or DownloadOptions()
        self.tell = listener
        self.copy: Copy | None = None
        self.size: int | None = None
        self.stated: int | None = None  # by the caller, or told to it
        self.whole = False  # every block is here and compared: the copy alone is read
        self.finished = False  # and the record is gone
        self.closed = False
        self.is_exposed = False  # bytes were handed to a reader: they must not change any more
        self.has_fetched = False  # not all of it was here when it was opened
        self.last_transfer: Transfer | None = None  # the latest, also when it is over
        self.checks = Checks(self.options.checksum)
        self._restarts = 0
        self._begin_process()

    def _begin_process(self) -> None:
        self.lock = threading.RLock()
        self.finishing = threading.RLock()  # one thread at a time writes or removes the record
        self._turn = threading.RLock()  # one thread at a time ends a transfer and begins the next
        self.transfer: Transfer | None = None
        self.reads = Reads(self)
        self.backpressure: Backpressure | None = None
        if self.destination.max_bytes is not None:
            self.backpressure = Backpressure(
                self.options.limiter, lambda: self.reads.demand, lambda: self.transfer
            )

    def after_fork_in_child(self, transport: Transport) -> None:
        """Go on in a child process, on the same copy, over *transport*: threads and connections are the parent's."""
        self.remote = self.remote.over(transport)
        self._begin_process()
        self.destination.after_fork_in_child()

    # Transfers

    def check_open(self) -> None:
        if self.closed:
            raise ClosedError(self.remote.name, "I/O operation on closed file")

    def uses(self, part: Copy | Transfer) -> bool:
        """Return whether *part* is still this one's own; another thread may have had it replaced meanwhile."""
        with self.lock:
            self.check_open()
            return part is self.copy or part is self.transfer

    def attempt(self, wanted: ByteRange, work: Callable[[Transfer], T]) -> T | None:
        """Return what *work* returns for the transfer under way, or for a new one that asks for *wanted* first.

        None: look again. Every block is here, another thread has had the transfer replaced, or it starts over.
        """
        transfer = self.current(wanted)
        if transfer is None:
            return None
        try:
            with self._learning(transfer):
                return work(transfer)
        except ClosedError:
            if self.uses(transfer):
                raise
        except RemoteChangedError as error:
            if not self._starts_over(transfer, error):
                raise
        return None

    def current(self, wanted: ByteRange) -> Transfer | None:
        """Return the transfer under way, else a new one that asks for *wanted* first; None when every block is here."""
        return self._current(wanted.start, len(wanted))

    def _current(self, offset: int, length: int | None) -> Transfer | None:
        with self.lock:
            self.check_open()
            if self.whole or (self.transfer is not None and not self.transfer.is_over):
                return self.transfer
        with self._turn:
            with self.lock:
                self.check_open()
                failed = self.transfer
                if self.whole or (failed is not None and not failed.is_over):
                    return failed
            if failed is not None:
                failed.stop()  # its last threads go before another begins on the same copy
            with self.lock:
                self.check_open()
                if failed is not None:
                    self.checks.note_announced(failed)
                self.transfer = self.last_transfer = self._begin(offset, length)
                return self.transfer

    def _begin(self, offset: int, length: int | None) -> Transfer:
        first, condition = self.destination.first(offset, length)
        self.reads.end()
        limiter = self.backpressure or self.options.limiter
        return Transfer(self.remote, self._open, first, self.options.policy, self.tell, limiter, condition)

    def _open(self, identity: Identity, response: Response) -> Opened:
        opened = self.destination.open(identity, response)
        with self.lock:
            closed = self.closed
            self.has_fetched |= not opened.copy.blocks.is_complete
        if closed:  # while that went on: nothing else will close the copy
            self.destination.close()
            raise ClosedError(self.remote.name, "I/O operation on closed file")
        return opened

    @contextlib.contextmanager
    def _learning(self, transfer: Transfer) -> Iterator[None]:
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

    def _starts_over(self, transfer: Transfer, error: RemoteChangedError) -> bool:
        """Drop what is held, and have the next transfer fetch the new version; False where that must not be.

        It must not once bytes, or the size, were handed out: a reader would get a mixture of two versions.
        """
        with self._turn:
            with self.lock:
                self.check_open()
                if self.transfer is not transfer:
                    return True
                handed_out = self.is_exposed or self.stated is not None
                if not self.options.restart_on_change or handed_out or self._restarts >= MAX_RESTARTS:
                    return False
                self._restarts += 1
            self.tell(Notice(f"{error}: starting over"))
            transfer.stop()
            transfer.outlast()
            self.destination.give_up_held()
            with self.lock:
                self.transfer = self.copy = self.size = None
                self.checks.forget_announced()
        return True

    # What is known

    def open(self, offset: int, length: int | None) -> int | None:
        """Ask for what is wanted first, and return the size in bytes; None where no answer has told it yet.

        A negative *offset* counts from the end. Raises `PastEndError`, `NotCachedError`.
        """
        if self.options.offline:
            return self.opened_copy().identity.size
        while self._current(offset, length) is not None:
            identity = self.attempt(FIRST_BYTE, Transfer.open)
            if identity is not None:
                return None if identity.size is None else self.hand_out(self.note_size(identity.size))
        return self.size

    def opened_copy(self) -> Copy:
        """Return the copy, once the server's first answer has told what it is a copy of."""
        while True:
            with self.lock:
                self.check_open()
                if self.copy is not None:
                    return self.copy
            if self.options.offline:
                return self._open_unasked()
            self.attempt(FIRST_BYTE, Transfer.open)

    def _open_unasked(self) -> Copy:
        with self.finishing:
            copy = self.destination.open_unasked()
            if copy is None:
                raise NotCachedError(
                    self.remote.name, "nothing of it is cached, and offline no server is asked"
                )
            with self.lock:
                self.copy, self.size = copy, copy.identity.size
                self.finished = True  # it stays as it is
                self.whole = copy.max_bytes is None and self.size is not None and copy.blocks.is_complete
            return copy

    @property
    def known_size(self) -> int | None:
        """The size in bytes, as far as it is known without asking."""
        with self.lock:
            return self.transfer.size if self.size is None and self.transfer is not None else self.size

    def ask_size(self) -> int:
        """Return the size in bytes. Where it is never announced everything is read for it."""
        while True:
            with self.lock:
                self.check_open()
                known = self.stated if self.size is None else self.size
            if known is not None:
                return self.hand_out(known)
            if self.options.offline:
                if self.opened_copy().identity.size is None:
                    raise NotCachedError(
                        self.remote.name, "its size is not known, and offline no server is asked"
                    )
                continue
            found = self.attempt(FIRST_BYTE, self._find_size)
            if found is not None:
                self.note_size(found)

    def _find_size(self, transfer: Transfer) -> int | None:
        size = transfer.open().size
        if size is None:
            with self.pinned(EVERYTHING):
                transfer.ensure()
            size = transfer.size
        return size

    def hand_out(self, size: int) -> int:
        """Return *size* to a caller, who may go by it: from now on a resource of another size is an error."""
        with self.lock:
            self.stated = size
        return size

    def note_size(self, size: int | None) -> int:
        """Take note of the resource's size, which must be what was stated."""
        with self.lock:
            if size is None:
                raise RemoteChangedError(self.remote.name, "the server never says how large it is")
            if self.stated is not None and size != self.stated:
                raise RemoteChangedError(self.remote.name, f"has {size} bytes, not {self.stated}")
            self.size = size
            return size

    # Faces of the other files

    def read(self, wanted: ByteRange, is_closed: Callable[[], bool] = lambda: False) -> bytes:
        """Return the bytes of *wanted*, fetched where they are missing; fewer only where the resource ends."""
        return self.reads.read(wanted, is_closed)

    def stream(self, start: int, stop: int | None) -> Iterator[bytes]:
        """Yield the bytes [start, stop) in order, *stop* None meaning the end."""
        return self.reads.stream(start, stop)

    def complete(
        self, connections: int | None = None, listener: Callable[[Snapshot], None] | None = None
    ) -> None:
        """Fetch all that is missing, check it, and make it durable."""
        Completion(self, connections, listener).run()

    def pinned(self, wanted: ByteRange) -> contextlib.AbstractContextManager[None]:
        """Hold on to *wanted* in a copy in memory."""
        return contextlib.nullcontext() if self.backpressure is None else self.backpressure.pinned(wanted)

    # Digests

    @property
    def mark(self) -> object:
        """A value that stays equal while no held block is dropped."""
        with self.lock:
            return None if self.copy is None else (self.copy.blocks, self.copy.blocks.losses)

    def expected(self) -> tuple[Checksum, ...]:
        """Return the digests that the whole must have, as far as they are known now."""
        with self.lock:
            return self.checks.expected(self.transfer)

    def note_agreed(self, found: tuple[Checksum, ...]) -> None:
        """Take note that the whole was found to have these digests."""
        with self.lock:
            self.checks.note_agreed(found)

    def refuse(self, wrong: Checksum) -> None:
        """Raise the error for a resource whose digest is *wrong*. What is held of it is not trusted any more."""
        error = refusal(self, wrong)
        self.distrust()
        raise error

    def distrust(self) -> None:
        """Forget every block of a copy that was found wrong; a file of the user's stays as it is."""
        with self.lock:
            self.checks.has_failed = True
            size = self.known_size
        copy = self.destination.copy
        if size and copy is not None and not copy.is_foreign:
            self.forget(ByteRange(0, size))

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
            self.checks.note_announced(transfer)
            self.transfer = None
        transfer.stop()

    def settle_if_complete(self) -> None:
        with self.lock:
            transfer = self.transfer
        if transfer is not None and transfer.completes(LAST_CLAIMS_SECONDS):
            self.settle(transfer)

    def settle_if_held(self) -> None:
        """Where every block is held, wait until all that has to be compared was."""
        while self.whole_copy() is None:
            copy = self.opened_copy()
            if copy.max_bytes is not None or not copy.blocks.is_complete or self.options.offline:
                return
            self.attempt(FIRST_BYTE, self._ensure_and_settle)

    def _ensure_and_settle(self, transfer: Transfer) -> None:
        transfer.ensure()
        self.settle(transfer)

    def finish(self, *, checked: bool = True) -> bool:
        """Make a file whose blocks are all here durable; its record goes. Return whether it is.

        Not before it was *checked* against what is expected.
        """
        with self.finishing:
            with self.lock:
                if not self.whole or (checked and self.checks.pending(None)):
                    return False
            if not self.finished:
                self.destination.finish()
                self.finished = True
            return True

    def reopen(self) -> None:
        """Give a complete file its record back, so that blocks of it may be fetched again."""
        with self.finishing, self.lock:
            self.check_open()
            self.checks.forget_agreed()
            if self.whole:
                self.copy = self.destination.reopen_record()
                self.whole = self.finished = False

    def forget(self, damaged: ByteRange) -> None:
        """Forget the blocks that *damaged* touches; a complete file gets its record back first."""
        self.settle_if_held()
        with self.finishing, self.lock:  # also over the disk: nothing may be read that is being forgotten
            self.reads.end()
            self.reopen()
            transfer = self.transfer
            if transfer is not None and not transfer.is_over and transfer.forget(damaged):
                return
            if self.copy is not None:
                self.copy.blocks.forget(damaged)
                self.copy.checkpoint(self.copy.draft_record())

    def close(self) -> None:
        """Stop fetching, save the record, and close the destination."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
            transfer, self.transfer = self.transfer, None
        if transfer is not None:
            transfer.stop()
        self.destination.close()
