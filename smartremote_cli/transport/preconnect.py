"""Early: the first connection of a run, begun before the libraries are loaded that will use it.

To load them takes as long as some round trips to a server, and leaves the network idle.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..threads import start
from .connection import Wire
from .happy_eyeballs import connect
from .tls import Trust

_LOOK = 0.1  # seconds between two looks whether it is still waited for


class Early:
    """A connection to *host*, made by a thread of its own; with *trust*, TLS is spoken on it.

    *timeout* is in seconds, for connecting and for TLS, as for a connection that is made when it is needed.
    """

    def __init__(self, host: str, port: int, trust: Trust | None, timeout: float) -> None:
        self.trust = trust
        self._address = host, port
        self._timeout = timeout
        self._lock = threading.Lock()  # guards _wire, _taken, _dropped
        self._wire: Wire | None = None
        self._taken = False
        self._dropped = False
        self._failure: Exception | None = None
        self._done = threading.Event()  # from here on _wire or _failure is what came of it
        if not start(threading.Thread(target=self._run, name="smartremote-early", daemon=True)):
            self._dropped = True

    def take(self, host: str, port: int, stopped: Callable[[], bool]) -> Wire | None:
        """Return the connection, when it is made; None when it is no longer here, or goes to another host.

        Raises what making it raised, or ConnectionAbortedError when *stopped* says that nobody waits any more.
        """
        if (host, port) != self._address:
            self.drop()  # a server may serve one connection at a time
        with self._lock:
            if self._taken or self._dropped:
                return None
            self._taken = True
        while not self._done.wait(_LOOK):
            if stopped():
                self._give_up(taken=True)
                raise ConnectionAbortedError("stopped")
        if self._failure is not None:
            raise self._failure
        assert self._wire is not None
        if self._wire.is_readable:  # its end: nothing was asked for in time
            self._wire.discard()
            return None
        return self._wire

    def drop(self) -> None:
        """Close the connection unless it was taken."""
        self._give_up(taken=False)

    def _give_up(self, *, taken: bool) -> None:
        with self._lock:
            if self._taken is not taken:
                return
            self._dropped = True
            wire, made = self._wire, self._done.is_set()
        if wire is not None:
            wire.discard() if made else wire.abort()  # who is in the middle of TLS finds out, and discards it

    def _run(self) -> None:
        host, port = self._address
        try:
            wire = Wire(connect(host, port, self._timeout, lambda: self._dropped))
        except Exception as error:
            self._failure = error
            self._done.set()
            return
        wire.lay_idle = True
        with self._lock:
            self._wire = wire
        try:
            if self.trust is not None and not self._dropped:
                wire.start_tls(self.trust.context, host, self._timeout)
        except Exception as error:
            self._failure = error
        with self._lock:
            useless = self._dropped or self._failure is not None
            self._done.set()
        if useless:
            wire.discard()
