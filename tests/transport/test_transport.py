"""Requests over connections that threads share: which are used again, what is waited for, what is trusted."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from smartremote_cli.errors import (
    AttemptFailed,
    ClosedError,
    RefusedError,
    SmartRemoteError,
    UsageError,
)
from smartremote_cli.transport.options import Options
from smartremote_cli.transport.remote import Remote
from smartremote_cli.transport.transport import Transport
from tests.support import faults
from tests.support.server import (
    Certificates,
    Server,
    Where,
    unanswered_port,
    unused_port,
)
from tests.transport.common import DATA, PART, fetch, read

# --- connections ---


def test_chunked_bodies_give_their_connection_back(server: Server) -> None:
    server.faults.append(faults.chunked(700))
    with Transport() as transport:
        remote = Remote(server.url(), transport)
        for _ in range(5):
            assert read(remote.ask(PART)) == DATA[1000:5000]
    assert server.connections == 1


@pytest.mark.parametrize(
    "extra", [b"x", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 206 OK\r\nContent-Length: 4000\r\n\r\n"]
)
def test_bytes_after_a_body_are_never_an_answer(server: Server, extra: bytes) -> None:
    server.faults.append(faults.after_body(extra))
    with Transport() as transport:
        remote = Remote(server.url(), transport)
        for _ in range(3):
            assert read(remote.ask(PART)) == DATA[1000:5000]
            time.sleep(0.01)
    assert server.connections == 3


@pytest.mark.parametrize("fault", [faults.silent_close, lambda: faults.header("Connection", "close")])
def test_a_closed_connection_is_not_used_again(server: Server, fault: type) -> None:
    server.faults.append(fault())
    with Transport() as transport:
        remote = Remote(server.url(), transport)
        for _ in range(3):
            assert read(remote.ask(PART)) == DATA[1000:5000]
    assert server.connections == 3


@pytest.mark.parametrize("end", [faults.fin, faults.reset])
@pytest.mark.parametrize("framing", [lambda: [], lambda: [faults.chunked()]])
def test_an_idle_connection_that_dies_is_replaced_unnoticed(server: Server, end: type, framing: type) -> None:
    server.faults += [end(where="before", when=faults.nth(2)), *framing()]
    with Transport() as transport:
        remote = Remote(server.url(), transport)
        for _ in range(3):
            assert read(remote.ask(PART)) == DATA[1000:5000]
    assert (server.connections, len(server.requests)) == (2, 4)


@pytest.mark.parametrize("end", [faults.fin, faults.reset])
def test_a_new_connection_that_dies_is_a_failure(server: Server, end: type) -> None:
    server.faults.append(end(where="before", when=faults.first(2)))
    with Transport() as transport:
        remote = Remote(server.url(), transport)
        for _ in range(2):
            with pytest.raises(AttemptFailed) as failed:
                remote.ask(PART)
            assert failed.value.crowded
        assert read(remote.ask(PART)) == DATA[1000:5000]


def test_connections_that_nobody_used_for_long_are_closed(server: Server) -> None:
    with Transport(idle_timeout=0.0) as transport:
        remote = Remote(server.url(), transport)
        read(remote.ask(PART))
        transport.prune()
        read(remote.ask(PART))
    assert server.connections == 2


# --- waits ---


def test_a_stalled_head_and_a_dripping_one_have_one_deadline(server: Server) -> None:
    server.faults += [
        faults.stall(where="before", when=faults.nth(1)),
        faults.slow_headers(when=faults.nth(2)),
    ]
    with Transport(Options(timeout=0.3)) as transport:
        for _ in range(2):
            with pytest.raises(AttemptFailed) as failed:
                Remote(server.url(), transport).ask(PART)
            assert failed.value.stalled


@pytest.mark.parametrize("framing", [lambda: [], lambda: [faults.chunked()]])
def test_a_stalled_body_is_a_failure(server: Server, framing: type) -> None:
    server.faults += [*framing(), faults.stall(after=1000)]
    with pytest.raises(AttemptFailed) as failed:
        fetch(server.url(), Options(timeout=0.2))
    assert failed.value.stalled


@pytest.mark.parametrize("where", ["before", "body"])
def test_closing_the_transport_ends_what_is_under_way(server: Server, where: Where) -> None:
    server.faults.append(faults.stall(where=where))
    with Transport() as transport:
        remote = Remote(server.url(), transport)
        ident = threading.get_ident()

        def end() -> None:
            transport.abort(ident)
            transport.close()

        threading.Timer(0.1, end).start()
        with pytest.raises((AttemptFailed, ClosedError)):
            read(remote.ask(PART))
    with pytest.raises(ClosedError):
        remote.ask(PART)


def test_nobody_answering_is_a_stall_and_nobody_there_is_a_refusal() -> None:
    with unanswered_port() as port, pytest.raises(AttemptFailed) as stalled:
        fetch(f"http://127.0.0.1:{port}/", Options(timeout=0.2))
    assert stalled.value.stalled
    with pytest.raises(AttemptFailed) as refused:
        fetch(f"http://127.0.0.1:{unused_port()}/")
    assert refused.value.refused


def test_no_more_requests_at_once_than_were_allowed(server: Server) -> None:
    server.faults.append(faults.pace(1 << 20))
    with Transport(max_requests=2) as transport:
        threads = [
            threading.Thread(target=lambda: read(Remote(server.url(), transport).ask(PART))) for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.requests) == 6
    assert server.peak <= 2


# --- addresses and certificates ---


def test_ipv6_addresses_are_urls_too() -> None:
    with Server(DATA, host="::1") as server:
        assert fetch(server.url()) == DATA[1000:5000]
        assert server.requests[0].header("Host") == server.netloc


@pytest.mark.parametrize("name", ["expired", "self-signed", "other-name"])
def test_a_bad_certificate_is_refused_for_good(certificates: Certificates, name: str) -> None:
    with Server(DATA, tls=certificates.context(name)) as server:
        with pytest.raises(RefusedError, match="certificate not trusted"):
            fetch(server.url(), Options(cacert=str(certificates.ca)))
        assert fetch(server.url(), Options(insecure=True)) == DATA[1000:5000]


def test_the_environment_names_certificates(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(DATA, tls=certificates.context()) as server:
        with pytest.raises(RefusedError):
            fetch(server.url())
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
        assert fetch(server.url()) == DATA[1000:5000]


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_ca_file_that_is_none_is_wrong_usage(
    certificates: Certificates, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with Server(DATA, tls=certificates.context()) as server, pytest.raises(UsageError, match="--cacert"):
        fetch(server.url(), Options(cacert=str(path)))


def test_plain_text_on_a_tls_port_and_tls_on_a_plain_one(server: Server, certificates: Certificates) -> None:
    with pytest.raises(SmartRemoteError):
        fetch(server.url().replace("http:", "https:"))
    with Server(DATA, tls=certificates.context()) as secure, pytest.raises(AttemptFailed):
        fetch(secure.url().replace("https:", "http:"))


# --- a client of the caller's ---


def test_a_client_of_the_callers_own_is_used_and_left_open(server: Server) -> None:
    with httpx.Client(headers={"X-Own": "1"}, follow_redirects=True) as client:
        server.faults.append(faults.redirect("/file.bin", when=faults.path("/old")))
        with Transport(client=client) as transport:
            remote = Remote(server.url("/old"), transport)
            assert [read(remote.ask(PART)) for _ in range(2)] == [DATA[1000:5000]] * 2
        assert not client.is_closed
    assert [seen.path for seen in server.requests] == ["/old", "/file.bin", "/file.bin"]


def test_a_client_that_was_closed_says_so(server: Server) -> None:
    client = httpx.Client()
    client.close()
    with Transport(client=client) as transport, pytest.raises(ClosedError):
        Remote(server.url(), transport).ask(PART)


def test_without_httpx_a_client_is_refused_with_what_to_install() -> None:
    code = (
        "import sys; sys.modules['httpx'] = None\n"
        "from smartremote_cli.errors import UsageError\n"
        "from smartremote_cli.transport.transport import Transport\n"
        "Transport().close()\n"
        "try: Transport(client=object())\n"
        "except UsageError as error: print(error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "pip install 'smartremote-cli[httpx]'\n"
