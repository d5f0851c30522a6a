"""What servers tell on the way, and who is told what: logins, nonces, cookies, the hosts of netrc."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path

import pytest

from smartremote_cli.errors import AttemptFailed, RefusedError, RemotePermissionError
from smartremote_cli.transport.options import Options
from smartremote_cli.transport.refusals import refusal
from smartremote_cli.transport.remote import Remote
from smartremote_cli.transport.transport import Transport
from tests.support import faults
from tests.support.faults.logins import Digest
from tests.support.server import Certificates, Exchange, Fault, Reply, Server
from tests.transport.common import DATA, PART, fetch, read

ME = Options(user=("me", "hunter2"))


def basic(user: str) -> str:
    return "Basic " + b64encode(user.encode()).decode()


def refused(url: str, options: Options | None = None) -> Exception:
    """Return the error for the answer to a request of *url*."""
    with Transport(options) as transport:
        remote = Remote(url, transport)
        response = remote.ask(PART)
        response.skip(1 << 16)
        response.close()
        return refusal(response, remote.name)


# --- Digest ---


@pytest.mark.parametrize("algorithm", ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess"])
@pytest.mark.parametrize("qop", ["auth", "auth-int,auth", None])
def test_digest_is_spoken(server: Server, algorithm: str, qop: str | None) -> None:
    digest = Digest("me:hunter2", algorithm=algorithm, qop=qop)
    server.faults.append(digest.fault())
    with Transport(ME) as transport:
        remote = Remote(server.url("/file.bin?a=b%20c"), transport)
        for _ in range(3):
            assert read(remote.ask(PART)) == DATA[1000:5000]
    assert [seen.status for seen in server.requests] == [401, 206, 206, 206]
    assert digest.wrong == []


def test_a_nonce_that_has_grown_stale_is_replaced_by_the_next(server: Server) -> None:
    digest = Digest("me:hunter2", uses=2)
    server.faults.append(digest.fault())
    with Transport(ME) as transport:
        remote = Remote(server.url(), transport)
        for _ in range(6):
            assert read(remote.ask(PART)) == DATA[1000:5000]
    assert [seen.status for seen in server.requests].count(206) == 6
    assert digest.wrong == []


def test_parallel_connections_count_the_uses_of_a_nonce_together(server: Server) -> None:
    digest = Digest("me:hunter2", uses=12)
    server.faults.append(digest.fault())
    failures: list[BaseException] = []

    def ask(remote: Remote) -> None:
        try:
            for _ in range(5):
                assert read(remote.ask(PART)) == DATA[1000:5000]
        except BaseException as error:
            failures.append(error)

    with Transport(ME) as transport:
        remote = Remote(server.url(), transport)
        threads = [threading.Thread(target=ask, args=(remote,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == [] and digest.wrong == []


def test_a_wrong_password_is_given_once_and_said_to_be_wrong(server: Server) -> None:
    server.faults.append(Digest("me:other").fault())
    error = refused(server.url(), ME)
    assert isinstance(error, RemotePermissionError)
    assert "401 Unauthorized: the server does not accept the user and password of --user" in str(error)
    assert "hunter2" not in str(error)
    assert len(server.requests) == 2


def test_nonces_that_are_always_stale_mean_fewer_connections(server: Server) -> None:
    server.faults.append(Digest("me:hunter2", uses=0).fault())
    error = refused(server.url(), ME)
    assert isinstance(error, AttemptFailed) and error.crowded
    assert len(server.requests) < 6


@pytest.mark.parametrize(
    ("challenge", "options", "why", "hint"),
    [
        ("Negotiate", ME, "the server asks for Negotiate, which smartremote does not speak", "-H"),
        ("Bearer realm=x", None, "the server asks for Bearer, which smartremote does not", "Bearer TOKEN"),
        ("Basic realm=x", None, "401 Unauthorized", "--user"),
        ("Basic realm=x", ME, "does not accept the user and password of --user", None),
        ("Basic realm=x", Options(headers={"Authorization": "Bearer x"}), "does not accept the Author", None),
        ("", None, "401 Unauthorized", "--user"),
    ],
)
def test_a_401_says_what_would_help(
    server: Server, challenge: str, options: Options | None, why: str, hint: str | None
) -> None:
    fields = [("WWW-Authenticate", challenge)] if challenge else []
    server.faults.append(faults.status(401, headers=fields))
    error = refused(server.url(), options)
    assert isinstance(error, RemotePermissionError)
    assert why in str(error)
    assert (error.hint is None) if hint is None else (hint in (error.hint or ""))


# --- whose credentials go where ---


def test_a_later_host_has_its_credentials_from_netrc(server: Server, tmp_path: Path) -> None:
    """As NASA's Earthdata logs in: the login is another host, and what it sets is a cookie."""
    (tmp_path / ".netrc").write_text("machine localhost login e password f\n")
    with Server(DATA) as login:
        login.faults.append(faults.authenticate("e:f", when=faults.always))
        login.faults.append(faults.redirect(server.url(), when=faults.path("/login")))
        wanted = faults.When(lambda exchange: exchange.seen.header("Cookie") is None)
        server.faults.append(
            faults.redirect(login.url("/login", host="localhost"), when=wanted & faults.nth(1))
        )
        assert fetch(server.url()) == DATA[1000:5000]
        assert login.requests[0].header("Authorization") == basic("e:f")
    assert all(seen.header("Authorization") is None for seen in server.requests)


def test_an_entry_for_all_hosts_is_used_later_only_where_it_is_asked_for(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("default login e password f\n")
    with Server(DATA) as storage, Server(DATA) as asking:
        asking.faults.append(faults.authenticate("e:f"))
        for other, sent in ((storage, [None]), (asking, [None, basic("e:f")])):
            server.faults[:] = [faults.redirect(other.url())]
            assert fetch(server.url()) == DATA[1000:5000]
            assert [seen.header("Authorization") for seen in other.requests] == sent
    assert server.requests[0].header("Authorization") == basic("e:f")


def test_who_refuses_is_named_and_the_credentials_of_another_are_no_hint(server: Server) -> None:
    with Server(DATA) as other:
        other.faults.append(faults.authenticate("e:f"))
        server.faults.append(faults.redirect(other.url("/there")))
        error = refused(server.url(), ME)
        assert str(error).startswith(
            f"{other.url('/there')}: 401 Unauthorized (redirected from {server.url()})"
        )
        assert isinstance(error, RefusedError) and "netrc" in (error.hint or "")
        assert other.requests[0].header("Authorization") is None


@pytest.mark.parametrize("port", ["the same", "another"])
def test_an_upgrade_to_https_is_the_same_origin(certificates: Certificates, port: str) -> None:
    options = ME._replace(headers=(("X-Key", "k"),), cacert=str(certificates.ca))
    with Server(DATA, tls=certificates.context()) as secure, Server(DATA) as plain:
        plain.faults.append(faults.redirect(secure.url()))
        url = plain.url()
        assert fetch(url, options) == DATA[1000:5000]
        assert secure.requests[0].header("Authorization") == basic("me:hunter2")
        assert secure.requests[0].header("X-Key") == "k"
        secure.faults.append(
            faults.redirect(secure.url("/x", host="localhost"), when=faults.path("/file.bin"))
        )
        secure.faults.append(faults.status(404))
        refused(url, options)
        assert secure.requests[-1].header("Authorization") is None


def test_a_downgrade_is_refused_with_the_url_to_ask_for(certificates: Certificates, server: Server) -> None:
    with Server(DATA, tls=certificates.context()) as secure:
        secure.faults.append(faults.redirect(server.url()))
        with pytest.raises(RefusedError, match="from https down to http") as failed:
            fetch(secure.url(), Options(cacert=str(certificates.ca)))
    assert server.url() in (failed.value.hint or "")
    assert server.requests == []


# --- cookies ---


def setting(*cookies: str, to: str | None = None, when: Iterable[str] = ("/file.bin",)) -> Fault:
    """Redirect a request without a cookie to *to*, itself else, and set *cookies*."""

    def ask(exchange: Exchange) -> None:
        if exchange.seen.path in when and exchange.seen.header("Cookie") is None:
            fields = [("Set-Cookie", cookie) for cookie in cookies]
            exchange.reply = Reply.of(302, b"", [*fields, ("Location", to or exchange.seen.target)])

    return Fault("cookies", faults.always, ask=ask)


def cookies_of(server: Server) -> list[set[str]]:
    return [set((seen.header("Cookie") or "").split("; ")) - {""} for seen in server.requests]


def test_a_wall_of_cookies_is_passed_once_for_all_requests(server: Server) -> None:
    server.faults.append(setting("seen=1; path=/; HttpOnly", "b=2"))
    with Transport() as transport:
        for _ in range(2):
            assert read(Remote(server.url(), transport).ask(PART)) == DATA[1000:5000]
    assert cookies_of(server) == [set(), {"seen=1", "b=2"}, {"seen=1", "b=2"}]


@pytest.mark.parametrize(
    ("cookie", "path", "sent"),
    [
        ("a=1", "/file.bin", True),
        ("a=1; path=/elsewhere", "/file.bin", False),
        ("a=1; path=/", "/x/y", True),
        ("a=1; secure", "/file.bin", False),
        ("a=1; domain=example.com", "/file.bin", False),
        ("a=1; domain=com", "/file.bin", False),
        ("a=1; Max-Age=0", "/file.bin", False),
        ("a=1; expires=Wed, 09 Jun 1999 10:18:14 GMT", "/file.bin", False),
        ("a=1; expires=Wed, 09 Jun 2100 10:18:14 GMT", "/file.bin", True),
        ("=", "/file.bin", False),
        ("a=" + "x" * 5000, "/file.bin", False),
        ('a="\x01\x7f\xff"', "/file.bin", True),
    ],
)
def test_a_cookie_goes_back_where_it_belongs(server: Server, cookie: str, path: str, sent: bool) -> None:
    server.faults.append(setting(cookie, to=path, when=["/entry"]))
    server.resources[path] = server.resource
    assert fetch(server.url("/entry")) == DATA[1000:5000]
    assert (server.requests[-1].header("Cookie") is not None) is sent


def test_cookies_stay_with_their_host_and_with_their_user(server: Server) -> None:
    server.faults.append(setting("seen=1", to=server.url(host="localhost"), when=["/entry"]))
    with Transport() as transport:
        assert read(Remote(server.url("/entry"), transport).ask(PART)) == DATA[1000:5000]
        assert server.requests[-1].header("Cookie") is None
        read(Remote(server.url().replace("//", "//other:pw@"), transport).ask(PART))
        assert server.requests[-1].header("Cookie") is None
        read(Remote(server.url(), transport).ask(PART))
        assert server.requests[-1].header("Cookie") == "seen=1"
    fetch(server.url())
    assert server.requests[-1].header("Cookie") is None


def test_the_users_own_cookies_go_along(server: Server) -> None:
    server.faults.append(faults.header("Set-Cookie", "b=2", when=faults.nth(1)))
    with Transport(Options(headers={"Cookie": "mine=1"})) as transport:
        for _ in range(2):
            assert read(Remote(server.url(), transport).ask(PART)) == DATA[1000:5000]
    assert [seen.headers.all("Cookie") for seen in server.requests] == [["mine=1"], ["mine=1; b=2"]]


def test_no_server_makes_requests_that_no_server_takes(server: Server) -> None:
    many = [f"c{number}={'x' * 500}" for number in range(400)]
    server.faults.append(setting(*many, when=["/entry"], to="/file.bin"))
    assert fetch(server.url("/entry")) == DATA[1000:5000]
    assert len(server.requests[-1].header("Cookie") or "") < 9000
