"""BackgroundFiller: the one thread of a manager, for what is done while nobody reads.

It fills the gaps of open files, a piece of each in turn, and closes connections that were not used for long. It
holds the manager weakly, so that one that was forgotten can be collected, and sleeps while there is nothing to do.
"""

from __future__ import annotations

import threading
import weakref
from typing import Protocol

from ..threads import start

# After a read, look for something to fill no sooner than this many seconds later.
LOOK = 0.3


class Host(Protocol):
    """What the idler does its work for."""

    def fill_step(self) -> float | None:
        """Do a piece of it; return in how many seconds there may be more, None for only after another `wake`."""

    def prune(self) -> None:
        """Close connections that were not used for long."""


class BackgroundFiller:
    """A thread that starts with the first `wake`, and ends with `stop` or with its host. *every* is in seconds."""

    def __init__(self, host: Host, every: float) -> None:
        """Prune every so many seconds."""
        self._host = weakref.ref(host, lambda _: self.stop())
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
            if pause is None and self._stopping.wait(LOOK):
                return
            if self._stopping.is_set():
                return
            host = self._host()
            if host is None:
                return
            pause = host.fill_step()
            host.prune()
            del host  # or it could not be collected while this thread sleeps
