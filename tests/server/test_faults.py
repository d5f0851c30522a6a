"""Faults that take turns, compose, strike under conditions and change the world."""

from __future__ import annotations

import re
import threading
import time

import pytest

from tests.server.asking import DATA, NONE, PART, RANGE, TAG, Answer, ask
from tests.support import faults
from tests.support.server import Resource, Server


def test_a_reset_before_the_answer_and_one_in_the_headers(server: Server) -> None:
    server.faults += [
        faults.reset(where="before", when=faults.nth(1)),
        faults.reset(20, "headers", when=faults.nth(2)),
    ]
    assert ask(server) == Answer(b"", "reset")
    assert ask(server) == Answer(b"HTTP/1.1 200 OK\r\nDat", "reset")
    assert [seen.status for seen in server.requests] == [0, 200]
    assert ask(server).body == DATA


def test_a_stall_lasts_until_the_client_leaves(server: Server) -> None:
    server.faults.append(faults.stall(after=100))
    answer = ask(server, RANGE, patience=2.0)
    assert (answer.body, answer.end) == (PART[:100], "timeout")
    server.wait_until_idle()
    assert server.requests[0].body_bytes_sent == 100
    assert not server.requests[0].finished


def test_endless_headers_end_with_the_client(server: Server) -> None:
    server.faults.append(faults.endless_headers())
    answer = ask(server, most=1 << 20)
    assert b"\r\n\r\n" not in answer.raw
    assert answer.raw.startswith(b"HTTP/1.1 200 OK\r\n")
    server.wait_until_idle()


def test_http_09_is_a_body_and_nothing_else(server: Server) -> None:
    server.faults += [faults.http09(when=faults.nth(1)), faults.raw(b"any\nthing\n\n", when=faults.nth(2))]
    assert ask(server, RANGE).raw == PART
    assert ask(server, RANGE).raw == b"any\nthing\n\n" + PART


def test_informational_answers_come_first(server: Server) -> None:
    server.faults.append(faults.informational(100, times=2))
    first, second, answer = ask(server, RANGE).raw.split(b"\r\n\r\n", 2)
    assert first == second == b"HTTP/1.1 100 Wait\r\nX-Hint: none"
    assert answer.startswith(b"HTTP/1.1 206 Partial Content\r\n")


def test_a_truncated_chunked_body_ends_within_a_chunk(server: Server) -> None:
    server.faults += [faults.chunked(300), faults.fin(450)]
    assert ask(server, RANGE).body == b"12c\r\n" + PART[:300] + b"\r\n12c\r\n" + PART[300:450]


def test_validators_take_turns_and_mirrors_too(server: Server) -> None:
    server.faults.append(faults.validators(etag=['"a"', None, '"b"']))
    assert [ask(server, RANGE).headers.get("ETag") for _ in range(4)] == ['"a"', None, '"b"', '"a"']
    server.faults[:] = [faults.mirrors(Resource(b"one"), Resource(b"two"))]
    assert [ask(server).body for _ in range(3)] == [b"one", b"two", b"one"]


def test_conditions_choose_the_requests(server: Server) -> None:
    conditions = {
        "always": (faults.always, "xxxxxx"),
        "nth": (faults.nth(1, 3), "x.x..."),
        "first": (faults.first(2), "xx...."),
        "after": (faults.after(4), "....xx"),
        "every": (faults.every(3), "..x..x"),
        "successes": (faults.after_successes(3), "...xxx"),
        "path": (faults.path("/other"), "......"),
        "not": (~faults.nth(1), ".xxxxx"),
        "or": (faults.nth(2) | faults.first(1), "xx...."),
        "and": (faults.ranged & faults.nth(2), "..x..."),
        "suffix": (faults.suffix, "....x."),
        "conditional": (faults.conditional, ".....x"),
        "beyond": (faults.beyond(10), "..xx.."),
        "method": (faults.method("HEAD"), "......"),
        "connection": (faults.connection(lambda number: number % 2 == 1), "x.x.x."),
    }
    asked = [{"Range": value} for value in ("bytes=0-9", "bytes=10-19", "bytes=20-29", "bytes=-10")]
    requests = [NONE, *asked, {"If-Match": TAG}]
    for name, (when, expected) in conditions.items():
        with Server(DATA) as fresh:
            fresh.faults.append(faults.header("X-Fault", "x", when=when))
            answers = [ask(fresh, request) for request in requests]
        assert "".join(answer.headers.get("X-Fault") or "." for answer in answers) == expected, name


def test_chance_is_the_same_every_time() -> None:
    def run() -> list[int]:
        with Server(DATA) as server:
            server.faults.append(faults.ignore_range(when=faults.chance(0.5, seed=1)))
            return [ask(server, RANGE).status for _ in range(20)]

    statuses = run()
    assert set(statuses) == {200, 206}
    assert statuses == run()


def test_faults_compose_and_are_logged(server: Server) -> None:
    server.faults += [
        faults.status(503, when=faults.first(1)),
        faults.status(429, when=faults.first(1)),
        faults.weaken(),
        faults.shorter(10),
        faults.fin(50),
    ]
    statuses = [ask(server, RANGE) for _ in range(3)]
    assert [answer.status for answer in statuses] == [503, 429, 206]
    assert statuses[2].headers.get("Content-Range") == "bytes 1000-1989/200000"
    assert statuses[2].body == PART[:50]
    assert server.requests[2].faults == ["weak ETag", "shorter part", "fin"]


def test_hops_lead_to_the_end_and_a_circle_does_not(server: Server) -> None:
    server.faults.append(faults.hops(3, server.url(host="localhost")))
    places = [ask(server, target=f"/hop/{left}").headers.get("Location") for left in (3, 2, 1)]
    assert places == ["/hop/2", "/hop/1", f"http://localhost:{server.port}/file.bin"]
    server.faults[:] = [faults.redirect("/file.bin", 308)]
    assert [ask(server).headers.get("Location") for _ in range(2)] == ["/file.bin", "/file.bin"]


def test_a_signature_expires_and_a_new_one_opens(server: Server) -> None:
    server.faults.append(faults.signed(uses=2))
    first = ask(server, target="/download").headers.get("Location") or ""
    assert [ask(server, target=first).status for _ in range(3)] == [200, 200, 403]
    second = ask(server, target="/download").headers.get("Location") or ""
    assert second != first
    assert ask(server, target=second).body == DATA
    assert ask(server).status == 403


@pytest.mark.parametrize(("refusal", "expected"), [(503, (503, "eof")), ("reset", (0, "reset"))])
def test_a_limit_counts_what_is_being_answered(
    server: Server, refusal: int, expected: tuple[int, str]
) -> None:
    gate = threading.Event()
    server.faults += [faults.limit(2, refusal), faults.hold(gate, 10, when=faults.first(2))]
    answers: list[Answer] = []
    crowd = [threading.Thread(target=lambda: answers.append(ask(server, RANGE))) for _ in range(2)]
    for thread in crowd:
        thread.start()
    while sum(seen.body_bytes_sent for seen in server.requests) < 20:
        time.sleep(0.001)
    refused = ask(server, RANGE)
    gate.set()
    for thread in crowd:
        thread.join()
    assert (refused.status if refused.raw else 0, refused.end) == expected
    assert [answer.body for answer in answers] == [PART, PART]
    assert ask(server, RANGE).body == PART
    assert (server.peak, server.active) == (3, 0)


def test_the_world_changes_before_and_during_an_answer(server: Server) -> None:
    def change(running: Server) -> None:
        running.resources["/file.bin"] = Resource(b"new", etag='"two"')

    server.faults.append(faults.at(change, 100, when=faults.nth(1)))
    assert ask(server).body == DATA
    assert ask(server).body == b"new"
    server.resources["/file.bin"] = Resource(DATA)
    server.faults[:] = [faults.call(change, when=faults.nth(2))]
    assert [ask(server).headers.get("ETag") for _ in range(2)] == [TAG, '"two"']


def test_retry_after_takes_a_date(server: Server) -> None:
    server.faults.append(faults.retry_after(faults.http_date(60)))
    assert re.fullmatch(r"\w{3}, .* GMT", ask(server).headers.get("Retry-After") or "")
