"""Proxies: which one is asked, how to get through, and which connections are used again."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Literal

import pytest

from smartremote_cli.core.addresses import Endpoint
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.errors import (
    AttemptFailed,
    RefusedError,
    RemotePermissionError,
    SmartRemoteError,
    UsageError,
)
from smartremote_cli.protocol.answers import Asked
from smartremote_cli.transport.connection import Connection, ConnectionEndedError
from smartremote_cli.transport.options import Options
from smartremote_cli.transport.proxy import Proxy, ProxyError, parse_proxy, proxy_for
from smartremote_cli.transport.remote import Remote
from smartremote_cli.transport.socks import negotiate
from smartremote_cli.transport.transport import Transport
from tests.support import faults
from tests.support.proxy import Proxy as HttpProxy
from tests.support.proxy import SocksProxy
from tests.support.server import Certificates, Server, unused_port
from tests.transport.common import DATA, PART, fetch, read

THERE = Endpoint("http", "there.example", 80)


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
        HttpProxy(user="me:pw", tls=certificates.context() if outer else None) as proxy,
        Transport(Options(proxy=proxy.url("me:pw"), cacert=str(certificates.ca))) as transport,
    ):
        remote = Remote(server.url(), transport)
        for _ in range(4):
            assert read(remote.ask(PART)) == DATA[1000:5000]
        assert proxy.connections == 1
        assert [seen.method for seen in proxy.requests] == (["CONNECT"] if inner else ["GET"] * 4)
        assert all(seen.header("Proxy-Authorization") is None for seen in server.requests)


def test_one_connection_to_a_proxy_serves_several_servers_in_the_clear() -> None:
    with Server(DATA) as one, Server(DATA) as two, HttpProxy() as proxy:
        with Transport(Options(proxy=proxy.url())) as transport:
            for server in (one, two, one):
                assert read(Remote(server.url(), transport).ask(PART)) == DATA[1000:5000]
        assert proxy.connections == 1


def test_a_tunnel_leads_to_one_server_alone(certificates: Certificates) -> None:
    with (
        Server(DATA, tls=certificates.context()) as one,
        Server(DATA, tls=certificates.context()) as two,
        HttpProxy() as proxy,
        Transport(Options(proxy=proxy.url(), cacert=str(certificates.ca))) as transport,
    ):
        for server in (one, two, one):
            assert read(Remote(server.url(), transport).ask(PART)) == DATA[1000:5000]
        assert proxy.connections == 2


def test_a_chunked_body_through_a_proxy_gives_its_connection_back() -> None:
    with Server(DATA) as server, HttpProxy() as proxy:
        server.faults.append(faults.chunked(700))
        with Transport(Options(proxy=proxy.url())) as transport:
            for _ in range(3):
                assert read(Remote(server.url(), transport).ask(PART)) == DATA[1000:5000]
        assert proxy.connections == 1


def test_a_proxy_that_refuses_is_named_by_its_status(certificates: Certificates) -> None:
    with (
        Server(DATA, tls=certificates.context()) as server,
        HttpProxy(user="me:pw") as proxy,
        Transport(Options(proxy=proxy.url())) as transport,
        pytest.raises(RemotePermissionError, match="the proxy refuses: 407 Proxy Authentication Required"),
    ):
        Remote(server.url(), transport).ask(PART)


def test_the_environment_names_a_proxy_and_exceptions(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HttpProxy(hosts={"far.example": ("127.0.0.1", server.port)}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url())
        assert fetch("http://far.example/file.bin") == DATA[1000:5000]
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert fetch(server.url()) == DATA[1000:5000]
        assert len(proxy.requests) == 1
        assert fetch(server.url(), Options(proxy=proxy.url())) == DATA[1000:5000]
        assert len(proxy.requests) == 2
        monkeypatch.setenv("http_proxy", proxy.netloc)  # without a scheme, as people write it
        assert fetch("http://far.example/file.bin") == DATA[1000:5000]


@pytest.mark.parametrize("proxy", ["ftp://host:1", "nonsense://", "http://"])
def test_what_is_no_proxy_is_refused(server: Server, proxy: str) -> None:
    with pytest.raises(UsageError):
        fetch(server.url(), Options(proxy=proxy))
    assert server.requests == []


@pytest.mark.parametrize(("name", "user", "failure", "kind"), [
    ("password", "me:no", None, RemotePermissionError),
    ("refusal", "me:hunter2", 403, RemotePermissionError),
    ("failure", "me:hunter2", 502, AttemptFailed),
    ("end", "me:hunter2", "close", AttemptFailed),
])  # fmt: skip
def test_a_tunnel_that_is_not_opened(
    certificates: Certificates,
    name: str,
    user: str,
    failure: int | Literal["close"] | None,
    kind: type[SmartRemoteError],
) -> None:
    with (
        Server(DATA, tls=certificates.context()) as server,
        HttpProxy(user="me:hunter2", failure=failure) as proxy,
    ):
        with pytest.raises(kind) as failed:
            fetch(server.url(), Options(proxy=proxy.url(user), cacert=str(certificates.ca)))
        assert "hunter2" not in str(failed.value)
        assert server.requests == []


@pytest.mark.parametrize("secure", [False, True], ids=["plain within", "tls within"])
def test_a_proxy_may_be_reached_over_tls(certificates: Certificates, secure: bool) -> None:
    """With https: all the way this is TLS within TLS, and both are judged."""
    inner = certificates.context() if secure else None
    with Server(DATA, tls=inner) as server, HttpProxy(tls=certificates.context()) as proxy:
        given = Options(proxy=proxy.url(), cacert=str(certificates.ca))
        assert fetch(server.url(), given) == DATA[1000:5000]
        whole = Asked(range=ByteRange(0, len(DATA)))
        assert fetch(server.url(), given, whole) == DATA
        assert proxy.requests
        with pytest.raises(RefusedError, match="certificate not trusted"):
            fetch(server.url(), Options(proxy=proxy.url()))


def test_within_the_proxys_tls_the_servers_certificate_is_judged_too(certificates: Certificates) -> None:
    with (
        Server(DATA, tls=certificates.context("other-name")) as server,
        HttpProxy(tls=certificates.context()) as proxy,
        pytest.raises(RefusedError, match="certificate not trusted"),
    ):
        fetch(server.url(), Options(proxy=proxy.url(), cacert=str(certificates.ca)))


def test_a_dripped_head_ends_in_time_also_within_tls_within_tls(certificates: Certificates) -> None:
    with Server(DATA, tls=certificates.context()) as server, HttpProxy(tls=certificates.context()) as proxy:
        server.faults.append(faults.slow_headers(0.1))
        given = Options(proxy=proxy.url(), cacert=str(certificates.ca), timeout=0.5)
        with pytest.raises(AttemptFailed) as failed:
            fetch(server.url(), given)
        assert failed.value.stalled


def test_what_comes_before_tls_is_never_taken_for_what_comes_within(certificates: Certificates) -> None:
    forged = (
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1000-4999/5000\r\nContent-Length: 4000\r\n\r\n"
    )
    with Server(DATA, tls=certificates.context()) as server, HttpProxy(promise=forged + bytes(4000)) as proxy:
        with pytest.raises(AttemptFailed, match="before TLS"):
            fetch(server.url(), Options(proxy=proxy.url(), cacert=str(certificates.ca)))
        assert server.requests == []


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
    with Server(DATA) as server, SocksProxy() as proxy:
        with Transport(Options(proxy=proxy.url())) as transport:
            for _ in range(3):
                assert read(Remote(server.url(), transport).ask(PART)) == DATA[1000:5000]
        assert len(proxy.reached) == 1


def test_where_a_socks_proxy_cannot_connect_the_attempt_failed() -> None:
    with (
        SocksProxy() as proxy,
        Transport(Options(proxy=proxy.url())) as transport,
        pytest.raises(AttemptFailed, match="the proxy failed: connection refused"),
    ):
        Remote(f"http://127.0.0.1:{unused_port()}/", transport).ask(PART)


def test_a_proxys_password_is_in_no_error() -> None:
    options = Options(proxy=f"http://me:hunter2@127.0.0.1:{unused_port()}")
    with Transport(options) as transport, pytest.raises(SmartRemoteError) as failed:
        Remote("http://there.example/", transport).ask(PART)
    assert "hunter2" not in f"{failed.value!r} {failed.value} {failed.value.hint}"


@pytest.mark.parametrize("user", [None, "me:hunter2"])
@pytest.mark.parametrize("secure", [False, True])
def test_a_socks_proxy_leads_to_the_server(
    certificates: Certificates, secure: bool, user: str | None
) -> None:
    tls = certificates.context() if secure else None
    with Server(DATA, tls=tls) as server, SocksProxy(user=user) as proxy:
        given = Options(proxy=proxy.url(user), cacert=str(certificates.ca))
        assert fetch(server.url(), given) == DATA[1000:5000]
        assert proxy.reached == [("127.0.0.1", server.port)]


def test_a_socks_proxy_that_wants_another_password_is_a_failure(server: Server) -> None:
    with SocksProxy(user="me:hunter2") as proxy, pytest.raises(SmartRemoteError) as failed:
        fetch(server.url(), Options(proxy=proxy.url("me:t0psecret")))
    assert "t0psecret" not in str(failed.value)
    assert server.requests == []


def test_a_socks_proxy_that_says_nothing_is_a_stall(server: Server) -> None:
    with SocksProxy(silent=True) as proxy, pytest.raises(AttemptFailed) as failed:
        fetch(server.url(), Options(proxy=proxy.url(), timeout=0.3))
    assert failed.value.stalled
