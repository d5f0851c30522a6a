"""ConnectionPool: the idle connections, by where they lead."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable

from .connection import Connection


class ConnectionPool:
    """Keeps connections whose last body was drained to its end, for the next request that leads to the same place.

    A connection that lay idle for *idle_timeout* seconds is closed. *stopped* says that none is kept any more.
    """

    def __init__(self, idle_timeout: float, stopped: Callable[[], bool]) -> None:
        self._idle_timeout = idle_timeout
        self._stopped = stopped
        self._lock = threading.Lock()  # guards _idle
        self._idle: dict[Hashable, list[tuple[float, Connection]]] = {}  # each with the time since when

    def take(self, key: Hashable) -> Connection | None:
        """Return the connection to *key* that was used last, None without one. What the server has ended is closed."""
        self.prune()
        while True:
            with self._lock:
                entries = self._idle.get(key)
                if not entries:
                    return None
                connection = entries.pop()[1]
            if connection.check_quiet():
                return connection
            connection.close()

    def give_back(self, key: Hashable, connection: Connection) -> None:
        """Keep *connection*, which is ready for another request."""
        connection.lay_idle = True
        with self._lock:
            if not self._stopped():
                self._idle.setdefault(key, []).append((time.monotonic(), connection))
                return
        connection.close()

    def prune(self) -> None:
        """Close the connections that lay idle for too long."""
        limit = time.monotonic() - self._idle_timeout
        self._close(lambda since: since < limit)

    def close(self) -> None:
        """Close all idle connections."""
        self._close(lambda since: True)

    def _close(self, is_due: Callable[[float], bool]) -> None:
        with self._lock:
            due = [entry for entries in self._idle.values() for entry in entries if is_due(entry[0])]
            for entries in self._idle.values():
                entries[:] = [entry for entry in entries if not is_due(entry[0])]
        for _, connection in due:
            connection.close()
