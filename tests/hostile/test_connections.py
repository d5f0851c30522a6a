"""Connections that break off, are refused, limited, closed unannounced, or not there at all."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Literal

import pytest

from smartremote_cli.core.blocks import BLOCK
from tests.hostile.rows import CONTENT, MIB, ONE, QUERY, Row, bind, every, first, fresh_and_resumed, nth, row
from tests.hostile.runs import download, judge_run, run_row
from tests.support import faults
from tests.support.server import Exchange, Fault, Reply, Server, unanswered_port, unused_port


def old_protocol() -> Fault:
    """Answer as HTTP/1.0 does: the connection ends with the body."""

    def edit(exchange: Exchange, reply: Reply) -> None:
        lines = [f"HTTP/1.0 {reply.status} OK", *(f"{name}: {value}" for name, value in reply.headers)]
        reply.head = "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")
        reply.close = True

    return Fault("HTTP/1.0", faults.always, answer=edit)


def odd_spelling() -> Fault:
    """Write lower-case names, spaces and tabs around values, and upper-case units."""

    def edit(exchange: Exchange, reply: Reply) -> None:
        for name, value in list(reply.headers):
            reply.headers.drop(name)
            reply.headers.append((name.lower(), f" \t{value.replace('bytes ', 'Bytes ')} \t "))

    return Fault("odd spelling", faults.always, answer=edit)


ROWS = [
    row("nothing", lambda: []),
    *(
        row(
            f"{kind.__name__} {where} {how}",
            bind(lambda kind, where, when: [kind(40, where, when=when())], kind, where, when),
            code,
        )
        for kind in (faults.reset, faults.fin)
        for where in ("before", "headers", "body")
        for how, when, code in (("twice", lambda: first(2), 0), ("always", lambda: faults.always, 3))
    ),
    *(
        row(
            f"{kind.__name__} after {at} bytes, each time",
            bind(lambda kind, at: [kind(at)], kind, at),
            requests=200,
        )
        for kind in (faults.reset, faults.fin)
        for at in (BLOCK - 1, BLOCK, BLOCK + 1, MIB, MIB + 1)
    ),
    row("one byte an answer", lambda: [faults.fin(1)], 3, requests=60),
    row("silent close", lambda: [faults.silent_close()]),
    row("silent close of a stream", lambda: [faults.silent_close(), faults.ignore_range()]),
    row("resets and 503s", lambda: [faults.reset(700_000), faults.status(503, when=every(3))], requests=80),
    row("limit 1: 503", lambda: [faults.limit(1), faults.pace(8 * MIB)]),
    row("limit 2: 503", lambda: [faults.limit(2), faults.pace(8 * MIB)]),
    row("limit 2: 429", lambda: [faults.limit(2, 429), faults.pace(8 * MIB)]),
    row("limit 2: 403", lambda: [faults.limit(2, 403), faults.pace(8 * MIB)]),
    row("limit 2: reset", lambda: [faults.limit(2, "reset"), faults.pace(8 * MIB)]),
    row("HTTP/1.0", lambda: [old_protocol()]),
    row("HTTP/1.0 without ranges", lambda: [old_protocol(), faults.ignore_range()]),
    row("no keep-alive", lambda: [faults.header("Connection", "close")]),
    row("odd spelling", lambda: [odd_spelling()]),
    row("103 before", lambda: [faults.informational()]),
    row("100, fifty times", lambda: [faults.informational(100, 50)]),
    row("next answer after the body", lambda: [faults.after_body()]),
    row("a byte after the body", lambda: [faults.after_body(b"x")]),
    row("bytes after a stream", lambda: [faults.after_body(b"y" * 3000), faults.ignore_range()]),
]


@fresh_and_resumed(ROWS)
def test_right_or_refused(each: Row, resumed: bool, tmp_path: Path) -> None:
    run_row(each, resumed, tmp_path)


def test_a_refused_connection_is_exit_3_after_two_tries(tmp_path: Path) -> None:
    run = download(f"http://127.0.0.1:{unused_port()}/file.bin{QUERY}", tmp_path / "file.bin")
    assert run.code == 3
    assert run.said.count("Retrying") == 1
    judge_run(run, ())


def test_a_connection_that_nobody_answers_is_exit_3(tmp_path: Path) -> None:
    with unanswered_port() as port:
        run = download(f"http://127.0.0.1:{port}/file.bin", tmp_path / "file.bin", timeout=0.3, retries=1)
    assert run.code == 3
    judge_run(run, ())


def test_an_unknown_host_is_exit_4(tmp_path: Path) -> None:
    run = download("http://no-such-host.invalid/file.bin", tmp_path / "file.bin")
    assert run.code in (3, 4)  # 3 where there is no resolver to ask
    judge_run(run, ())


def test_a_server_that_goes_away_for_a_while_is_waited_for(tmp_path: Path) -> None:
    """It comes back when the client has failed to reach it for the fifth time."""
    away = threading.Event()

    def go(server: Server) -> None:
        server.refuse_connections()
        away.set()

    def pause(failures: int, chance: float) -> float:
        if failures >= 5 and away.is_set():
            away.clear()
            server.accept_connections()
        return 0.01

    with Server(CONTENT) as server:
        server.faults += [
            faults.at(go, 300_000, when=nth(2)),
            faults.reset(where="before", when=faults.When(lambda exchange: away.is_set())),
        ]
        run = download(server.url(), tmp_path / "file.bin", retries=200, pause=pause)
    judge_run(run, (ONE,))
    assert run.code == 0, run.said
    assert not away.is_set()


@pytest.mark.parametrize("dropped", [1, 2, 3])
def test_connections_that_are_reset_on_arrival_are_made_again(tmp_path: Path, dropped: int) -> None:
    with Server(CONTENT) as server:
        server.drop = lambda connection: connection % 4 < dropped
        run = download(server.url(), tmp_path / "file.bin", retries=10)
    judge_run(run, (ONE,))
    assert run.code == 0, run.said


@pytest.mark.parametrize("refusal", [503, 429, "reset"])
def test_a_host_that_allows_two_gets_two(tmp_path: Path, refusal: int | Literal["reset"]) -> None:
    together = []

    def note(server: Server) -> None:
        together.append(server.active)

    with Server(CONTENT) as server:
        server.faults += [faults.limit(2, refusal), faults.pace(6 * MIB), faults.at(note, 100_000)]
        run = download(server.url(), tmp_path / "file.bin")
        refused = [seen for seen in server.requests if seen.status not in (200, 206)]
    judge_run(run, (ONE,))
    assert run.code == 0, run.said
    assert max(together) == 2
    assert len(refused) <= 12
