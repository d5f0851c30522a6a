"""Limiter: one pace, in bytes per second, for all connections together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# What was not used may be caught up with, but no more than this: after a pause the pace is not exceeded for long.
_SAVED_SECONDS = 0.25
# A share is an eighth of a second's bytes, so that progress moves evenly, and at most what a buffer takes at once.
_SHARES_PER_SECOND = 8
_MAX_SHARE_BYTES = 256 * 1024
_POLL_SECONDS = 0.1  # looks this often whether it was stopped: not noticed after Ctrl-C


class Limiter:
    """Spreads *rate* bytes per second over all threads that `take`."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._lock = threading.Lock()  # guards _free_at
        self._free_at = time.monotonic()

    def after_fork_in_child(self) -> None:
        """Go on in a child process: the lock may be held by a thread that is not here."""
        self._lock = threading.Lock()

    @property
    def share(self) -> int:
        """How many bytes to take at once, so that the pace is even."""
        return max(1, min(self._rate // _SHARES_PER_SECOND, _MAX_SHARE_BYTES))

    def take(self, count: int, stopped: Callable[[], bool]) -> None:
        """Wait until *count* bytes more are within the pace, or *stopped* says so."""
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - _SAVED_SECONDS) + count / self._rate
            until = self._free_at
        while not stopped() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _POLL_SECONDS))
