"""Session: the one driver. One resource read, streamed, completed and checked, over one transfer after another.

Once every block is here and compared there is no transfer any more, and the copy alone is read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NoReturn

from ..core.blocks import MAX_SIZE, BlockMap
from ..core.ranges import ByteRange
from ..errors import NotCachedError, SmartRemoteError
from ..events import Listener, Snapshot, ignore
from ..store.copies import Copy
from ..store.destinations import Destination
from ..transfer.transfer import Transfer
from ..transport.remote import Remote
from .backpressure import Backpressure
from .checks import digest_error
from .checksum import Checksum
from .options import DownloadOptions
from .reads import READER_POLL_SECONDS, Reads
from .transfers import Transfers

FIRST_BYTE = ByteRange(0, 1)
# Wanted until the end is known: what was let go of on the way there is not asked for again.
_PAST_ANY_END = ByteRange(MAX_SIZE - 1, MAX_SIZE)

# How long to wait for threads whose last bytes are here to say that they are done. Judgement: they are a few lines of
# code away from it, and a third of a second is not noticed by the caller who closes a file.
LAST_CLAIMS_SECONDS = 0.3


class Session(Transfers):
    """What `Download`, `Reader` and `OpenFile` are views of. Thread-safe, as `Transfers` says."""

    def __init__(
        self,
        remote: Remote,
        destination: Destination,
        options: DownloadOptions | None = None,
        listener: Listener = ignore,
    ) -> None:
        """Read *remote* into *destination*."""
        super().__init__(remote, destination, options or DownloadOptions(), listener)

    def _begin_process(self) -> None:
        super()._begin_process()
        self.reads = Reads(self)

    def demand(self) -> tuple[ByteRange, ...]:
        return self.reads.demand

    def end_streams(self) -> None:
        self.reads.end()

    # What is known

    def open(self, offset: int, length: int | None) -> int | None:
        """Ask for what is wanted first, and return the size in bytes; None where no answer has told it yet.

        A negative *offset* counts from the end. Raises `PastEndError`, `NotCachedError`.
        """
        if self.options.offline:
            return self.opened_copy().identity.size
        first = ByteRange(max(0, offset), max(0, offset) + 1)
        while self._current(offset, length) is not None:
            identity = self.attempt(first, Transfer.open)
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
        if size is not None:
            return size
        if self.backpressure is None:
            transfer.ensure()
        else:
            self._pass_by(transfer, self.backpressure)
        return transfer.size

    def _pass_by(self, transfer: Transfer, backpressure: Backpressure) -> None:
        """Read everything up to the end past a copy in memory, which keeps the latest of it."""
        with backpressure.passing():
            transfer.request(_PAST_ANY_END)
            try:
                while transfer.size is None:
                    transfer.wait(_PAST_ANY_END, READER_POLL_SECONDS)
            finally:
                transfer.cancel(_PAST_ANY_END, cut=True)

    def hand_out(self, size: int) -> int:
        """Return *size* to a caller, who may go by it: from now on a resource of another size is an error."""
        with self.lock:
            self.stated = size
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
        from .completion import Completion  # here, for `cat` never comes by and starts sooner without

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

    def refuse(self, wrong: Checksum, more: str = "") -> NoReturn:
        """Raise the error for a resource whose digest is *wrong*. What is held of it is not trusted any more."""
        error = digest_error(self, wrong, more)
        try:
            self.distrust()
        except SmartRemoteError as trouble:  # a full disk, or closed meanwhile: the digest is what matters
            raise error from trouble
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

    def note_whole(self, transfer: Transfer) -> None:
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

    def note_whole_if_complete(self) -> None:
        with self.lock:
            transfer = self.transfer
        if transfer is not None and transfer.completes(LAST_CLAIMS_SECONDS):
            self.note_whole(transfer)

    def wait_until_compared(self) -> None:
        """Where every block is held, wait until all that has to be compared was."""
        while self.whole_copy() is None:
            copy = self.opened_copy()
            if copy.max_bytes is not None or not copy.blocks.is_complete or self.options.offline:
                return
            self.attempt(FIRST_BYTE, self._ensure_and_note)

    def _ensure_and_note(self, transfer: Transfer) -> None:
        transfer.ensure()
        self.note_whole(transfer)

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
        self.wait_until_compared()
        with self.finishing, self.lock:  # also over the disk: nothing may be read that is being forgotten
            self.end_streams()
            self.reopen()
            transfer = self.transfer
            if transfer is not None and not transfer.is_over and transfer.forget(damaged):
                return
            if self.copy is not None:
                self.copy.blocks.forget(damaged)
                self.copy.checkpoint(self.copy.draft_record())

    def forget_damaged(self, copy: Copy, *, everything: bool = False) -> bool:
        """Forget the blocks of *copy* that were found damaged, so that they are fetched; return whether there were any.

        With *everything* every held block is looked at first.
        """
        damaged = copy.damaged(everything=everything)
        for run in BlockMap.fitting(copy.blocks.size, damaged).present():
            self.forget(run)
        return bool(damaged)

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
