"""Limiter: one pace, in bytes per second, for all connections together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Limiter:
    """Spreads *rate* bytes per second over whoever asks; up to a quarter of a second may be saved up."""

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
        return max(1, min(self._rate // 8, 256 * 1024))

    def take(self, count: int, stopped: Callable[[], bool]) -> None:
        """Wait until *count* bytes more are within the pace, or *stopped* says so."""
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - 0.25) + count / self._rate
            until = self._free_at
        while not stopped() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
