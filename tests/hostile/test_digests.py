"""Digests that the server sends, and a checksum that decides where nothing else can."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from smartremote_cli.library.checksum import Checksum
from smartremote_cli.library.options import DownloadOptions
from tests.hostile.rows import (
    BARE,
    BARE_TWO,
    CONTENT,
    FORGED,
    ONE,
    TWO,
    Row,
    Versions,
    bind,
    fresh_and_resumed,
    nth,
    row,
)
from tests.hostile.runs import download, judge_run, leave_version_one, run_row
from tests.support import faults
from tests.support.server import Fault, Resource, Server

ROWS = [
    *(
        row(
            f"{name} {algorithm}, {'right' if right else 'wrong'}",
            bind(lambda n, a, r: [faults.digest(n, algorithm=a, right=r)], name, algorithm, right),
            0 if right else 7,
        )
        for name in ("Repr-Digest", "Content-Digest", "Digest")
        for algorithm in ("sha-256", "sha-512")
        for right in (True, False)
    ),
    *(
        row(
            f"{name} wrong at first",
            bind(lambda n: [faults.digest(n), faults.digest(n, right=False, when=nth(1))], name),
        )
        for name in ("Repr-Digest", "Content-Digest", "Digest")
    ),
    row("one answer's Repr-Digest alone, and wrong", lambda: [faults.digest(right=False, when=nth(2))], 7),
    row(
        "one answer's Content-Digest alone, and wrong",
        lambda: [faults.digest("Content-Digest", right=False, when=nth(2))],
    ),
    row(
        "digest of a stream", lambda: [faults.digest("Content-Digest", right=False), faults.ignore_range()], 7
    ),
    row(
        "another version under its own digest",
        lambda: [faults.mirrors(BARE, BARE_TWO), faults.digest("Repr-Digest")],
        0,
        5,
        versions=(ONE, TWO),
    ),
    row("unknown digest", lambda: [faults.header("Repr-Digest", "md5=:AAAA:, sha-256=AAAA, x")]),
]


@fresh_and_resumed(ROWS)
def test_right_or_refused(each: Row, resumed: bool, tmp_path: Path) -> None:
    run_row(each, resumed, tmp_path)


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
@pytest.mark.parametrize(
    ("make", "versions"),
    [
        (lambda: [faults.until_close(), faults.ignore_range()], (ONE,)),
        (lambda: [faults.validators(etag=['"a"', '"b"'], honoured=False)], (ONE,)),
        (lambda: [], (ONE,)),
    ],
    ids=["until close", "flipping", "nothing"],
)
def test_a_checksum_decides(
    tmp_path: Path, make: Callable[[], list[Fault]], versions: Versions, right: bool
) -> None:
    expected = hashlib.sha256(ONE if right else TWO).hexdigest()
    file = tmp_path / "file.bin"
    with Server(CONTENT) as server:
        server.faults += make()
        run = download(server.url(), file, wishes=DownloadOptions(checksum=Checksum("sha256", expected)))
        asked = len(server.requests)
    judge_run(run, versions)
    assert run.code == (0 if right else 7), run.said
    assert asked <= 20


@pytest.mark.parametrize(
    "make",
    [
        lambda: [faults.validators(etag=['"one"', '"b"'], honoured=False)],
        lambda: [faults.mirrors(Resource(CONTENT), FORGED)],
        lambda: [faults.until_close(), faults.ignore_range()],
    ],
    ids=["flipping", "mirrors", "until close"],
)
def test_a_checksum_lets_a_resumed_download_start_over(
    tmp_path: Path, make: Callable[[], list[Fault]]
) -> None:
    file = tmp_path / "file.bin"
    with Server(CONTENT) as server:
        server.faults += make()
        leave_version_one(file, server.url(), Resource(CONTENT))
        checksum = Checksum("sha256", hashlib.sha256(ONE).hexdigest())
        run = download(server.url(), file, wishes=DownloadOptions(checksum=checksum))
    judge_run(run, (ONE,))
    assert run.code == 0, run.said
