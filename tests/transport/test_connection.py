"""A connection: heads whole, bodies straight, every wait with an end."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from smartremote_cli.protocol.http1 import MAX_HEAD, GarbledError
from smartremote_cli.transport.connection import Connection, ConnectionEndedError
from smartremote_cli.transport.connections import ConnectionPool
from smartremote_cli.transport.happy_eyeballs import connect
from smartremote_cli.transport.heads import receive_head
from smartremote_cli.transport.tls import Trust
from tests.support.server import Certificates, Server

Ends = tuple[Connection, socket.socket]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


@pytest.fixture
def ends() -> Iterator[Ends]:
    near, far = socket.socketpair()
    connection = Connection(near)
    connection.send(b"GET", 5.0)
    assert far.recv(100) == b"GET"
    yield connection, far
    connection.close()
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


def body_of(connection: Connection, length: int) -> bytes:
    view = memoryview(bytearray(length))
    count = 0
    while count < length and (got := connection.read_into(view[count:], 5.0)):
        count += got
    return bytes(view[:count])


# --- heads ---


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\r\n\n", b"\n\r\n"])
def test_a_head_comes_whole_and_the_body_stays(ends: Ends, end: bytes) -> None:
    connection, far = ends
    far.sendall(b"HTTP/1.1 200 OK\r\nA: b" + end + b"12345")
    head = receive_head(connection, 5.0)
    assert (head.status, list(head.headers)) == (200, [("a", "b")])
    assert connection.has_leftovers
    assert body_of(connection, 5) == b"12345"
    assert not connection.has_leftovers


def test_a_head_may_come_byte_by_byte(ends: Ends) -> None:
    connection, far = ends
    thread = feed(far, *[bytes([byte]) for byte in HEAD], b"12345", pause=0.0)
    assert receive_head(connection, 5.0).headers.get("content-length") == "5"
    assert body_of(connection, 5) == b"12345"
    thread.join()


def test_interim_heads_are_passed_over(ends: Ends) -> None:
    connection, far = ends
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    far.sendall(interim + b"HTTP/1.1 100\r\n\r\n" + HEAD + b"12345")
    head = receive_head(connection, 5.0)
    assert (head.status, head.headers.get("link")) == (200, None)
    assert body_of(connection, 5) == b"12345"


def test_a_switch_of_protocols_that_was_not_asked_for_is_refused(ends: Ends) -> None:
    connection, far = ends
    far.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + HEAD)
    with pytest.raises(GarbledError, match="protocol"):
        receive_head(connection, 5.0)


def test_after_the_head_come_the_bytes_of_the_body(ends: Ends) -> None:
    connection, far = ends
    far.sendall(HEAD + b"12345")
    receive_head(connection, 5.0)
    assert connection.receive(3, 5.0) + connection.receive(3, 5.0) == b"12345"
    far.close()
    assert connection.receive(3, 5.0) == b""


@pytest.mark.parametrize("came", [b"", HEAD[:20]])
def test_an_end_before_the_head_is_whole_is_an_error(ends: Ends, came: bytes) -> None:
    connection, far = ends
    far.sendall(came)
    far.close()
    with pytest.raises(ConnectionEndedError):
        receive_head(connection, 5.0)


@pytest.mark.parametrize(
    "start",
    [b"SSH-2.0-OpenSSH\r\n", b"\x15\x03\x01\x00\x02", b"HTTP/2 200\r\n", b"ICY 200 OK\r\n", b"x", b"\r\n"],
)
def test_what_is_no_http_is_refused_at_once(ends: Ends, start: bytes) -> None:
    connection, far = ends
    far.sendall(start)
    with pytest.raises(GarbledError, match="not HTTP"):
        receive_head(connection, 5.0)


@pytest.mark.parametrize("ended", [False, True])
def test_a_head_has_a_bound(ends: Ends, ended: bool) -> None:
    connection, far = ends
    thread = feed(far, HEAD[:-2] + b"X: " + b"x" * MAX_HEAD + (b"\r\n\r\n" if ended else b""))
    with pytest.raises(GarbledError, match="bytes"):
        receive_head(connection, 5.0)
    thread.join()


def test_interim_answers_count_towards_the_bound(ends: Ends) -> None:
    connection, far = ends
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 60_000 + b"\r\n\r\n"
    thread = feed(far, *[interim] * 5, HEAD, pause=0.0)
    with pytest.raises(GarbledError, match="bytes"):
        receive_head(connection, 5.0)
    thread.join()


def test_the_deadline_of_a_head_counts_from_the_request(ends: Ends) -> None:
    connection, far = ends
    thread = feed(far, *[bytes([byte]) for byte in HEAD], pause=0.05)
    with pytest.raises(TimeoutError, match=r"no complete answer within 0\.3 s"):
        receive_head(connection, 0.3)
    thread.join()


def test_silence_says_how_long_it_was(ends: Ends) -> None:
    with pytest.raises(TimeoutError, match=r"nothing received for 0\.05 s"):
        receive_head(ends[0], 0.05)


# --- bodies ---


def test_a_body_fills_the_buffer(ends: Ends) -> None:
    connection, far = ends
    far.sendall(HEAD)
    receive_head(connection, 5.0)
    thread = feed(far, *[b"x" * 10_000] * 20, pause=0.0)
    view = memoryview(bytearray(100_000))
    counts = [connection.read_into(view, 5.0)]
    while sum(counts) < 200_000:
        counts.append(connection.read_into(view, 5.0))
    assert len(counts) < 20 and max(counts) > 10_000
    thread.join()


def test_a_pause_hands_over_what_is_here(ends: Ends) -> None:
    connection, far = ends
    far.sendall(b"abc")
    assert connection.read_into(memoryview(bytearray(10)), 5.0) == 3


def test_an_end_is_0_bytes(ends: Ends) -> None:
    connection, far = ends
    far.sendall(b"abc")
    far.close()
    view = memoryview(bytearray(10))
    assert [connection.read_into(view, 5.0), connection.read_into(view, 5.0)] == [3, 0]


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
    connection = Connection(near)
    connection.start_tls(Trust(str(certificates.ca), False).context, "localhost", 5.0)
    connection.send(b"GET", 5.0)
    view = memoryview(bytearray(len(content) + 10))
    count = 0
    while got := connection.read_into(view[count:], 5.0):
        count += got
    assert bytes(view[:count]) == content
    assert connection.read_into(view, 5.0) == 0
    connection.close()
    thread.join()


def test_the_tickets_that_follow_a_handshake_are_nothing_to_read(certificates: Certificates) -> None:
    with Server(b"x", tls=certificates.context()) as server:
        connection = Connection(connect("127.0.0.1", server.port, 5.0, lambda: False))
        connection.start_tls(Trust(str(certificates.ca), False).context, "127.0.0.1", 5.0)
        assert select.select([connection.sock], [], [], 5.0)[0], "no tickets"
        assert connection.check_quiet()
        server.close()
        assert not connection.check_quiet()
        connection.close()


def test_a_stall_is_a_timeout(ends: Ends) -> None:
    connection, _ = ends
    with pytest.raises(TimeoutError):
        connection.read_into(memoryview(bytearray(10)), 0.05)


@pytest.mark.parametrize("use", ["receive", "read_into"])
def test_abort_ends_a_wait_in_another_thread(ends: Ends, use: str) -> None:
    connection, _ = ends
    threading.Timer(0.05, connection.abort).start()
    with pytest.raises(ConnectionAbortedError):
        connection.receive(10, 30.0) if use == "receive" else connection.read_into(
            memoryview(bytearray(10)), 30.0
        )
    assert not connection.is_stale


def test_sending_waits_for_room_and_not_for_ever(ends: Ends) -> None:
    connection, _ = ends
    with pytest.raises(TimeoutError):
        connection.send(b"x" * (32 << 20), 0.05)


# --- idle connections ---


def test_an_idle_connection_is_of_no_use_once_anything_comes(ends: Ends) -> None:
    connection, far = ends
    far.sendall(HEAD)
    receive_head(connection, 5.0)
    assert connection.check_quiet()
    far.sendall(b"x")
    assert not connection.check_quiet()


def idle(ends: Ends) -> Ends:
    """Return *ends* after one answer, and a time in a pool."""
    connection, far = ends
    far.sendall(HEAD)
    receive_head(connection, 5.0)
    pool = ConnectionPool(300.0, lambda: False)
    pool.give_back("x", connection)
    assert pool.take("x") is connection
    return ends


@pytest.mark.parametrize("end", ["fin", "reset"])
def test_stale_is_a_connection_that_lay_idle_and_ends_without_a_byte(ends: Ends, end: str) -> None:
    connection, far = idle(ends)
    assert not connection.is_stale
    connection.send(b"GET", 5.0)
    if end == "fin":
        far.recv(100)  # closing with something unread is a reset
    far.close()
    with pytest.raises(ConnectionError):
        receive_head(connection, 5.0)
    assert connection.is_stale


def test_to_ask_whether_it_is_stale_changes_nothing(ends: Ends) -> None:
    connection, far = idle(ends)
    connection.send(b"GET", 5.0)
    far.close()
    with pytest.raises(ConnectionError):
        receive_head(connection, 5.0)
    assert [connection.is_stale for _ in range(3)] == [True] * 3


def test_a_first_answer_that_does_not_come_is_not_stale(ends: Ends) -> None:
    connection, far = ends
    far.close()
    with pytest.raises(ConnectionEndedError):
        receive_head(connection, 5.0)
    assert not connection.is_stale


def test_an_answer_that_breaks_off_is_not_stale(ends: Ends) -> None:
    connection, far = idle(ends)
    connection.send(b"GET", 5.0)
    far.recv(100)
    far.sendall(HEAD[:10])
    far.close()
    with pytest.raises(ConnectionEndedError):
        receive_head(connection, 5.0)
    assert not connection.is_stale


def test_a_silence_is_not_stale(ends: Ends) -> None:
    connection, _ = idle(ends)
    connection.send(b"GET", 5.0)
    with pytest.raises(TimeoutError):
        receive_head(connection, 0.05)
    assert not connection.is_stale


# --- the pool ---


@pytest.fixture
def pairs() -> Iterator[list[Ends]]:
    made = [(Connection(near), far) for near, far in (socket.socketpair() for _ in range(3))]
    yield made
    for connection, far in made:
        connection.close()
        far.close()


def is_closed(connection: Connection) -> bool:
    return connection.sock.fileno() < 0


def test_a_pool_hands_out_what_leads_there_the_last_one_first(pairs: list[Ends]) -> None:
    (one, _), (two, _), (three, _) = pairs
    pool = ConnectionPool(300.0, lambda: False)
    pool.give_back("here", one)
    pool.give_back("here", two)
    pool.give_back("there", three)
    assert [pool.take("here") for _ in range(3)] == [two, one, None]
    assert pool.take("there") is three


def test_a_pool_passes_over_what_has_ended_or_speaks_unasked(pairs: list[Ends]) -> None:
    (good, _), (ended, far), (loud, other) = pairs
    pool = ConnectionPool(300.0, lambda: False)
    for connection in (good, ended, loud):
        pool.give_back("here", connection)
    far.close()
    other.sendall(b"HTTP/1.1 200 OK")
    assert pool.take("here") is good
    assert is_closed(ended) and is_closed(loud)


def test_a_pool_closes_what_lay_idle_for_long(pairs: list[Ends]) -> None:
    pool = ConnectionPool(0.0, lambda: False)
    pool.give_back("here", pairs[0][0])
    pool.prune()
    assert is_closed(pairs[0][0]) and pool.take("here") is None


def test_a_pool_keeps_nothing_once_it_is_stopped(pairs: list[Ends]) -> None:
    stopped: list[int] = []
    pool = ConnectionPool(300.0, lambda: bool(stopped))
    pool.give_back("here", pairs[0][0])
    stopped.append(1)
    pool.give_back("here", pairs[1][0])
    assert is_closed(pairs[1][0])
    pool.close()
    assert is_closed(pairs[0][0])
