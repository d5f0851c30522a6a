"""Proxies: which one is asked, how to get through, and which connections are used again."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from smartremote_cli.core.addresses import Endpoint
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.errors import AttemptFailed, RemotePermissionError, SmartRemoteError, UsageError
from smartremote_cli.protocol.answers import Asked
from smartremote_cli.transport.connection import Connection, ConnectionEndedError
from smartremote_cli.transport.proxy import Proxy, ProxyError, parse_proxy, proxy_for
from smartremote_cli.transport.remote import Remote
from smartremote_cli.transport.response import Response
from smartremote_cli.transport.socks import negotiate
from smartremote_cli.transport.transport import Options, Transport
from tests.support import faults
from tests.support import proxy as servers
from tests.support.server import Certificates, Server, pattern, unused_port

DATA = pattern(300_000)
PART = Asked(range=ByteRange(1000, 5000))
THERE = Endpoint("http", "there.example", 80)


def read(response: Response) -> bytes:
    view = memoryview(bytearray(64 * 1024))
    pieces = []
    while count := response.read_into(view):
        pieces.append(bytes(view[:count]))
    response.finish()
    response.close()
    return b"".join(pieces)


# --- which proxy ---


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://p:3128", ("http", "p", 3128, None)),
        ("p:3128", ("http", "p", 3128, None)),
        ("p", ("http", "p", 80, None)),
        ("HTTPS://P", ("https", "p", 443, None)),
        ("socks5://me:p%40w@p", ("socks5", "p", 1080, ("me", "p@w"))),
        ("socks5h://me@[::1]:9", ("socks5h", "::1", 9, ("me", ""))),
    ],
)
def test_a_proxy_is_a_url_or_host_and_port(
    text: str, proxy: tuple[str, str, int, tuple[str, str] | None]
) -> None:
    assert parse_proxy(text) == Proxy(*proxy)


@pytest.mark.parametrize(
    "text", ["ftp://p", "socks4://p", "nonsense://", "http://", "http://p:port", "http://[::1", "p\xfc"]
)
def test_what_is_no_proxy(text: str) -> None:
    with pytest.raises(UsageError, match="not a proxy URL"):
        parse_proxy(text)


@pytest.mark.parametrize(
    ("environment", "host"),
    [
        ({}, None),
        ({"http_proxy": "http://a"}, "a"),
        ({"https_proxy": "http://a"}, None),
        ({"ALL_PROXY": "http://a"}, "a"),
        ({"all_proxy": "http://a", "http_proxy": "http://b"}, "b"),
        ({"http_proxy": "http://a", "no_proxy": "there.example"}, None),
        ({"http_proxy": "http://a", "no_proxy": "example"}, None),
        ({"http_proxy": "http://a", "no_proxy": "there.example:80"}, None),
        ({"http_proxy": "http://a", "no_proxy": "there.example:81"}, "a"),
        ({"http_proxy": "http://a", "no_proxy": "*"}, None),
        ({"http_proxy": "http://a", "no_proxy": "elsewhere"}, "a"),
        ({"http_proxy": ""}, None),
    ],
)
def test_the_environment_names_the_proxy_where_none_is_chosen(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], host: str | None
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = proxy_for(THERE, None)
    assert (found and found.host) == host
    chosen = proxy_for(THERE, "http://chosen")
    assert chosen is not None and chosen.host == "chosen"
    assert proxy_for(THERE, "") is None


# --- through HTTP proxies ---


@pytest.mark.parametrize("outer", [False, True], ids=["proxy in the clear", "proxy over tls"])
@pytest.mark.parametrize("inner", [False, True], ids=["forwarded", "tunnel"])
def test_one_connection_to_a_proxy_serves_many_requests(
    certificates: Certificates, outer: bool, inner: bool
) -> None:
    with (
        Server(DATA, tls=certificates.context() if inner else None) as server,
        servers.Proxy(user="me:pw", tls=certificates.context() if outer else None) as proxy,
        Transport(Options(proxy=proxy.url("me:pw"), cacert=str(certificates.ca))) as transport,
    ):
        remote = Remote(server.url(), transport)
        for _ in range(4):
            assert read(remote.ask(PART)) == DATA[1000:5000]
        assert proxy.connections == 1
        assert [seen.method for seen in proxy.requests] == (["CONNECT"] if inner else ["GET"] * 4)
        assert all(seen.header("Proxy-Authorization") is None for seen in server.requests)


def test_one_connection_to_a_proxy_serves_several_servers_in_the_clear() -> None:
    with Server(DATA) as one, Server(DATA) as two, servers.Proxy() as proxy:
        with Transport(Options(proxy=proxy.url())) as transport:
            for server in (one, two, one):
                assert read(Remote(server.url(), transport).ask(PART)) == DATA[1000:5000]
        assert proxy.connections == 1


def test_a_tunnel_leads_to_one_server_alone(certificates: Certificates) -> None:
    with (
        Server(DATA, tls=certificates.context()) as one,
        Server(DATA, tls=certificates.context()) as two,
        servers.Proxy() as proxy,
        Transport(Options(proxy=proxy.url(), cacert=str(certificates.ca))) as transport,
    ):
        for server in (one, two, one):
            assert read(Remote(server.url(), transport).ask(PART)) == DATA[1000:5000]
        assert proxy.connections == 2


def test_a_chunked_body_through_a_proxy_gives_its_connection_back() -> None:
    with Server(DATA) as server, servers.Proxy() as proxy:
        server.faults.append(faults.chunked(700))
        with Transport(Options(proxy=proxy.url())) as transport:
            for _ in range(3):
                assert read(Remote(server.url(), transport).ask(PART)) == DATA[1000:5000]
        assert proxy.connections == 1


def test_a_proxy_that_refuses_is_named_by_its_status(certificates: Certificates) -> None:
    with (
        Server(DATA, tls=certificates.context()) as server,
        servers.Proxy(user="me:pw") as proxy,
        Transport(Options(proxy=proxy.url())) as transport,
        pytest.raises(RemotePermissionError, match="the proxy refuses: 407 Proxy Authentication Required"),
    ):
        Remote(server.url(), transport).ask(PART)


# --- through SOCKS proxies ---


@contextlib.contextmanager
def answering(*answers: bytes) -> Iterator[Connection]:
    """Have a connection whose other end sends each of *answers*, byte by byte, after it was sent something."""
    near, far = socket.socketpair()

    def run() -> None:
        with far, contextlib.suppress(OSError):
            for answer in answers:
                far.recv(1000)
                for byte in answer:
                    far.sendall(bytes([byte]))

    thread = threading.Thread(target=run)
    thread.start()
    connection = Connection(near)
    try:
        yield connection
    finally:
        connection.close()
        thread.join()


SOCKS = parse_proxy("socks5://me:pw@p")
WELCOME = b"\5\2", b"\1\0"


@pytest.mark.parametrize("address", [b"\1" + bytes(4), b"\4" + bytes(16), b"\3\5there"])
def test_what_comes_after_the_socks_reply_is_the_servers(address: bytes) -> None:
    with answering(*WELCOME, b"\5\0\0" + address + b"\0\0hello") as connection:
        negotiate(connection, SOCKS, THERE, 5.0)
        assert b"".join(iter(lambda: connection.receive(1, 5.0), b"")) == b"hello"


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([b"\5\xff"], "another way to log in"),
        ([b"\5\0"], "another way to log in"),
        ([b"\4\2"], "does not speak SOCKS 5"),
        ([b"HT"], "does not speak SOCKS 5"),
        ([*WELCOME, b"HTTP"], "does not speak SOCKS 5"),
        ([b"\5\2", b"\1\1"], "wrong user or password"),
        ([*WELCOME, b"\5\5\0\1" + bytes(6)], "connection refused"),
        ([*WELCOME, b"\5\x63\0\1" + bytes(6)], "SOCKS error 99"),
    ],
)
def test_a_socks_proxy_that_does_not_lead_on_says_why(answers: list[bytes], why: str) -> None:
    with answering(*answers) as connection, pytest.raises(ProxyError, match=why):
        negotiate(connection, SOCKS, THERE, 5.0)


@pytest.mark.parametrize("answers", [[b""], [b"\5"], [*WELCOME, b"\5\0\0\1\0"]])
def test_a_socks_proxy_that_hangs_up_is_an_end(answers: list[bytes]) -> None:
    with answering(*answers) as connection, pytest.raises(ConnectionEndedError):
        negotiate(connection, SOCKS, THERE, 5.0)


def test_a_connection_through_socks_is_used_again() -> None:
    with Server(DATA) as server, servers.SocksProxy() as proxy:
        with Transport(Options(proxy=proxy.url())) as transport:
            for _ in range(3):
                assert read(Remote(server.url(), transport).ask(PART)) == DATA[1000:5000]
        assert len(proxy.reached) == 1


def test_where_a_socks_proxy_cannot_connect_the_attempt_failed() -> None:
    with (
        servers.SocksProxy() as proxy,
        Transport(Options(proxy=proxy.url())) as transport,
        pytest.raises(AttemptFailed, match="the proxy failed: connection refused"),
    ):
        Remote(f"http://127.0.0.1:{unused_port()}/", transport).ask(PART)


def test_a_proxys_password_is_in_no_error() -> None:
    options = Options(proxy=f"http://me:hunter2@127.0.0.1:{unused_port()}")
    with Transport(options) as transport, pytest.raises(SmartRemoteError) as failed:
        Remote("http://there.example/", transport).ask(PART)
    assert "hunter2" not in f"{failed.value!r} {failed.value} {failed.value.hint}"
