"""Transfers: the transfers of one resource, one after another, into one copy.

A transfer begins when something is wanted, and another one after it has failed, or when the resource has changed
and may be started over. What each has learnt stays: the copy, the size, the digests that the server announced.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from ..core.blocks import MAX_SIZE
from ..core.ranges import ByteRange
from ..errors import (
    ClosedError,
    OffsetError,
    PastEndError,
    RefusedError,
    RemoteChangedError,
    SmartRemoteError,
)
from ..events import Listener, Notice
from ..protocol.identity import Identity
from ..store.copies import Copy, Opened
from ..store.destinations import Destination, in_one_request
from ..transfer.transfer import Transfer
from ..transport.remote import Remote
from ..transport.response import Response
from ..transport.transport import Transport
from .backpressure import Backpressure
from .checks import Checks
from .options import DownloadOptions

# How often to start over because the resource changed. One that changes three times during one download is being
# written all the time: the user should hear of it.
MAX_RESTARTS = 2

T = TypeVar("T")


class Transfers:
    """Thread-safe. `lock` guards all fields, and is never held while waiting for bytes.

    The README of `transfer` has the order in which locks are taken.
    """

    def __init__(
        self,
        remote: Remote,
        destination: Destination,
        options: DownloadOptions,
        listener: Listener,
    ) -> None:
        self.remote = remote
        self.destination = destination
        self.options = options
        self.tell = listener
        self.copy: Copy | None = None
        self.size: int | None = None
        self.stated: int | None = None  # by the caller, or told to it
        self.whole = False  # every block is here and compared: the copy alone is read
        self.finished = False  # and the record is gone
        self.closed = False
        self.refused: RefusedError | None = None  # why the server gave nothing of it, as far as we know
        self.is_exposed = False  # bytes were handed to a reader: they must not change any more
        self.has_fetched = False  # not all of it was here when it was opened
        self.last_transfer: Transfer | None = None  # the latest, also when it is over
        self.checks = Checks(self.options.checksum)
        self._restarts = 0
        self._change: RemoteChangedError | None = None  # what is held and what is missing are of two versions
        self._begin_process()

    def _begin_process(self) -> None:
        self.lock = threading.RLock()
        self.finishing = threading.RLock()  # one thread at a time writes or removes the record
        self._turn = threading.RLock()  # one thread at a time ends a transfer and begins the next
        self.transfer: Transfer | None = None
        self.backpressure: Backpressure | None = None
        if self.destination.may_be_bounded:
            self.backpressure = Backpressure(self.options.limiter, self.demand, lambda: self.transfer)

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

    def attempt(self, wanted: ByteRange, work: Callable[[Transfer], T]) -> T | None:
        """Return what *work* returns for the transfer under way, or for a new one that asks for *wanted* first.

        None: look again. Every block is here, another thread has had the transfer replaced or has found the end, or
        it starts over.
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
        except PastEndError as error:
            if wanted.start >= error.size:
                raise  # else another thread had asked for what lies past the end, and *wanted* does not
        except RemoteChangedError as error:
            if not self._starts_over(transfer, error):
                if transfer.is_over:
                    self._note_change(error)
                raise
        return None

    def current(self, wanted: ByteRange) -> Transfer | None:
        """Return the transfer under way, else a new one that asks for *wanted* first; None when every block is here."""
        return self._current(wanted.start, len(wanted))

    def _current(self, offset: int, length: int | None) -> Transfer | None:
        with self.lock:
            self.check_open()
            self._check_unchanged()
            if self.whole or (self.transfer is not None and not self.transfer.is_over):
                return self.transfer
        with self._turn:
            with self.lock:
                self.check_open()
                self._check_unchanged()
                failed = self.transfer
                if self.whole or (failed is not None and not failed.is_over):
                    return failed
            if failed is not None:
                self._say_change(failed)
                failed.stop()  # its last threads go before another begins on the same copy
            with self.lock:
                self.check_open()
                if failed is not None and self.transfer is failed:
                    self.checks.note_announced(failed)
                self.transfer = self.last_transfer = self._begin(offset, length)
                return self.transfer

    def _say_change(self, failed: Transfer) -> None:
        """Raise what ended *failed* where that was a change of the resource, and no caller was waiting to hear of it.

        After other trouble the next transfer goes on; after a change it might bring another version's bytes.
        """
        try:
            failed.ensure()
        except RemoteChangedError as error:
            if not self._starts_over(failed, error):
                self._note_change(error)
                raise
        except SmartRemoteError:
            pass

    def _note_change(self, error: RemoteChangedError) -> None:
        """Read nothing more: held bytes and missing ones would be of two versions."""
        with self.lock:
            self._change = error

    def _check_unchanged(self) -> None:
        """Raise the change of the resource that was found. Called with the lock held."""
        if self._change is not None:
            raise self._change.with_traceback(None)  # else it would grow with each read

    def _begin(self, offset: int, length: int | None) -> Transfer:
        first, condition = self.destination.first(offset, length)
        wants_all = length is None or length >= MAX_SIZE
        if wants_all and self.destination.is_named and self.options.policy.connections == 1:
            first = in_one_request(first)
        self.end_streams()
        limiter = self.backpressure or self.options.limiter
        return Transfer(self.remote, self._open, first, self.options.policy, self.tell, limiter, condition)

    def _open(self, identity: Identity, response: Response) -> Opened:
        opened = self.destination.open(identity, response)
        with self.lock:
            closed = self.closed
            self.has_fetched |= not opened.copy.blocks.is_complete
            exposed = self.is_exposed
        if closed:  # while that went on: nothing else will close the copy
            self.destination.close()
            raise ClosedError(self.remote.name, "I/O operation on closed file")
        return opened._replace(exposed=exposed)

    @contextlib.contextmanager
    def _learning(self, transfer: Transfer) -> Iterator[None]:
        """Take note of the copy, and of a size, also where it comes as an error, and of a refusal."""
        try:
            yield
            self.refused = None
        except OffsetError as error:
            if isinstance(error, PastEndError):
                self.note_size(error.size)
            raise
        except RefusedError as error:
            if transfer.identity is None:
                self.refused = error
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
                self.transfer = self.copy = self.size = None  # from now on nothing of it is read
            self.tell(Notice(f"{error}: starting over"))
            transfer.stop()
            transfer.outlast()
            self.destination.give_up_held()
            with self.lock:
                self.checks.forget_announced()
        return True

    def demand(self) -> tuple[ByteRange, ...]:
        """Return what readers read ahead."""
        return ()

    def end_streams(self) -> None:
        """Have nothing read ahead any more. Called with the lock held."""

    def note_size(self, size: int | None) -> int:
        """Take note of the resource's size, which must be what was stated."""
        with self.lock:
            if size is None:
                raise RemoteChangedError(self.remote.name, "the server never says how large it is")
            if self.stated is not None and size != self.stated:
                raise RemoteChangedError(self.remote.name, f"has {size} bytes, not {self.stated}")
            self.size = size
            return size
