"""Redirects in circles, to nowhere, across hosts, and to URLs that expire."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from smartremote_cli.transport.options import Options
from tests.hostile.rows import CONTENT, ONE, QUERY, Row, after, first, fresh_and_resumed, row
from tests.hostile.runs import download, judge_run, leave_version_one, run_row
from tests.support import faults
from tests.support.server import Certificates, Resource, Server

ROWS = [
    row("in a circle", lambda: [faults.redirect("/file.bin")], 4),
    row("to nowhere", lambda: [faults.redirect(None)], 4),
    row("to an empty place", lambda: [faults.redirect("")], 4),
    row("to a file", lambda: [faults.redirect("file:///etc/passwd")], 4),
    row("to ftp", lambda: [faults.redirect("ftp://localhost/x")], 4),
    row("to javascript", lambda: [faults.redirect("javascript:alert(1)")], 4),
    row("to a broken URL", lambda: [faults.redirect("http://eve:hunter2@[::1/x?sig=5igna7ure")], 4),
    row("to a port that is none", lambda: [faults.redirect("http://eve:hunter2@host:99999/?5igna7ure")], 4),
    row("to control characters", lambda: [faults.redirect("http://host/\x1b[31m")], 4),
    # After two answers there are four connections, each of which goes around once.
    row("to a circle later", lambda: [faults.redirect("/login", when=after(2))], 4, requests=2 + 4 * 11),
    row(
        "ten hops",
        lambda: [
            faults.redirect("/hop/10", when=faults.path("/file.bin") & first(1)),
            faults.hops(10, "/file.bin"),
        ],
        4,
    ),
    row(
        "nine hops",
        lambda: [
            faults.redirect("/hop/9", when=faults.path("/file.bin") & first(1)),
            faults.hops(9, f"/file.bin{QUERY}"),
        ],
    ),
]

# What came to light in other tests.
FOUND = [
    row(
        "a redirect with a blank in it",
        lambda: [faults.redirect("/file.bin?a b", when=faults.path("/file.bin") & first(1))],
    ),
]


@fresh_and_resumed(ROWS + FOUND)
def test_right_or_refused(each: Row, resumed: bool, tmp_path: Path) -> None:
    run_row(each, resumed, tmp_path)


def test_an_expired_redirect_is_resolved_afresh(tmp_path: Path) -> None:
    with Server(CONTENT) as server:
        server.faults.append(faults.signed(uses=2))
        run = download(server.url("/download"), tmp_path / "file.bin")
        resolved = [seen for seen in server.requests if seen.path == "/download"]
    judge_run(run, (ONE,))
    assert run.code == 0, run.said
    assert 2 <= len(resolved) <= 8
    assert "signature=" not in run.said


@pytest.mark.parametrize("resumed", [False, True], ids=["fresh", "resumed"])
@pytest.mark.parametrize("code", [403, 404, 410])
def test_an_expired_url_is_exit_4_and_says_how_to_go_on(tmp_path: Path, code: int, resumed: bool) -> None:
    file = tmp_path / "my file.bin"
    with Server(CONTENT) as server:
        url = server.url(f"/file.bin{QUERY}")
        server.faults.append(faults.status(code, b"expired", when=after(0 if resumed else 2)))
        if resumed:
            leave_version_one(file, url, Resource(CONTENT))
        run = download(url, file)
        asked = len(server.requests)
        judge_run(run, (ONE,))
        assert run.code == 4
        assert f"run: smartremote complete '{file}' --url NEW" in run.said
        assert asked <= 14
        server.faults.clear()
        assert download(url, file).code == 0
    judge_run(replace(run, code=0), (ONE,))


def test_a_redirect_across_hosts_takes_no_secrets_along(tmp_path: Path) -> None:
    given = Options(
        netrc=False, headers=(("X-Api-Key", "t0psecret"), ("Cookie", "id=t0psecret")), user=("m", "hunter2")
    )
    with Server(CONTENT) as here, Server(CONTENT) as there:
        here.faults.append(faults.redirect(there.url(f"/file.bin{QUERY}").replace("127.0.0.1", "localhost")))
        run = download(here.url(), tmp_path / "file.bin", options=given)
        for seen in there.requests:
            assert not {"x-api-key", "cookie", "authorization"} & {name.lower() for name, _ in seen.headers}
        assert here.requests[0].header("X-Api-Key") == "t0psecret"
        assert here.requests[0].header("Authorization") is not None
    judge_run(run, (ONE,))
    assert run.code == 0, run.said


def test_a_location_with_a_password_makes_nobody_log_in(tmp_path: Path) -> None:
    with Server(CONTENT) as here, Server(CONTENT) as there:
        here.faults.append(faults.redirect(there.url().replace("://", "://eve:hunter2@")))
        run = download(here.url(), tmp_path / "file.bin")
        assert all(seen.header("Authorization") is None for seen in there.requests)
    judge_run(run, (ONE,))
    assert run.code == 0, run.said


def test_a_redirect_from_https_to_http_is_refused(certificates: Certificates, tmp_path: Path) -> None:
    with Server(CONTENT, tls=certificates.context()) as here, Server(CONTENT) as there:
        here.faults.append(faults.redirect(there.url()))
        run = download(
            here.url(), tmp_path / "file.bin", options=Options(netrc=False, cacert=str(certificates.ca))
        )
        assert there.requests == []
    judge_run(run, ())
    assert run.code == 4
