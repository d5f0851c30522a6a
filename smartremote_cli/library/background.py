"""BackgroundFiller: the one thread of a manager, for what is done between reads.

It fills the gaps of open files, a piece of each in turn, and closes connections that were not used for long. It
holds the manager weakly, so that a manager that was forgotten can be collected, and sleeps while there is nothing
to do.
"""

from __future__ import annotations

import threading
import weakref
from typing import Protocol

from ..threads import start

# How long to wait after a read before looking for something to fill. Reads that follow each other wake the thread
# once and not every time; as long as a file waits for its readers anyway.
WAKE_DELAY_SECONDS = 0.3


class Host(Protocol):
    """What the filler does its work for."""

    def fill_step(self) -> float | None:
        """Fill a piece; return in how many seconds there may be more, None for only after another `wake`."""

    def prune(self) -> None:
        """Close connections that were not used for long."""


class BackgroundFiller:
    """A thread that starts with the first `wake`, and ends with `stop`, or soon after its host."""

    def __init__(self, host: Host, every: float) -> None:
        """Prune the connections of *host* once in *every* seconds."""
        self._host = weakref.ref(
            host
        )  # without a callback: the collector would call it, and `stop` takes locks
        self._every = every
        self._awake = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.RLock()  # guards _thread
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Say that there may be something to do."""
        if self._awake.is_set():
            return
        self._awake.set()
        with self._lock:
            if self._thread is None and not self._stopping.is_set():
                self._thread = threading.Thread(target=self._run, name="smartremote-idle", daemon=True)
                if not start(self._thread):
                    self._thread = None
                    self._awake.clear()

    def stop(self, seconds: float = 0.0) -> None:
        """End the thread, and wait up to *seconds* for that."""
        self._stopping.set()
        self._awake.set()
        with self._lock:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread() and seconds:
            thread.join(seconds)

    def _run(self) -> None:
        pause: float | None = None
        while not self._stopping.is_set():
            self._awake.wait(self._every if pause is None else min(pause, self._every))
            self._awake.clear()
            if pause is None and self._stopping.wait(WAKE_DELAY_SECONDS):
                return
            if self._stopping.is_set():
                return
            host = self._host()
            if host is None:
                return
            pause = host.fill_step()
            host.prune()
            del host  # or it could not be collected while this thread sleeps
