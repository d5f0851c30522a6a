"""Happy Eyeballs (RFC 8305): a connection to the address of a host that answers first."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from ..threads import start

# When an address has not answered for this long, the next one is tried beside it (RFC 8305, 5: the Connection Attempt
# Delay).
HEAD_START_SECONDS = 0.25


class InterfaceError(OSError):
    """The connection cannot leave by the interface that was asked for. Its text says why."""


class LookupTimeoutError(TimeoutError):
    """The resolver did not answer in time."""


def connect(
    host: str, port: int, timeout: float, stopped: Callable[[], bool], interface: str | None = None
) -> socket.socket:
    """Return a non-blocking socket connected to *host*, racing its addresses. *host* is ASCII.

    Raises gaierror for an unknown host, TimeoutError, or the last address's OSError. *stopped* is asked a few
    times a second and ends the attempt with ConnectionAbortedError. Leaves by *interface*, a name or an address of
    this machine, or raises `InterfaceError`.
    """
    deadline = time.monotonic() + timeout
    waiting = _interleave(_look_up(host, port, deadline, timeout, stopped))
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
                    sock = _start(*waiting.pop(0), interface)
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


def _look_up(host: str, port: int, deadline: float, timeout: float, stopped: Callable[[], bool]) -> list[Any]:
    """Return the addresses of *host*.

    A name is looked up in a thread of its own: a resolver that hangs cannot be ended, and its timeouts are out of
    reach.
    """
    if "%" in host:
        return _with_zone(host, port)
    # As bytes: for text Python loads its IDNA codec, which also refuses names that resolvers know.
    name = host.encode("ascii")
    with contextlib.suppress(socket.gaierror):  # an address needs no resolver
        return socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    outcome: list[Any] = []
    done = threading.Event()

    def ask() -> None:
        try:
            outcome.append(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM))
        except Exception as error:
            outcome.append(error)
        done.set()

    if not start(threading.Thread(target=ask, name="smartremote-resolver", daemon=True)):
        ask()  # no thread can be had
    while not done.wait(min(HEAD_START_SECONDS, max(0.0, deadline - time.monotonic()))):
        if stopped():
            raise ConnectionAbortedError("stopped")
        if time.monotonic() >= deadline:
            raise LookupTimeoutError(f"the host name could not be looked up within {timeout:g} s")
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    found: list[Any] = outcome[0]
    return found


def _with_zone(host: str, port: int) -> list[Any]:
    """Return the address of *host*, an IPv6 address with the interface or its number after a %.

    The resolver takes a zone for link-local addresses only.
    """
    address, _, zone = host.partition("%")
    found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    try:
        number = int(zone) if zone.isascii() and zone.isdigit() else socket.if_nametoindex(zone)
    except OSError:
        raise socket.gaierror(socket.EAI_NONAME, f"no interface {zone}") from None
    return [(*entry[:4], (*entry[4][:3], number)) for entry in found]


def _start(family: int, kind: int, protocol: int, address: Any, interface: str | None) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        if interface is not None:
            _leave_by(sock, family, interface)
        with contextlib.suppress(BlockingIOError):
            sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def _leave_by(sock: socket.socket, family: int, interface: str) -> None:
    """Bind *sock* to *interface*; a connection that leaves by another one would be a surprise."""
    try:
        own = socket.getaddrinfo(interface, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0]
    except (socket.gaierror, UnicodeError):
        own = None
    try:
        if own is None:
            name = interface.encode("utf-8", "surrogateescape") + b"\0"
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
        elif own[0] != family:
            raise OSError(errno.EAFNOSUPPORT, "the server's address is of another family")
        else:
            sock.bind(own[4])
    except (OSError, AttributeError) as error:
        why = error.strerror if isinstance(error, OSError) else "this system binds to addresses only"
        raise InterfaceError(f"{interface}: {why}") from error


def _interleave(found: list[Any]) -> list[tuple[int, int, int, Any]]:
    """Order addresses so that families alternate, the system's favourite first (RFC 8305, 4)."""
    first = [entry for entry in found if entry[0] == found[0][0]]
    other = [entry for entry in found if entry[0] != found[0][0]]
    ordered = []
    for index in range(max(len(first), len(other))):
        ordered += first[index : index + 1] + other[index : index + 1]
    return [(family, kind, protocol, address) for family, kind, protocol, _, address in ordered]
