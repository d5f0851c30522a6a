"""Connecting: addresses that do not answer, refuse, or win."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

from smartremote_cli.transport import happy_eyeballs
from smartremote_cli.transport.happy_eyeballs import connect
from tests.support.server import Service, unanswered_port, unused_port
from tests.support.server import Wire as FarWire


class Silent(Service):
    """Accepts, and says nothing."""

    def serve(self, wire: FarWire, connection: int) -> None:
        wire.receive()


def leads_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Let every name lead to these addresses, in this order."""
    found: list[Any] = []
    for host, port in addresses:
        found += socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def never() -> bool:
    return False


@pytest.mark.parametrize(("dead", "alive"), [("::1", "127.0.0.1"), ("127.0.0.1", "::1")])
def test_an_address_that_does_not_answer_is_raced(
    monkeypatch: pytest.MonkeyPatch, dead: str, alive: str
) -> None:
    with unanswered_port(dead) as port, Silent(alive) as service:
        leads_to(monkeypatch, (dead, port), (alive, service.port))
        started = time.monotonic()
        with connect("x", 1, 30.0, never) as sock:
            assert sock.getpeername()[:2] == (alive, service.port)
        assert time.monotonic() - started < 10


@pytest.mark.parametrize(("dead", "alive"), [("::1", "127.0.0.1"), ("127.0.0.1", "::1")])
def test_an_address_that_refuses_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, dead: str, alive: str
) -> None:
    with Silent(alive) as service:
        leads_to(monkeypatch, (dead, unused_port(dead)), (alive, service.port))
        with connect("x", 1, 30.0, never) as sock:
            assert sock.getpeername()[:2] == (alive, service.port)


def test_the_favourite_address_wins_where_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with Silent("::1") as first, Silent("127.0.0.1") as second:
        leads_to(monkeypatch, ("::1", first.port), ("127.0.0.1", second.port))
        with connect("x", 1, 30.0, never) as sock:
            assert sock.getpeername()[1] == first.port
        assert second.connections == 0


def test_families_alternate() -> None:
    def entry(family: socket.AddressFamily, name: str) -> tuple[Any, ...]:
        return (family, socket.SOCK_STREAM, 6, "", (name, 1))

    six, four = socket.AF_INET6, socket.AF_INET
    found = [entry(six, "a"), entry(six, "b"), entry(six, "c"), entry(four, "d"), entry(four, "e")]
    assert [address[0] for *_, address in happy_eyeballs._interleave(found)] == ["a", "d", "b", "e", "c"]


def test_all_refused_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    leads_to(monkeypatch, ("::1", unused_port("::1")), ("127.0.0.1", unused_port()))
    with pytest.raises(ConnectionRefusedError):
        connect("x", 1, 30.0, never)


def test_a_deadline_holds_for_all_addresses_together(monkeypatch: pytest.MonkeyPatch) -> None:
    with unanswered_port("::1") as six, unanswered_port() as four:
        leads_to(monkeypatch, ("::1", six), ("127.0.0.1", four))
        with pytest.raises(TimeoutError):
            connect("x", 1, 0.4, never)


def test_a_stop_ends_the_race(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    with unanswered_port() as port:
        leads_to(monkeypatch, ("127.0.0.1", port))
        threading.Timer(0.05, stop.set).start()
        with pytest.raises(ConnectionAbortedError):
            connect("x", 1, 60.0, stop.is_set)


def test_an_unknown_host_says_so() -> None:
    with pytest.raises(socket.gaierror):
        connect("no-such-host.invalid", 80, 5.0, never)
