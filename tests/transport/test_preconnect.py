"""The first connection, begun before there is anybody to use it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartremote_cli.core.addresses import Endpoint
from smartremote_cli.transport.connection import Connection, HandshakeError
from smartremote_cli.transport.dialer import Dialer, Route
from smartremote_cli.transport.exchange import Exchange
from smartremote_cli.transport.heads import receive_head
from smartremote_cli.transport.options import Options
from smartremote_cli.transport.preconnect import Preconnection
from smartremote_cli.transport.tls import TlsSocket, Trust
from tests.support.proxy import Proxy
from tests.support.server import Certificates, Server, unused_port
from tests.support.tool import PATIENCE, Tool

HERE = "127.0.0.1"
REQUEST = b"GET /file.bin HTTP/1.1\r\nHost: x\r\n\r\n"


def never() -> bool:
    return False


@contextlib.contextmanager
def listening() -> Iterator[tuple[socket.socket, int]]:
    with socket.create_server((HERE, 0)) as listener:
        listener.settimeout(PATIENCE)
        yield listener, listener.getsockname()[1]


@contextlib.contextmanager
def closed_in_the_end(preconnection: Preconnection) -> Iterator[Preconnection]:
    try:
        yield preconnection
    finally:
        preconnection.drop()


def taken(preconnection: Preconnection, port: int) -> Connection:
    connection = preconnection.take(HERE, port, never)
    assert connection is not None
    return connection


@pytest.mark.parametrize("secure", [False, True])
def test_the_first_connection_to_its_host_is_the_one_made_before(
    certificates: Certificates, secure: bool
) -> None:
    trust = Trust(str(certificates.ca), False) if secure else None
    with Server(b"here", tls=certificates.context() if secure else None) as server:
        route = Route(Endpoint("https" if secure else "http", HERE, server.port), None)
        preconnection = Preconnection(HERE, server.port, trust, PATIENCE)
        dialer = Dialer(Options(cacert=str(certificates.ca), timeout=PATIENCE), preconnection)
        connection = dialer.dial(route, Exchange(never))
        connection.send(REQUEST, PATIENCE)
        assert receive_head(connection, PATIENCE).status == 200
        assert server.connections == 1
        other = dialer.dial(route, Exchange(never))
        other.send(REQUEST, PATIENCE)
        assert receive_head(other, PATIENCE).status == 200
        assert server.connections == 2
        connection.close()
        other.close()


def test_one_that_speaks_tls_where_none_is_wanted_is_not_used(certificates: Certificates) -> None:
    """As when a redirect leads from https to http on one port."""
    with listening() as (listener, port):
        preconnection = Preconnection(HERE, port, Trust(str(certificates.ca), False), PATIENCE)
        route = Route(Endpoint("http", HERE, port), None)
        first, _ = listener.accept()
        with certificates.context().wrap_socket(first, server_side=True) as there:
            connection = Dialer(Options(timeout=PATIENCE), preconnection).dial(route, Exchange(never))
            listener.accept()[0].close()
            assert there.recv(1) == b""
        assert not connection.is_tls
        connection.close()


def test_on_one_that_speaks_no_tls_it_is_begun_where_it_is_wanted(certificates: Certificates) -> None:
    with Server(b"here", tls=certificates.context()) as server:
        preconnection = Preconnection(HERE, server.port, None, PATIENCE)
        dialer = Dialer(Options(cacert=str(certificates.ca), timeout=PATIENCE), preconnection)
        connection = dialer.dial(Route(Endpoint("https", HERE, server.port), None), Exchange(never))
        connection.send(REQUEST, PATIENCE)
        assert receive_head(connection, PATIENCE).status == 200
        assert server.connections == 1
        connection.close()


def test_it_is_taken_once() -> None:
    with (
        listening() as (_, port),
        closed_in_the_end(Preconnection(HERE, port, None, PATIENCE)) as preconnection,
    ):
        connection = taken(preconnection, port)
        assert preconnection.take(HERE, port, never) is None
        preconnection.drop()  # it is not its own any more
        assert connection.check_quiet()
        connection.close()


@pytest.mark.parametrize("how", ["another host", "nobody"])
def test_what_nobody_takes_is_closed(how: str) -> None:
    """A server that serves one connection at a time would let all others wait for it."""
    with listening() as (listener, port):
        preconnection = Preconnection(HERE, port, None, PATIENCE)
        there, _ = listener.accept()
        with there:
            there.settimeout(PATIENCE)
            if how == "nobody":
                preconnection.drop()
            else:
                assert preconnection.take("localhost", port, never) is None
            assert there.recv(1) == b""
        assert preconnection.take(HERE, port, never) is None


def test_one_that_could_not_be_made_changes_nothing() -> None:
    """What counts is the connection that is made when it is needed: the server may be there by then."""
    port = unused_port()
    preconnection = Preconnection(HERE, port, None, PATIENCE)
    assert preconnection.take(HERE, port, never) is None
    assert preconnection.take(HERE, port, never) is None


def test_a_certificate_that_is_not_trusted_is_raised_as_such(certificates: Certificates) -> None:
    with Server(b"x", tls=certificates.context("self-signed")) as server:
        preconnection = Preconnection(HERE, server.port, Trust(str(certificates.ca), False), PATIENCE)
        with pytest.raises(HandshakeError) as failed:
            preconnection.take(HERE, server.port, never)
        assert isinstance(failed.value.__cause__, ssl.SSLCertVerificationError)


def test_one_that_the_server_has_ended_is_not_used() -> None:
    with (
        listening() as (listener, port),
        closed_in_the_end(Preconnection(HERE, port, None, PATIENCE)) as preconnection,
    ):
        listener.accept()[0].close()
        assert preconnection.take(HERE, port, never) is None


def test_tls_is_begun_as_the_other_connections_begin_it(certificates: Certificates) -> None:
    context = certificates.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with Server(b"x", tls=context) as server:
        connection = taken(
            Preconnection(HERE, server.port, Trust(str(certificates.ca), False), PATIENCE), server.port
        )
        assert isinstance(connection.sock, TlsSocket)
        assert connection.sock.selected_alpn_protocol() == "http/1.1"
        connection.close()


@pytest.mark.parametrize("taken", [False, True])
def test_a_handshake_that_nobody_waits_for_any_more_is_ended(taken: bool) -> None:
    with listening() as (listener, port):
        preconnection = Preconnection(HERE, port, Trust(None, True), PATIENCE)
        there, _ = listener.accept()
        with there:
            there.settimeout(PATIENCE / 2)
            assert there.recv(65536)  # the client's first words
            if taken:
                with pytest.raises(ConnectionAbortedError):
                    preconnection.take(HERE, port, lambda: True)
            else:
                preconnection.drop()
            with contextlib.suppress(ConnectionResetError):
                assert there.recv(65536) == b""


def test_a_silent_handshake_is_waited_for_as_long_as_somebody_does() -> None:
    trust, looks = Trust(None, True), iter([False, True])
    with listening() as (listener, port):
        preconnection = Preconnection(HERE, port, trust, PATIENCE)
        there, _ = listener.accept()
        with there, pytest.raises(ConnectionAbortedError):
            preconnection.take(HERE, port, lambda: next(looks))


# --- as commands use it ---


@pytest.mark.parametrize("command", ["cat", "get", "zip-ls", "complete file.bin --url"])
def test_it_is_begun_before_the_libraries_are_loaded(tool: Tool, tmp_path: Path, command: str) -> None:
    go_on = tmp_path / "go-on"
    slow = tmp_path / "libraries"
    slow.mkdir()
    (slow / "pyroaring.py").write_text(
        f"import os, time\nwhile not os.path.exists({str(go_on)!r}): time.sleep(0.01)\nraise ImportError\n"
    )
    tool.env(PYTHONPATH=str(slow))
    with listening() as (listener, port), tool.start(*command.split(), f"http://{HERE}:{port}/x") as process:
        try:
            listener.accept()[0].close()
        finally:
            go_on.touch()
            process.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("secure", [False, True])
def test_a_command_makes_no_connection_more_for_it(
    tool: Tool, certificates: Certificates, secure: bool
) -> None:
    extra = ["--cacert", str(certificates.ca)] if secure else []
    with Server(b"here", tls=certificates.context() if secure else None) as server:
        ran = tool.spawn("cat", server.url(), *extra)
        assert (ran.code, ran.out) == (0, b"here")
        assert server.connections == 1
        assert tool("cat", server.url(), "--offline", *extra).out == b"here"
        assert server.connections == 1


@pytest.mark.parametrize("how", ["http_proxy", "ALL_PROXY", "option"])
def test_with_a_proxy_nothing_is_begun(tool: Tool, how: str) -> None:
    with Server(b"there") as server, Proxy() as proxy:
        extra = ["--proxy", proxy.url()] if how == "option" else []
        if not extra:
            tool.env(**{how: proxy.url()})
        assert tool("cat", server.url(), *extra).out == b"there"
        assert len(proxy.requests) == 1
        assert server.connections == 1  # the proxy's


@pytest.mark.parametrize("url", ["http://[::FFFF:127.0.0.1]:{}", "http://[::1]:{}", "http://LocalHost:{}"])
def test_a_host_is_recognized_however_it_is_written(tool: Tool, url: str) -> None:
    with Server(b"here", host="::1" if "::1" in url else HERE) as server:
        assert tool("cat", f"{url.format(server.port)}/file.bin").out == b"here"
        assert server.connections == 1


def test_a_host_that_no_name_service_can_know_is_wrong_usage(tool: Tool) -> None:
    with Server(b"here") as server:
        assert tool("cat", f"http://\uff4cocalhost:{server.port}/x").code == 2
        assert server.connections == 0


@pytest.mark.parametrize("when", ["at once", "when the request comes"])
def test_one_that_lay_idle_for_too_long_costs_nothing(tool: Tool, when: str) -> None:
    """Servers wait only so long for the first request, and the end of a connection takes its time to arrive."""
    with Server(b"here") as server:
        port = server.port
        with socket.create_server((HERE, 0)) as front:
            front.settimeout(PATIENCE)
            url = f"http://{HERE}:{front.getsockname()[1]}/file.bin"
            process = tool.start("cat", url, "--retries", "0")
            with process:
                first, _ = front.accept()
                if when != "at once":
                    assert first.recv(65536)
                    first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                first.close()
                there, _ = front.accept()
                with there, socket.create_connection((HERE, port)) as behind:
                    behind.sendall(there.recv(65536))
                    began = time.monotonic()
                    while time.monotonic() - began < PATIENCE and (data := behind.recv(65536)):
                        there.sendall(data)
                        if data.endswith(b"here"):
                            break
                out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out) == (0, b"here"), err
