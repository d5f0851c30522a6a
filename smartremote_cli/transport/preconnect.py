"""Preconnection: the first connection of a run, begun while Python still imports what will use it.

Importing takes as long as some round trips to a server, during which the network would be idle.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..threads import start
from .connection import Connection
from .happy_eyeballs import connect

if TYPE_CHECKING:
    from .tls import Trust

# `take` looks this often whether its caller was stopped meanwhile: a tenth of a second is not noticed after Ctrl-C.
_POLL_SECONDS = 0.1


class Preconnection:
    """A connection to *host*, made by a thread of its own; with *trust*, TLS is spoken on it.

    *timeout* is in seconds, for connecting and for TLS, as for a connection that is made when it is needed.
    """

    def __init__(
        self, host: str, port: int, trust: Trust | None, timeout: float, interface: str | None = None
    ) -> None:
        self.trust = trust
        self._interface = interface
        self._address = host, port
        self._timeout = timeout
        self._lock = threading.Lock()  # guards _connection, _taken, _dropped
        self._connection: Connection | None = None
        self._taken = False
        self._dropped = False
        self._failure: Exception | None = None
        self._done = threading.Event()  # from here on _connection or _failure is what came of it
        if not start(threading.Thread(target=self._run, name="smartremote-preconnect", daemon=True)):
            self._dropped = True

    def take(self, host: str, port: int, stopped: Callable[[], bool]) -> Connection | None:
        """Return the connection once it is made; None when it was taken or ended, or leads to another host.

        Raises what making it raised, or ConnectionAbortedError when *stopped* says so during the wait.
        """
        if (host, port) != self._address:
            self.drop()  # a server may serve one connection at a time
        with self._lock:
            if self._taken or self._dropped:
                return None
            self._taken = True
        while not self._done.wait(_POLL_SECONDS):
            if stopped():
                self._give_up(taken=True)
                raise ConnectionAbortedError("stopped")
        if self._failure is not None:
            from .failures import is_distrust  # not loaded before there is a failure

            if isinstance(self._failure, (TimeoutError, socket.gaierror)) or is_distrust(self._failure):
                raise self._failure  # another attempt would take as long, or need more certificates first
            return None  # it may have come too early: what counts is the connection that is made when it is needed
        assert self._connection is not None
        if not self._connection.check_quiet():  # the server ended it: no request came in time
            self._connection.close()
            return None
        return self._connection

    def drop(self) -> None:
        """Close the connection unless it was taken."""
        self._give_up(taken=False)

    def _give_up(self, *, taken: bool) -> None:
        with self._lock:
            if self._taken is not taken:
                return
            self._dropped = True
            connection, made = self._connection, self._done.is_set()
        if connection is None:
            return
        if made:
            connection.close()
        else:
            connection.abort()  # the thread in the middle of the handshake finds out, and closes it

    def _run(self) -> None:
        host, port = self._address
        try:
            sock = connect(host, port, self._timeout, lambda: self._dropped, self._interface)
            connection = Connection(sock)
        except Exception as error:
            self._failure = error
            self._done.set()
            return
        connection.lay_idle = True
        with self._lock:
            self._connection = connection
        try:
            if self.trust is not None and not self._dropped:
                connection.start_tls(self.trust.context, host, self._timeout)
        except Exception as error:
            self._failure = error
        with self._lock:
            is_useless = self._dropped or self._failure is not None
            self._done.set()
        if is_useless:
            connection.close()
