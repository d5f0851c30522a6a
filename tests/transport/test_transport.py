"""Requests out, answers in: whose headers go where, what is shown of it, and which connections are used again."""

from __future__ import annotations

import logging
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import httpx
import pytest

from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.errors import (
    AttemptFailed,
    ClosedError,
    RefusedError,
    RemoteNotFoundError,
    RemotePermissionError,
    SmartRemoteError,
    UsageError,
)
from smartremote_cli.protocol.answers import EVERYTHING, Asked
from smartremote_cli.transport.remote import MAX_REDIRECTS, RESERVED, Remote, check_header, refusal
from smartremote_cli.transport.response import Response
from smartremote_cli.transport.transport import Options, Transport
from tests.support import faults
from tests.support.proxy import Proxy, SocksProxy
from tests.support.server import (
    Certificates,
    Resource,
    Server,
    Where,
    pattern,
    unanswered_port,
    unused_port,
)

SIZE = 300_000
DATA = pattern(SIZE)
PART = Asked(range=ByteRange(1000, 5000))
SECRETS = ("hunter2", "5igna7ure", "t0psecret")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(DATA) as running:
        yield running


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Be nobody in particular: no netrc, no proxies."""
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "NETRC",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def read(response: Response) -> bytes:
    """Read a body to its end and give the connection back."""
    view = memoryview(bytearray(64 * 1024))
    pieces = []
    try:
        while count := response.read_into(view):
            pieces.append(bytes(view[:count]))
        response.finish()
    finally:
        response.close()
    return b"".join(pieces)


def fetch(url: str, options: Options | None = None, asked: Asked = PART) -> bytes:
    with Transport(options) as transport:
        return read(Remote(url, transport).ask(asked))


# --- redirects ---


def test_ten_redirects_are_followed_and_remembered(server: Server) -> None:
    server.faults.append(faults.hops(10, "/file.bin"))
    with Transport() as transport:
        remote = Remote(server.url("/hop/10"), transport)
        assert read(remote.ask(PART)) == DATA[1000:5000]
        assert read(remote.ask(PART)) == DATA[1000:5000]
    assert [seen.path for seen in server.requests] == [f"/hop/{n}" for n in range(10, 0, -1)] + [
        "/file.bin"
    ] * 2


def test_eleven_redirects_are_a_circle(server: Server) -> None:
    server.faults.append(faults.hops(11, "/file.bin"))
    with pytest.raises(RefusedError, match=f"more than {MAX_REDIRECTS} redirects"):
        fetch(server.url("/hop/11"))


def test_who_was_stopped_between_two_hops_asks_nobody_any_more(server: Server) -> None:
    server.faults.append(faults.hops(10, "/file.bin"))
    with Transport() as transport, pytest.raises(AttemptFailed, match="stopped"):
        Remote(server.url("/hop/10"), transport).ask(PART, stopped=lambda: len(server.requests) >= 3)
    assert len(server.requests) == 3


def test_aborting_an_answer_that_is_over_hits_no_other_one(server: Server) -> None:
    with Transport() as transport:
        remote = Remote(server.url(), transport)
        over = remote.ask(PART)
        assert read(over) == DATA[1000:5000]
        other = remote.ask(Asked())
        over.abort()
        assert read(other) == DATA
    assert server.connections == 1


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_every_redirect_keeps_the_range(server: Server, code: int) -> None:
    server.faults.append(faults.redirect("/file.bin", code, when=faults.path("/old")))
    assert fetch(server.url("/old")) == DATA[1000:5000]
    assert server.ranges == ["bytes=1000-4999"] * 2


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("file:///etc/passwd", "no http URL"),
        ("ftp://host/x", "no http URL"),
        ("data:,x", "no http URL"),
        ("http://eve:hunter2@[::1/?5igna7ure", "no http URL"),
        ("http://host:port/?5igna7ure", "no http URL"),
        (None, "does not say where to"),
        ("", "does not say where to"),
    ],
)
def test_a_redirect_to_elsewhere_is_refused(server: Server, to: str | None, why: str) -> None:
    server.faults.append(faults.redirect(to))
    with pytest.raises(RefusedError, match=why) as refused:
        fetch(server.url())
    assert not [secret for secret in SECRETS if secret in str(refused.value)]


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451])
def test_a_remembered_redirect_that_is_refused_is_resolved_afresh_once(server: Server, code: int) -> None:
    server.faults.append(faults.signed(uses=1, refusal=code))
    with Transport() as transport:
        remote = Remote(server.url("/download"), transport)
        for _ in range(3):
            assert read(remote.ask(PART)) == DATA[1000:5000]
        server.faults.append(faults.status(code))
        server.faults.reverse()
        last = remote.ask(PART)
        assert last.status == code
        last.close()
    assert [seen.path for seen in server.requests].count("/download") == 4


def test_after_a_mirror_that_fails_the_redirect_is_resolved_afresh(server: Server) -> None:
    with Server(DATA) as mirror:
        server.faults.append(faults.redirect(mirror.url(), when=faults.path("/download") & faults.first(1)))
        server.faults.append(faults.redirect("/file.bin", when=faults.path("/download")))
        mirror.faults.append(faults.status(503, when=faults.nth(2)))
        mirror.faults.append(faults.status(502, when=faults.after(1)))
        with Transport() as transport:
            remote = Remote(server.url("/download"), transport)
            assert read(remote.ask(PART)) == DATA[1000:5000]
            for status in (503, 502, 502):
                failed = remote.ask(PART)
                assert failed.status == status
                failed.close()
            assert read(remote.ask(PART)) == DATA[1000:5000]
        assert [seen.path for seen in server.requests] == ["/download", "/download", "/file.bin"]


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/a b.bin", "/a%20b.bin"),
        ("/\u00c3\u00a4.bin", "/%C3%A4.bin"),  # UTF-8, as it comes in a header
        ("/\u00e4.bin", "/%E4.bin"),  # Latin-1
        (" /a%20b.bin ", "/a%20b.bin"),
        ("/\u00d0\u00a0", "/%D0%A0"),  # the last byte is no blank
    ],
)
def test_a_location_that_is_not_escaped_is_followed_as_it_is_meant(
    server: Server, location: str, target: str
) -> None:
    server.resources[target] = Resource(DATA)
    server.faults.append(faults.redirect(location, when=faults.path("/file.bin")))
    assert fetch(server.url()) == DATA[1000:5000]


def test_what_comes_before_tls_is_never_taken_for_what_comes_within(certificates: Certificates) -> None:
    forged = (
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1000-4999/5000\r\nContent-Length: 4000\r\n\r\n"
    )
    with Server(DATA, tls=certificates.context()) as server, Proxy(promise=forged + bytes(4000)) as proxy:
        with pytest.raises(AttemptFailed, match="before TLS"):
            fetch(server.url(), Options(proxy=proxy.url(), cacert=str(certificates.ca)))
        assert server.requests == []


# --- whose headers go where ---


def test_headers_and_credentials_stay_with_the_first_origin(server: Server) -> None:
    options = Options(headers=(("X-Api-Key", "t0psecret"), ("Cookie", "t0psecret")), user=("me", "hunter2"))
    with Server(DATA) as other:
        server.faults.append(faults.redirect(other.url(), when=faults.path("/file.bin")))
        assert fetch(server.url(), options) == DATA[1000:5000]
        names = {name.lower() for name, _ in other.requests[0].headers}
    assert server.requests[0].header("X-Api-Key") == "t0psecret"
    assert server.requests[0].header("Authorization") == "Basic " + b64encode(b"me:hunter2").decode()
    assert names == {"host", "user-agent", "accept", "accept-encoding", "range"}


def test_a_redirect_back_home_has_them_again(server: Server) -> None:
    options = Options(headers=(("X-Api-Key", "t0psecret"),))
    with Server(DATA) as other:
        server.faults.append(faults.redirect(other.url("/hop"), when=faults.path("/first")))
        other.faults.append(faults.redirect(server.url()))
        fetch(server.url("/first"), options)
        assert [seen.header("X-Api-Key") for seen in [*server.requests, *other.requests]] == [
            "t0psecret",
            "t0psecret",
            None,
        ]


@pytest.mark.parametrize(
    ("options", "user", "netrc", "sent"),
    [
        (Options(), None, None, None),
        (Options(user=("a", "b")), None, None, "a:b"),
        (Options(), "c:d", None, "c:d"),
        (Options(), "c%40x:d%2F", None, "c@x:d/"),
        (Options(), "c", None, "c:"),
        (Options(user=("a", "b")), "c:d", None, "a:b"),
        (Options(), None, "machine 127.0.0.1 login e password f", "e:f"),
        (Options(), None, "default login e password f", "e:f"),
        (Options(), None, "machine elsewhere login e password f", None),
        (Options(netrc=False), None, "machine 127.0.0.1 login e password f", None),
        (Options(), "c:d", "machine 127.0.0.1 login e password f", "c:d"),
        (Options(), None, "machine 127.0.0.1 login", None),
    ],
)
def test_who_logs_in(
    server: Server, tmp_path: Path, options: Options, user: str | None, netrc: str | None, sent: str | None
) -> None:
    if netrc is not None:
        (tmp_path / ".netrc").write_text(netrc)
        (tmp_path / ".netrc").chmod(0o600)
    fetch(server.url().replace("://", f"://{user}@" if user else "://"), options)
    seen = server.requests[0].header("Authorization")
    assert seen == (None if sent is None else "Basic " + b64encode(sent.encode()).decode())
    assert "@" not in server.requests[0].target


def test_an_authorization_of_the_users_own_goes_first(server: Server) -> None:
    fetch(server.url(), Options(headers=(("authorization", "Bearer x"),), user=("a", "b")))
    assert server.requests[0].headers.all("Authorization") == ["Bearer x"]


def test_the_users_headers_replace_ours(server: Server) -> None:
    fetch(server.url(), Options(headers=(("Accept", "text/html"), ("User-Agent", "me"))))
    assert server.requests[0].headers.all("Accept") == ["text/html"]
    assert server.requests[0].headers.all("User-Agent") == ["me"]
    assert server.requests[0].headers.all("Accept-Encoding") == ["identity"]


@pytest.mark.parametrize("text", ["A: b", "A:b", "A :  b  ", "X-Y_z1:", "A: b: c"])
def test_a_header_is_name_and_value(text: str) -> None:
    name, value = check_header(text)
    assert (name, value) == (text.partition(":")[0].strip(), text.partition(":")[2].strip())


@pytest.mark.parametrize(
    "text",
    [
        "A",
        ": b",
        "",
        "A b: c",
        "A: b\r\nC: d",
        "A: \x00",
        "A: \xe9",
        "\xe9: a",
        *(f"{n.title()}: x" for n in sorted(RESERVED)),
    ],
)
def test_what_is_no_header_is_refused_unshown(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_header(f"{text}t0psecret" if text.startswith("A: ") else text)
    assert "t0psecret" not in str(refused.value)


# --- what is shown ---


@pytest.mark.parametrize("code", [400, 403, 404, 410, 429, 500, 503])
def test_a_refusal_shows_neither_password_nor_signature(
    server: Server, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    server.faults.append(faults.status(code))
    url = server.url("/file.bin?X-Signature=5igna7ure").replace("://", "://me:hunter2@")
    with caplog.at_level(logging.INFO), Transport() as transport:
        remote = Remote(url, transport)
        answer = remote.ask(PART)
        error = refusal(answer, remote.name)
        answer.close()
    shown = f"{error!r} {error} {remote.name} {caplog.text}"
    assert not [secret for secret in SECRETS if secret in shown]
    assert str(code) in str(error)


@pytest.mark.parametrize("port", ["nobody", "reset", "garbled"])
def test_a_failure_shows_neither_password_nor_signature(
    server: Server, caplog: pytest.LogCaptureFixture, port: str
) -> None:
    server.faults.append(
        faults.raw(b"hunter3 5igna\r\n\r\n") if port == "garbled" else faults.reset(where="before")
    )
    netloc = f"127.0.0.1:{unused_port()}" if port == "nobody" else server.netloc
    with caplog.at_level(logging.INFO), pytest.raises(SmartRemoteError) as failed:
        fetch(f"http://me:hunter2@{netloc}/x?sig=5igna7ure")
    shown = f"{failed.value!r} {failed.value} {caplog.text}"
    assert not [secret for secret in SECRETS if secret in shown]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, RefusedError),
        (401, RemotePermissionError),
        (403, RemotePermissionError),
        (404, RemoteNotFoundError),
        (407, RemotePermissionError),
        (410, RemoteNotFoundError),
        (418, RefusedError),
        (408, AttemptFailed),
        (425, AttemptFailed),
        (429, AttemptFailed),
        (500, AttemptFailed),
        (501, AttemptFailed),
        (503, AttemptFailed),
        (599, AttemptFailed),
    ],
)
def test_what_a_status_stands_for(server: Server, code: int, kind: type[SmartRemoteError]) -> None:
    server.faults.append(faults.status(code))
    with Transport() as transport:
        answer = Remote(server.url(), transport).ask(PART)
        error = refusal(answer, "x")
        answer.close()
    assert type(error) is kind
    if isinstance(error, AttemptFailed):
        assert error.crowded == (code in (429, 503))


# --- connections ---


def test_one_connection_serves_many_requests(server: Server) -> None:
    with Transport() as transport:
        remote = Remote(server.url(), transport)
        for _ in range(10):
            assert read(remote.ask(PART)) == DATA[1000:5000]
    assert (server.connections, len(server.requests)) == (1, 10)


def test_tls_connections_are_used_again_too(certificates: Certificates) -> None:
    with Server(DATA, tls=certificates.context()) as server:
        with Transport(Options(cacert=str(certificates.ca))) as transport:
            remote = Remote(server.url(), transport)
            for _ in range(5):
                assert read(remote.ask(PART)) == DATA[1000:5000]
        assert server.connections == 1


def test_chunked_bodies_give_their_connection_back(server: Server) -> None:
    server.faults.append(faults.chunked(700))
    with Transport() as transport:
        remote = Remote(server.url(), transport)
        for _ in range(5):
            assert read(remote.ask(PART)) == DATA[1000:5000]
    assert server.connections == 1


def test_a_refusal_with_a_short_body_gives_its_connection_back(server: Server) -> None:
    server.faults.append(faults.status(503, b"x" * 10_000))
    with Transport() as transport:
        for _ in range(3):
            answer = Remote(server.url(), transport).ask(PART)
            answer.skip(64 * 1024)
            answer.close()
    assert server.connections == 1


def test_a_body_that_is_left_half_read_costs_its_connection(server: Server) -> None:
    with Transport() as transport:
        for _ in range(3):
            answer = Remote(server.url(), transport).ask(EVERYTHING)
            answer.read_into(memoryview(bytearray(1000)))
            answer.close()
    assert server.connections == 3


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


@pytest.mark.parametrize("framing", [lambda: [], lambda: [faults.chunked()]])
def test_a_body_cut_short_is_a_failure(server: Server, framing: type) -> None:
    server.faults += [*framing(), faults.fin(1000)]
    with pytest.raises(AttemptFailed):
        fetch(server.url())


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


# --- addresses, proxies, certificates ---


def test_ipv6_addresses_are_urls_too() -> None:
    with Server(DATA, host="::1") as server:
        assert fetch(server.url()) == DATA[1000:5000]
        assert server.requests[0].header("Host") == server.netloc


def test_the_environment_names_a_proxy_and_exceptions(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(hosts={"far.example": ("127.0.0.1", server.port)}) as proxy:
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
        Proxy(user="me:hunter2", failure=failure) as proxy,
    ):
        with pytest.raises(kind) as failed:
            fetch(server.url(), Options(proxy=proxy.url(user), cacert=str(certificates.ca)))
        assert "hunter2" not in str(failed.value)
        assert server.requests == []


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


@pytest.mark.parametrize("secure", [False, True], ids=["plain within", "tls within"])
def test_a_proxy_may_be_reached_over_tls(certificates: Certificates, secure: bool) -> None:
    """With https: all the way this is TLS within TLS, and both are judged."""
    inner = certificates.context() if secure else None
    with Server(DATA, tls=inner) as server, Proxy(tls=certificates.context()) as proxy:
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
        Proxy(tls=certificates.context()) as proxy,
        pytest.raises(RefusedError, match="certificate not trusted"),
    ):
        fetch(server.url(), Options(proxy=proxy.url(), cacert=str(certificates.ca)))


def test_a_dripped_head_ends_in_time_also_within_tls_within_tls(certificates: Certificates) -> None:
    with Server(DATA, tls=certificates.context()) as server, Proxy(tls=certificates.context()) as proxy:
        server.faults.append(faults.slow_headers(0.1))
        given = Options(proxy=proxy.url(), cacert=str(certificates.ca), timeout=0.5)
        with pytest.raises(AttemptFailed) as failed:
            fetch(server.url(), given)
        assert failed.value.stalled


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
