"""Backpressure: keeps a copy in memory within its bound, and a server without ranges waiting for the readers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..core.blocks import BLOCK, MAX_SIZE
from ..core.ranges import ByteRange
from ..transfer.transfer import Transfer
from ..transport.limiter import Limiter

# How often a connection that is ahead of all readers looks whether one has caught up. Judgement: a fiftieth of a
# second is not felt by a reader, whose bytes are here already, and costs no measurable processor time.
CATCH_UP_POLL_SECONDS = 0.02
# How many bytes come between two looks at how full memory is: a stream exceeds the bound by this much at most.
SHARE_BYTES = 1024 * 1024
# How many bytes come between two looks at whether a copy on disk has become one in memory: a whole buffer (`receive`).
MAX_SHARE_BYTES = 4 * 1024 * 1024

# The share of a copy in memory that the latest bytes may have while an unknown end is looked for. Judgement: half of
# it leaves room for readers elsewhere.
_SHARES_OF_LATEST = 2


class Backpressure(Limiter):
    """The limiter of a transfer into memory; *pace* is the user's, if any.

    *demand* says what readers read ahead, and *transfer* which transfer is under way.
    """

    def __init__(
        self,
        pace: Limiter | None,
        demand: Callable[[], tuple[ByteRange, ...]],
        transfer: Callable[[], Transfer | None],
    ) -> None:
        self._pace = pace
        self._demand = demand
        self._transfer = transfer
        self._lock = threading.Lock()  # guards _pins, _passing
        self._pins: list[ByteRange] = []
        self._passing = 0

    @property
    def share(self) -> int:
        transfer = self._transfer()
        bounded = transfer is None or transfer.identity is None or transfer.copy.max_bytes is not None
        most = SHARE_BYTES if bounded else MAX_SHARE_BYTES
        return most if self._pace is None else min(most, self._pace.share)

    def take(self, count: int, stopped: Callable[[], bool]) -> None:
        if self._pace is not None:
            self._pace.take(count, stopped)
        transfer = self._transfer()
        if transfer is None or not is_full(transfer):
            return
        while not stopped() and transfer.is_ahead:
            time.sleep(CATCH_UP_POLL_SECONDS)
        self.let_go(transfer)

    @contextmanager
    def pinned(self, wanted: ByteRange) -> Iterator[None]:
        """Hold on to *wanted*, which somebody waits for: what is dropped before it is read is fetched for nothing."""
        with self._lock:
            self._pins.append(wanted)
        try:
            yield
        finally:
            with self._lock:
                self._pins.remove(wanted)

    @contextmanager
    def passing(self) -> Iterator[None]:
        """While somebody reads up to an end that is not known yet, hold on to the latest bytes.

        They are what is read next: the end of an archive, or of a log.
        """
        with self._lock:
            self._passing += 1
        try:
            yield
        finally:
            with self._lock:
                self._passing -= 1

    def let_go(self, transfer: Transfer) -> None:
        """Drop what is held beyond the bound, save what somebody waits for or reads ahead.

        Not what a server without ranges has sent ahead: it waits at the bound, and would send it all again.
        """
        if not is_full(transfer):
            return
        runs = list(transfer.copy.blocks.present())
        if transfer.is_ahead:  # looked up after *runs*: what comes from here on is not in them
            return
        with self._lock:
            pins = list(self._pins)
            if self._passing and runs:
                latest = max(0, runs[-1].stop - (transfer.copy.max_bytes or 0) // _SHARES_OF_LATEST)
                pins.append(ByteRange(latest, MAX_SIZE))
        kept = [ByteRange(part.start // BLOCK * BLOCK, part.stop) for part in (*pins, *self._demand())]
        for run in runs:
            parts = [run]
            for part in kept:
                parts = [left for piece in parts for left in piece.minus(part)]
            for part in parts:
                transfer.drop(part)


def is_full(transfer: Transfer) -> bool:
    """Return whether the copy holds more than it may."""
    if transfer.identity is None:
        return False
    most = transfer.copy.max_bytes
    return most is not None and transfer.copy.bytes_in_memory > most
