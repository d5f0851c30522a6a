"""Proxies pass on, or fail as servers do."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from smartremote_cli.transport.options import Options
from tests.hostile.rows import CONTENT, ONE
from tests.hostile.runs import download, judge_run
from tests.support.proxy import Proxy
from tests.support.server import Certificates, Server, unused_port


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    ("failure", "user", "code"),
    [
        (None, None, 0),
        (None, "me:hunter2", 0),
        (None, "me:t0psecret", 4),
        (403, None, 4),
        (502, None, 3),
        (503, None, 3),
        ("close", None, 3),
        ("reset", None, 3),
    ],
)
def test_a_proxy_passes_on_or_fails_as_servers_do(
    certificates: Certificates,
    tmp_path: Path,
    secure: bool,
    failure: int | Literal["close", "reset"] | None,
    user: str | None,
    code: int,
) -> None:
    tls = certificates.context() if secure else None
    file = tmp_path / "file.bin"
    with (
        Server(CONTENT, tls=tls) as server,
        Proxy(user="me:hunter2" if user else None, failure=failure) as proxy,
    ):
        given = Options(netrc=False, proxy=proxy.url(user), cacert=str(certificates.ca))
        run = download(server.url(), file, options=given)
        assert len(proxy.requests) <= 20
        assert code == 0 or not server.requests
        assert all(seen.header("Proxy-Authorization") is None for seen in server.requests)
    judge_run(run, (ONE,))
    assert run.code == code, run.said


def test_a_proxy_that_is_not_there_is_exit_3_after_two_tries(tmp_path: Path) -> None:
    with Server(CONTENT) as server:
        given = Options(netrc=False, proxy=f"http://127.0.0.1:{unused_port()}")
        run = download(server.url(), tmp_path / "file.bin", options=given)
        assert (run.code, server.requests) == (3, [])
    assert run.said.count("Retrying") == 1
