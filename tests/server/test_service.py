"""Connections: kept, counted, dropped, refused, and none left behind."""

from __future__ import annotations

import http.client
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.server.asking import DATA, PART, RANGE, SIZE, Answer, ask
from tests.support import faults
from tests.support.server import Patterned, Server, parse_head, pattern, unanswered_port, unused_port


def test_connections_are_kept_and_counted(server: Server) -> None:
    client = http.client.HTTPConnection(server.host, server.port, timeout=5)
    for method in ("GET", "HEAD", "GET"):
        client.request(method, "/file.bin?x=1", headers={"Range": "bytes=0-9"})
        client.getresponse().read()
    assert (server.connections, server.open_connections, server.peak) == (1, 1, 1)
    assert [seen.connection for seen in server.requests] == [1, 1, 1]
    assert [seen.body_bytes_sent for seen in server.requests] == [10, 0, 10]
    assert server.requests[1].sent_headers.get("Content-Length") == str(SIZE)
    assert server.requests[0].path == "/file.bin"
    assert server.ranges == ["bytes=0-9"] * 3
    assert server.body_bytes == 20
    server.reset_log()
    assert (server.requests, server.connections, server.peak) == ([], 0, 0)
    client.close()


def test_what_is_no_request_is_400(server: Server) -> None:
    with socket.create_connection((server.host, server.port), 5) as sock:
        sock.sendall(b"nonsense\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert parse_head(b"GET / HTTP/1.1\r\nno colon\r\n\r\n") is None


def test_connections_are_dropped_and_refused_on_demand(server: Server) -> None:
    server.drop = lambda connection: connection == 2
    ends: list[object] = []
    for _ in range(3):
        try:
            ends.append(ask(server, RANGE).end)
        except ConnectionResetError:  # the RST was faster than the request
            ends.append("reset")
    assert ends == ["eof", "reset", "eof"]
    server.refuse_connections()
    with pytest.raises(ConnectionRefusedError):
        ask(server)
    server.accept_connections()
    assert ask(server).body == DATA


def test_closing_resets_what_is_open_and_leaves_no_thread() -> None:
    before = threading.active_count()
    idle, stalled = socket.socket(), socket.socket()
    with Server(Patterned(1 << 30)) as server:
        server.faults.append(faults.stall(after=1, when=faults.nth(2)))
        for sock in (idle, stalled):
            sock.connect((server.host, server.port))
            sock.settimeout(5)
            sock.sendall(b"GET /file.bin HTTP/1.1\r\nHost: here\r\n\r\n")
            sock.recv(1)
            while not server.requests[-1].body_bytes_sent:
                time.sleep(0.001)
    assert threading.active_count() == before
    with idle, stalled:
        for sock in (idle, stalled):
            with pytest.raises(ConnectionResetError):
                _read_to_the_end(sock)


def _read_to_the_end(sock: socket.socket) -> None:
    while sock.recv(1 << 20):
        pass


def test_a_failing_thread_fails_the_test(capfd: pytest.CaptureFixture[str]) -> None:
    def explode(server: Server) -> None:
        raise ZeroDivisionError

    server = Server(DATA)
    server.faults.append(faults.call(explode))
    assert ask(server) == Answer(b"", "reset")
    with pytest.raises(ZeroDivisionError), server:
        pass
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_small_send_buffer_makes_the_count_honest() -> None:
    with Server(Patterned(1 << 30), send_buffer=16 * 1024) as server, socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        sock.connect((server.host, server.port))
        sock.sendall(b"GET /file.bin HTTP/1.1\r\n\r\n")
        sock.recv(1000)
        time.sleep(0.05)
        assert server.body_bytes < 1 << 20


def test_forty_megabytes_arrive_whole_over_curl(tmp_path: Path) -> None:
    with Server(Patterned(40 << 20)) as server:
        subprocess.run(["curl", "-sSfo", tmp_path / "file", server.url()], check=True, timeout=20)
        assert server.requests[0].finished
    assert (tmp_path / "file").read_bytes() == pattern(40 << 20)


def test_it_serves_on_ipv6() -> None:
    try:
        server = Server(DATA, host="::1")
    except OSError:
        pytest.skip("NOT TESTED: no IPv6 loopback here")
    with server:
        assert server.url() == f"http://[::1]:{server.port}/file.bin"
        assert ask(server, RANGE).body == PART


def test_ports_that_refuse_and_ports_that_say_nothing() -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", unused_port()), 5)
    with unanswered_port() as port, pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", port), 0.2)
