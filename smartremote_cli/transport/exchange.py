"""Exchange: one request and its answer, which any thread may abort at any moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol


class Abortable(Protocol):
    def abort(self) -> None:
        """Make what waits for this fail, from now on."""


class Exchange:
    """One request under way, from before its connection is made until its body is closed.

    Made by the thread that will wait for the answer. What is attached belongs to this exchange alone until it is
    detached; then the connection may serve another request, and `abort` leaves it alone. *stopped* says that the
    request is not wanted any more; it is asked while nothing is attached that could be aborted.
    """

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self.thread = threading.get_ident()
        self._stopped = stopped
        self._lock = threading.Lock()  # guards _attached and _aborted
        self._attached: Abortable | None = None
        self._aborted = False

    def is_stopped(self) -> bool:
        """Return whether it was aborted, or is not wanted any more."""
        return self._aborted or self._stopped()

    def attach(self, part: Abortable) -> None:
        """Let `abort` end the waits of *part*. ConnectionAbortedError where the exchange is stopped already."""
        with self._lock:
            self._attached = part
        if self.is_stopped():
            part.abort()
            raise ConnectionAbortedError("stopped")

    def detach(self) -> bool:
        """Let `abort` have no effect any more. Return whether something was attached."""
        with self._lock:
            part, self._attached = self._attached, None
        return part is not None

    def abort(self) -> None:
        """Make the thread that waits fail: for a connection, a head, or the body."""
        with self._lock:
            self._aborted = True
            if self._attached is not None:
                self._attached.abort()
