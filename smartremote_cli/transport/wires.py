"""Wires: the connections of one pool, in use by threads or idle by address."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable

from .connection import Wire
from .happy_eyeballs import connect
from .preconnect import Early


class Wires:
    """Makes wires and, where it *reuses*, keeps those whose last body was drained to its end for the next request.

    Wires that lay idle for *idle* seconds are closed; *stopped* says that nothing is to be kept or made any more.
    The first wire is the *early* one, where there is one.
    """

    def __init__(
        self, reuses: bool, stopped: Callable[[], bool], idle: float, early: Early | None = None
    ) -> None:
        self._reuses = reuses
        self._stopped = stopped
        self._longest_idle = idle
        self._early = early
        self._lock = threading.Lock()  # guards _idle and _wires
        self._idle: dict[tuple[str, int], list[tuple[float, Wire]]] = {}
        self._wires: weakref.WeakSet[Wire] = weakref.WeakSet()

    def connect(self, host: str, port: int, timeout: float | None) -> Wire:
        """Return an idle wire to *host*, else a new one. Raises as `racing.connect` does."""
        wire = self._take(host, port)
        if wire is None and self._early is not None:
            wire = self._early.take(host, port, self._stopped)
        if wire is None:
            wire = Wire(connect(host, port, timeout, self._stopped))
        wire.on_close = (lambda it: self._give_back(host, port, it)) if self._reuses else None
        wire.user = threading.get_ident()  # `abort` is to find it from here on: a handshake waits, too
        with self._lock:
            self._wires.add(wire)
        return wire

    def abort(self, thread: int | None) -> None:
        """Make what *thread* waits for fail."""
        for wire in self._of(thread):
            wire.abort()

    def was_stale(self) -> bool:
        """Whether this thread's wire was one used before, and ended before a byte of the last answer. Asked once."""
        stale = [wire for wire in self._of(threading.get_ident()) if wire.is_stale]
        for wire in stale:
            wire.user = None
        return bool(stale)

    def drop_unanswered(self) -> None:
        """Close what this thread opened and got no answer on: httpcore leaves a failed SOCKS connection open."""
        for wire in self._of(threading.get_ident()):
            if not wire.has_answered:
                wire.discard()

    def prune(self) -> None:
        """Close the wires that lay idle for too long."""
        limit = time.monotonic() - self._longest_idle
        with self._lock:
            old = [wire for wires in self._idle.values() for since, wire in wires if since < limit]
            for key, wires in self._idle.items():
                self._idle[key] = [entry for entry in wires if entry[0] >= limit]
        for wire in old:
            wire.discard()

    def close(self) -> None:
        """Close the wires that are idle."""
        with self._lock:
            wires = [wire for wires in self._idle.values() for _, wire in wires]
            self._idle.clear()
        for wire in wires:
            wire.discard()

    def _of(self, thread: int | None) -> list[Wire]:
        with self._lock:
            return [wire for wire in self._wires if wire.user == thread]

    def _take(self, host: str, port: int) -> Wire | None:
        self.prune()
        while True:
            with self._lock:
                wires = self._idle.get((host, port))
                if not wires:
                    return None
                wire = wires.pop()[1]
            if not wire.is_readable:
                return wire
            wire.discard()  # the server ended it, or sent what nobody asked for

    def _give_back(self, host: str, port: int, wire: Wire) -> bool:
        if not wire.reusable or self._stopped():
            return False
        with self._lock:
            self._idle.setdefault((host, port), []).append((time.monotonic(), wire))
        return True
