"""A resource behind a URL: redirects, whose headers go where, and what is shown of it."""

from __future__ import annotations

import logging
from base64 import b64encode
from pathlib import Path

import pytest

from smartremote_cli.errors import (
    AttemptFailed,
    RefusedError,
    RemoteNotFoundError,
    RemotePermissionError,
    SmartRemoteError,
    UsageError,
)
from smartremote_cli.transport.options import RESERVED, Options, check_header
from smartremote_cli.transport.refusals import refusal
from smartremote_cli.transport.remote import MAX_REDIRECTS, Remote
from smartremote_cli.transport.transport import Transport
from tests.support import faults
from tests.support.server import (
    Resource,
    Server,
    unused_port,
)
from tests.transport.common import DATA, PART, fetch, read

SECRETS = ("hunter2", "5igna7ure", "t0psecret")


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
