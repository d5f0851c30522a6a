"""The wire: heads whole, bodies straight, every wait with an end."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from smartremote_cli.transport.connection import MAX_HEAD, GarbledError, Wire
from smartremote_cli.transport.happy_eyeballs import connect
from smartremote_cli.transport.tls import Trust
from tests.support.server import Certificates, Server

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


@pytest.fixture
def ends() -> Iterator[tuple[Wire, socket.socket]]:
    near, far = socket.socketpair()
    wire = Wire(near)
    wire.send(b"GET", 5.0)
    assert far.recv(100) == b"GET"
    yield wire, far
    wire.discard()
    far.close()


def feed(far: socket.socket, *pieces: bytes, pause: float = 0.01) -> threading.Thread:
    """Send *pieces* one after the other from another thread."""

    def run() -> None:
        with contextlib.suppress(OSError):  # nobody may be there any more
            for piece in pieces:
                far.sendall(piece)
                time.sleep(pause)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def body_of(wire: Wire, length: int) -> bytes:
    view = memoryview(bytearray(length))
    count = 0
    while count < length and (got := wire.read_into(view[count:], 5.0)):
        count += got
    return bytes(view[:count])


# --- heads ---


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\r\n\n", b"\n\r\n"])
def test_a_head_comes_whole_and_the_body_stays(ends: tuple[Wire, socket.socket], end: bytes) -> None:
    wire, far = ends
    head = b"HTTP/1.1 200 OK\r\nA: b" + end
    far.sendall(head + b"12345")
    assert wire.receive(10, 5.0) == head
    assert wire.has_leftovers
    assert body_of(wire, 5) == b"12345"
    assert not wire.has_leftovers


def test_a_head_may_come_byte_by_byte(ends: tuple[Wire, socket.socket]) -> None:
    wire, far = ends
    thread = feed(far, *[bytes([byte]) for byte in HEAD], b"12345", pause=0.0)
    assert wire.receive(1 << 16, 5.0) == HEAD
    assert body_of(wire, 5) == b"12345"
    thread.join()


def test_interim_heads_come_one_by_one(ends: tuple[Wire, socket.socket]) -> None:
    wire, far = ends
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    far.sendall(interim + interim + HEAD + b"12345")
    assert [wire.receive(1 << 16, 5.0) for _ in range(3)] == [interim, interim, HEAD]
    assert body_of(wire, 5) == b"12345"


def test_after_the_head_the_parser_may_have_the_body(ends: tuple[Wire, socket.socket]) -> None:
    wire, far = ends
    far.sendall(HEAD + b"12345")
    wire.receive(1 << 16, 5.0)
    assert wire.receive(3, 5.0) + wire.receive(3, 5.0) == b"12345"
    far.close()
    assert wire.receive(3, 5.0) == b""


def test_an_end_within_the_head_is_what_came_and_then_nothing(ends: tuple[Wire, socket.socket]) -> None:
    wire, far = ends
    far.sendall(HEAD[:20])
    far.close()
    assert wire.receive(1 << 16, 5.0) == HEAD[:20]
    assert wire.receive(1 << 16, 5.0) == b""


@pytest.mark.parametrize(
    "start",
    [b"SSH-2.0-OpenSSH\r\n", b"\x15\x03\x01\x00\x02", b"HTTP/2 200\r\n", b"ICY 200 OK\r\n", b"h", b"\r\n"],
)
def test_what_is_no_http_is_refused_at_once(ends: tuple[Wire, socket.socket], start: bytes) -> None:
    wire, far = ends
    far.sendall(start)
    with pytest.raises(GarbledError, match="not HTTP"):
        wire.receive(1 << 16, 5.0)


@pytest.mark.parametrize("ended", [False, True])
def test_a_head_has_a_bound(ends: tuple[Wire, socket.socket], ended: bool) -> None:
    wire, far = ends
    thread = feed(far, HEAD[:-2] + b"X: " + b"x" * MAX_HEAD + (b"\r\n\r\n" if ended else b""))
    with pytest.raises(GarbledError, match="bytes"):
        wire.receive(1 << 16, 5.0)
    thread.join()


def test_the_deadline_of_a_head_counts_from_the_request(ends: tuple[Wire, socket.socket]) -> None:
    wire, far = ends
    wire.send(b"GET", 0.3)
    thread = feed(far, *[bytes([byte]) for byte in HEAD], pause=0.05)
    with pytest.raises(TimeoutError):
        wire.receive(1 << 16, 30.0)
    thread.join()


# --- bodies ---


def test_a_body_fills_the_buffer(ends: tuple[Wire, socket.socket]) -> None:
    wire, far = ends
    far.sendall(HEAD)
    wire.receive(1 << 16, 5.0)
    thread = feed(far, *[b"x" * 10_000] * 20, pause=0.0)
    view = memoryview(bytearray(100_000))
    counts = [wire.read_into(view, 5.0)]
    while sum(counts) < 200_000:
        counts.append(wire.read_into(view, 5.0))
    assert len(counts) < 20 and max(counts) > 10_000
    thread.join()


def test_a_pause_hands_over_what_is_here(ends: tuple[Wire, socket.socket]) -> None:
    wire, far = ends
    far.sendall(b"abc")
    assert wire.read_into(memoryview(bytearray(10)), 5.0) == 3


def test_an_end_is_0_bytes(ends: tuple[Wire, socket.socket]) -> None:
    wire, far = ends
    far.sendall(b"abc")
    far.close()
    view = memoryview(bytearray(10))
    assert [wire.read_into(view, 5.0), wire.read_into(view, 5.0)] == [3, 0]


@pytest.mark.parametrize("goodbye", [True, False])
def test_the_end_of_tls_is_0_bytes_too_after_all_that_came(certificates: Certificates, goodbye: bool) -> None:
    near, far = socket.socketpair()
    content = bytes(range(256)) * 400  # several records and a part of one

    def serve() -> None:
        with certificates.context().wrap_socket(far, server_side=True) as sock:
            sock.recv(100)
            sock.sendall(content)
            if goodbye:
                with contextlib.suppress(OSError):  # it does not wait for ours
                    sock.unwrap()

    thread = threading.Thread(target=serve)
    thread.start()
    wire = Wire(near)
    wire.start_tls(Trust(str(certificates.ca), False).context, "localhost", 5.0)
    wire.send(b"GET", 5.0)
    view = memoryview(bytearray(len(content) + 10))
    count = 0
    while got := wire.read_into(view[count:], 5.0):
        count += got
    assert bytes(view[:count]) == content
    assert wire.read_into(view, 5.0) == 0
    wire.discard()
    thread.join()


def test_the_tickets_that_follow_a_handshake_are_nothing_to_read(certificates: Certificates) -> None:
    with Server(b"x", tls=certificates.context()) as server:
        wire = Wire(connect("127.0.0.1", server.port, 5.0, lambda: False))
        wire.start_tls(Trust(str(certificates.ca), False).context, "127.0.0.1", 5.0)
        assert select.select([wire.sock], [], [], 5.0)[0], "no tickets"
        assert not wire.is_readable
        server.close()
        assert wire.is_readable
        wire.discard()


def test_a_stall_is_a_timeout(ends: tuple[Wire, socket.socket]) -> None:
    wire, _ = ends
    with pytest.raises(TimeoutError):
        wire.read_into(memoryview(bytearray(10)), 0.05)


@pytest.mark.parametrize("use", ["receive", "read_into"])
def test_abort_ends_a_wait_in_another_thread(ends: tuple[Wire, socket.socket], use: str) -> None:
    wire, _ = ends
    threading.Timer(0.05, wire.abort).start()
    with pytest.raises(ConnectionAbortedError):
        wire.receive(10, 30.0) if use == "receive" else wire.read_into(memoryview(bytearray(10)), 30.0)
    assert not wire.is_stale


def test_sending_waits_for_room_and_not_for_ever(ends: tuple[Wire, socket.socket]) -> None:
    wire, _ = ends
    with pytest.raises(TimeoutError):
        wire.send(b"x" * (32 << 20), 0.05)


# --- idle wires ---


def test_an_idle_wire_is_of_no_use_once_anything_comes(ends: tuple[Wire, socket.socket]) -> None:
    wire, far = ends
    far.sendall(HEAD)
    wire.receive(1 << 16, 5.0)
    assert not wire.is_readable
    far.sendall(b"x")
    assert wire.is_readable


@pytest.mark.parametrize("end", ["fin", "reset"])
def test_stale_is_a_wire_that_answered_before_and_ends_without_a_byte(
    ends: tuple[Wire, socket.socket], end: str
) -> None:
    wire, far = ends
    far.sendall(HEAD)
    wire.receive(1 << 16, 5.0)
    assert not wire.is_stale
    wire.send(b"GET", 5.0)
    if end == "fin":
        far.recv(100)  # closing with something unread is a reset
    far.close()
    with contextlib.suppress(ConnectionResetError):
        assert wire.receive(1 << 16, 5.0) == b""
    assert wire.is_stale


def test_a_first_answer_that_does_not_come_is_not_stale(ends: tuple[Wire, socket.socket]) -> None:
    wire, far = ends
    far.close()
    assert wire.receive(1 << 16, 5.0) == b""
    assert not wire.is_stale


def test_an_answer_that_breaks_off_is_not_stale(ends: tuple[Wire, socket.socket]) -> None:
    wire, far = ends
    far.sendall(HEAD)
    wire.receive(1 << 16, 5.0)
    wire.send(b"GET", 5.0)
    far.recv(100)
    far.sendall(HEAD[:10])
    far.close()
    wire.receive(1 << 16, 5.0)
    assert wire.receive(1 << 16, 5.0) == b""
    assert not wire.is_stale


def test_whoever_made_a_wire_may_take_it_back() -> None:
    near, far = socket.socketpair()
    taken: list[Wire] = []

    def take(wire: Wire) -> bool:
        taken.append(wire)
        return True

    wire = Wire(near, take)
    wire.close()
    assert taken == [wire] and near.fileno() >= 0
    wire.abort()
    wire.close()
    assert taken == [wire] and near.fileno() < 0
    far.close()
