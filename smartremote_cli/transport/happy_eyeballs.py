"""Happy Eyeballs (RFC 8305): a connection to the address of a host that answers first."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable
from typing import Any

# When an address has not answered for this long, the next one is tried beside it (RFC 8305, 5: the Connection Attempt
# Delay).
HEAD_START_SECONDS = 0.25


def connect(host: str, port: int, timeout: float, stopped: Callable[[], bool]) -> socket.socket:
    """Return a non-blocking socket connected to *host*, racing its addresses. *host* is ASCII.

    Raises gaierror for an unknown host, TimeoutError, or the last address's OSError. *stopped* is asked a few
    times a second and ends the attempt with ConnectionAbortedError.
    """
    # As bytes: for text Python loads its IDNA codec, which also refuses names that resolvers know.
    found = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)
    waiting = _interleave(found)
    deadline = time.monotonic() + timeout
    running: dict[int, socket.socket] = {}
    failure: OSError = ConnectionRefusedError("no address to connect to")
    poller = select.poll()
    next_start = 0.0
    try:
        while waiting or running:
            now = time.monotonic()
            if stopped():
                raise ConnectionAbortedError("stopped")
            if now >= deadline:
                raise TimeoutError(f"could not connect within {timeout:g} s")
            if waiting and (now >= next_start or not running):
                try:
                    sock = _start(*waiting.pop(0))
                    running[sock.fileno()] = sock
                    poller.register(sock, select.POLLOUT)
                except OSError as error:
                    failure = error
                next_start = now + HEAD_START_SECONDS
                continue
            for number, _ in poller.poll(min(HEAD_START_SECONDS, deadline - now) * 1000):
                poller.unregister(number)
                sock = running.pop(number)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return sock
                sock.close()
                failure = OSError(code, os.strerror(code))
        raise failure
    finally:
        for sock in running.values():
            sock.close()


def _start(family: int, kind: int, protocol: int, address: Any) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def _interleave(found: list[Any]) -> list[tuple[int, int, int, Any]]:
    """Order addresses so that families alternate, the system's favourite first (RFC 8305, 4)."""
    first = [entry for entry in found if entry[0] == found[0][0]]
    other = [entry for entry in found if entry[0] != found[0][0]]
    ordered = []
    for index in range(max(len(first), len(other))):
        ordered += first[index : index + 1] + other[index : index + 1]
    return [(family, kind, protocol, address) for family, kind, protocol, _, address in ordered]
