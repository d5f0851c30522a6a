"""TLS: a certificate is good or refused, and everything else is as without TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartremote_cli.transport.options import Options
from tests.hostile.rows import CONTENT, MIB, ONE, QUERY, Row, every, nth, patient, row
from tests.hostile.runs import download, judge_run, leave_version_one
from tests.support import faults
from tests.support.server import Certificates, Resource, Server


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [
        ("good", {"cacert": True}, 0),
        ("unidentified", {"cacert": True}, 0),  # Python 3.13 refuses it by default, curl does not
        ("good", {}, 4),
        ("expired", {"cacert": True}, 4),
        ("self-signed", {"cacert": True}, 4),
        ("other-name", {"cacert": True}, 4),
        ("other-name", {"insecure": True}, 0),
        ("expired", {"insecure": True}, 0),
    ],
)
def test_a_certificate_is_good_or_refused(
    certificates: Certificates, tmp_path: Path, name: str, options: dict[str, bool], code: int
) -> None:
    given = Options(
        netrc=False,
        cacert=str(certificates.ca) if "cacert" in options else None,
        insecure="insecure" in options,
    )
    file = tmp_path / "file.bin"
    with Server(CONTENT, tls=certificates.context(name)) as server:
        run = download(server.url(), file, options=given)
        assert len(server.requests) <= (40 if code == 0 else 0)
        assert code == 0 or server.connections <= 2
    judge_run(run, (ONE,))
    assert run.code == code, run.said
    assert code == 0 or "certificate" in run.said


SECURE = [
    row("resets", lambda: [faults.reset(700_000)]),
    row("resets in the middle of headers", lambda: [faults.reset(40, "headers", when=every(3))]),
    row("ends without taking leave", lambda: [faults.fin(300_000)], requests=80),
    row("no keep-alive", lambda: [faults.header("Connection", "close")]),
    row("chunked", lambda: [faults.chunked()]),
    patient(row("stalls", lambda: [faults.stall(after=100_000, when=nth(1, 3))]), 0.6),
    row("a byte after the body", lambda: [faults.after_body(b"x")]),
    row("no ranges, broken off", lambda: [faults.ignore_range(), faults.fin(3 * MIB, when=nth(1))]),
    row(
        "until close, broken off",
        lambda: [faults.until_close(), faults.ignore_range(), faults.fin(3 * MIB)],
        4,
        {3, 4},
    ),
]


@pytest.mark.parametrize("resumed", [False, True], ids=["fresh", "resumed"])
@pytest.mark.parametrize("each", SECURE, ids=lambda each: each.name)
def test_tls_changes_nothing(each: Row, resumed: bool, certificates: Certificates, tmp_path: Path) -> None:
    file = tmp_path / "file.bin"
    given = Options(netrc=False, cacert=str(certificates.ca))
    with Server(CONTENT, tls=certificates.context()) as server:
        server.faults += each.make()
        url = server.url(f"/file.bin{QUERY}")
        if resumed:
            leave_version_one(file, url, Resource(CONTENT))
        run = download(url, file, options=given, timeout=each.timeout, retries=each.retries)
        asked = len(server.requests)
    judge_run(run, (ONE,))
    assert run.code in (each.resumed if resumed else each.fresh), run.said
    assert asked <= each.requests
