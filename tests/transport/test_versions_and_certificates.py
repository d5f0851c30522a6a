"""Servers that ask for a client certificate, and servers that speak HTTP/2 only: named at once, not tried again."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from smartremote_cli.errors import AttemptFailed, RefusedError, UsageError
from smartremote_cli.transport.connection import Connection
from smartremote_cli.transport.options import Options
from smartremote_cli.transport.tls import Trust
from tests.support import faults
from tests.support.server import Certificates, Server
from tests.support.tool import PATIENCE, Tool
from tests.transport.common import DATA, fetch
from tests.transport.test_logins import refused

SETTINGS = bytes.fromhex("000006040000000000000300000064")
GOAWAY = bytes.fromhex("0000080700000000000000000000000001")


def demanding(certificates: Certificates, version: ssl.TLSVersion) -> ssl.SSLContext:
    """A server's context that demands a certificate of its CA."""
    context = certificates.context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates.ca)
    context.maximum_version = version
    return context


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@VERSIONS
def test_a_client_certificate_is_shown_where_it_is_asked_for(
    certificates: Certificates, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    cert, key = certificates.files()
    both = tmp_path / "both.pem"
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    with Server(DATA, tls=demanding(certificates, version)) as server:
        trusting = Options(cacert=str(certificates.ca))
        for options in (
            trusting._replace(cert=str(cert), key=str(key)),
            trusting._replace(cert=str(both)),
            Options(cert=both, insecure=True),
        ):
            assert fetch(server.url(), options) == DATA[1000:5000]


@VERSIONS
@pytest.mark.parametrize("command", ["get", "cat"])
def test_a_server_that_wants_a_client_certificate_is_named(
    certificates: Certificates, tool: Tool, version: ssl.TLSVersion, command: str
) -> None:
    with Server(DATA, tls=demanding(certificates, version)) as server:
        ran = tool(command, server.url(), "--cacert", certificates.ca)
        assert ran.code == 4
        assert "client certificate" in ran.err and "--cert FILE" in ran.err
        cert, key = certificates.files()
        assert (
            tool(command, server.url(), "--cacert", certificates.ca, "--cert", cert, "--key", key).code == 0
        )


@VERSIONS
def test_a_certificate_that_the_server_does_not_trust_is_refused_for_good(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    cert, key = certificates.files("self-signed")
    options = Options(cacert=certificates.ca, cert=cert, key=key)
    with (
        Server(DATA, tls=demanding(certificates, version)) as server,
        pytest.raises(RefusedError, match="client certificate that it trusts"),
    ):
        fetch(server.url(), options)


def test_an_alert_that_came_before_the_request_is_heard(certificates: Certificates) -> None:
    """Over a long link it is always so: TLS 1.3 is ready to send before the server has seen that none was shown."""
    with Server(DATA, tls=demanding(certificates, ssl.TLSVersion.TLSv1_3)) as server:
        sock = socket.create_connection(("127.0.0.1", server.port))
        connection = Connection(sock)
        connection.start_tls(Trust(str(certificates.ca), False).context, "127.0.0.1", PATIENCE)
        hung_up = select.poll()
        hung_up.register(connection.sock, getattr(select, "POLLRDHUP", select.POLLHUP))
        assert hung_up.poll(PATIENCE * 1000)
        with suppress(OSError):  # at once, or only when the system has heard that nobody reads
            connection.send(b"GET / HTTP/1.1\r\n\r\n", PATIENCE)
        alert = connection.last_alert()
        connection.close()
    assert isinstance(alert, ssl.SSLError) and alert.reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED"


def test_a_page_that_asks_for_a_certificate_is_understood(certificates: Certificates) -> None:
    page = b"<html><title>400 No required SSL certificate was sent</title></html>"
    with Server(DATA, tls=certificates.context()) as server:
        server.faults.append(faults.status(400, page))
        error = refused(server.url(), Options(cacert=certificates.ca))
    assert isinstance(error, RefusedError) and "client certificate" in str(error)


@pytest.mark.parametrize("kind", ["absent", "no key", "nonsense", "encrypted"])
def test_files_that_are_no_certificate_are_wrong_usage(
    certificates: Certificates, tmp_path: Path, kind: str
) -> None:
    cert, key = certificates.files()
    path = tmp_path / "client.pem"
    if kind == "no key":
        path.write_bytes(cert.read_bytes())
    elif kind == "nonsense":
        path.write_text("nonsense")
    elif kind == "encrypted":
        import subprocess

        command = ["openssl", "pkey", "-aes256", "-passout", "pass:x", "-in", str(key)]
        path.write_bytes(cert.read_bytes() + subprocess.run(command, check=True, capture_output=True).stdout)
    with (
        Server(DATA, tls=certificates.context()) as server,
        pytest.raises(UsageError, match=r"--cert|--key"),
    ):
        fetch(server.url(), Options(cacert=certificates.ca, cert=path))


# --- HTTP/2 ---


@contextmanager
def answering(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve each connection with *handle* in a thread; give the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    sock, _ = listener.accept()
                except TimeoutError:
                    continue
                sock.settimeout(5)
                with sock, suppress(OSError):
                    handle(sock)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize("said", [SETTINGS, SETTINGS + GOAWAY, GOAWAY])
@pytest.mark.parametrize("when", ["at once", "after the request"])
def test_http2_in_the_clear_is_named(tool: Tool, said: bytes, when: str) -> None:
    def handle(sock: socket.socket) -> None:
        if when == "after the request":
            sock.recv(65536)
        sock.sendall(said)
        sock.recv(65536)

    with answering(handle) as port:
        ran = tool("get", f"http://127.0.0.1:{port}/file.bin")
    assert ran.code == 4 and "HTTP/2" in ran.complaint


@pytest.mark.parametrize("manner", ["closes", "speaks"])
def test_http2_over_tls_is_named(certificates: Certificates, tool: Tool, manner: str) -> None:
    """As nghttpd: the handshake succeeds without a protocol that both speak, and then the connection ends."""
    context = certificates.context()
    context.set_alpn_protocols(["h2"])

    def handle(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as secured:
            if manner == "speaks":
                secured.sendall(SETTINGS)
                secured.recv(65536)

    with answering(handle) as port:
        ran = tool("get", f"https://127.0.0.1:{port}/file.bin", "--cacert", certificates.ca)
    assert ran.code == 4 and "HTTP/2" in ran.complaint


@pytest.mark.parametrize("knows", [[], ["h2", "http/1.1"]])
def test_a_server_that_hangs_up_and_speaks_our_version_may_be_asked_again(
    certificates: Certificates, knows: list[str]
) -> None:
    context = certificates.context()
    context.set_alpn_protocols(knows)

    def handle(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True):
            pass

    with answering(handle) as port, pytest.raises(AttemptFailed, match=r"before an answer|reset"):
        fetch(f"https://127.0.0.1:{port}/", Options(cacert=certificates.ca))


def test_a_status_that_asks_for_another_version_is_for_good(server: Server) -> None:
    server.faults.append(faults.status(426))
    error = refused(server.url())
    assert isinstance(error, RefusedError) and "does not speak HTTP/1.1" in str(error)
