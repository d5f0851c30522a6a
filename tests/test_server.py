"""The test server does what its switches say: asked by raw sockets, http.client and curl."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import inspect
import re
import socket
import ssl
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support import faults
from tests.support.nginx import nginx_or_skip
from tests.support.proxy import Proxy
from tests.support.server import (
    Certificates,
    Fault,
    Headers,
    Patched,
    Patterned,
    Resource,
    Server,
    basic,
    parse_head,
    pattern,
    unanswered_port,
    unused_port,
)

SIZE = 200_000
DATA = pattern(SIZE)
PART = DATA[1000:2000]
RANGE = {"Range": "bytes=1000-1999"}
TAG = '"one"'
DATE = "Wed, 01 Jan 2025 00:00:00 GMT"
AFTER, BEFORE = "Thu, 02 Jan 2025 00:00:00 GMT", "Tue, 31 Dec 2024 00:00:00 GMT"


@dataclass
class Answer:
    """What came over the wire, and how that ended."""

    raw: bytes = b""
    end: str = "eof"

    @property
    def head(self) -> str:
        return self.raw.partition(b"\r\n\r\n")[0].decode("latin-1")

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    @property
    def headers(self) -> Headers:
        lines = (line.partition(":") for line in self.head.split("\r\n")[1:])
        return Headers((name, value.strip()) for name, _, value in lines)


def ask(
    server: Server,
    headers: dict[str, str] | None = None,
    target: str = "/file.bin",
    method: str = "GET",
    *,
    patience: float = 5,
    most: int = 1 << 30,
) -> Answer:
    """Send one request on a connection of its own and read until it ends, however it does."""
    fields = {"Host": server.netloc, "Connection": "close", **(headers or {})}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    answer = Answer()
    with socket.create_connection((server.host, server.port), 5) as sock:
        sock.settimeout(patience)
        sock.sendall("\r\n".join(lines).encode())
        try:
            while len(answer.raw) < most and (arrived := sock.recv(1 << 16)):
                answer.raw += arrived
        except TimeoutError:
            answer.end = "timeout"
        except ConnectionResetError:
            answer.end = "reset"
    return answer


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(DATA) as running:
        yield running


@pytest.mark.parametrize(
    ("headers", "status", "length", "content_range"),
    [
        ({}, 200, SIZE, None),
        ({"Range": "bytes=0-0"}, 206, 1, "bytes 0-0/200000"),
        ({"Range": "bytes=1000-1999"}, 206, 1000, "bytes 1000-1999/200000"),
        ({"Range": "bytes=199990-"}, 206, 10, "bytes 199990-199999/200000"),
        ({"Range": "bytes=199990-999999"}, 206, 10, "bytes 199990-199999/200000"),
        ({"Range": "bytes=-10"}, 206, 10, "bytes 199990-199999/200000"),
        ({"Range": "bytes=-999999"}, 206, SIZE, "bytes 0-199999/200000"),
        ({"Range": "bytes=-0"}, 416, 14, "bytes */200000"),
        ({"Range": "bytes=200000-"}, 416, 14, "bytes */200000"),
        ({"Range": "bytes=5-4"}, 200, SIZE, None),
        ({"Range": "bytes=0-1,5-6"}, 200, SIZE, None),
        ({"Range": "blocks=0-1"}, 200, SIZE, None),
        ({**RANGE, "If-Range": TAG}, 206, 1000, "bytes 1000-1999/200000"),
        ({**RANGE, "If-Range": DATE}, 206, 1000, "bytes 1000-1999/200000"),
        ({**RANGE, "If-Range": '"two"'}, 200, SIZE, None),
        ({**RANGE, "If-Range": f"W/{TAG}"}, 200, SIZE, None),
        ({**RANGE, "If-Range": AFTER}, 200, SIZE, None),
        ({**RANGE, "If-Match": TAG}, 206, 1000, "bytes 1000-1999/200000"),
        ({**RANGE, "If-Match": f'"two", {TAG}'}, 206, 1000, "bytes 1000-1999/200000"),
        ({**RANGE, "If-Match": "*"}, 206, 1000, "bytes 1000-1999/200000"),
        ({**RANGE, "If-Match": '"two"'}, 412, 20, None),
        ({**RANGE, "If-Match": f"W/{TAG}"}, 412, 20, None),
        ({"If-None-Match": TAG}, 304, 0, None),
        ({"If-None-Match": f"W/{TAG}"}, 304, 0, None),
        ({"If-None-Match": '"two"', "If-Modified-Since": DATE}, 200, SIZE, None),
        ({"If-Modified-Since": DATE}, 304, 0, None),
        ({"If-Modified-Since": BEFORE}, 200, SIZE, None),
        ({"If-Modified-Since": "yesterday"}, 200, SIZE, None),
        ({"If-Unmodified-Since": BEFORE}, 412, 20, None),
        ({"If-Unmodified-Since": DATE}, 200, SIZE, None),
        ({"If-Unmodified-Since": BEFORE, "If-Match": TAG}, 200, SIZE, None),
    ],
)
def test_without_faults_it_answers_as_the_rfc_says(
    server: Server, headers: dict[str, str], status: int, length: int, content_range: str | None
) -> None:
    answer = ask(server, headers)
    assert (answer.status, len(answer.body)) == (status, length)
    assert answer.headers.get("Content-Range") == content_range
    assert answer.headers.get("Date")
    if match := re.match(r"bytes (\d+)-(\d+)/", content_range or ""):
        assert answer.body == DATA[int(match[1]) : int(match[2]) + 1]


def test_nginx_answers_the_same(server: Server) -> None:
    asked = ["bytes=0-0", "bytes=5-", "bytes=-7", "bytes=-999999", "bytes=-0", "bytes=200000-", "x=1-2"]
    with nginx_or_skip() as nginx:
        (nginx.folder / "file.bin").write_bytes(DATA)
        (nginx.folder / "empty").touch()
        server.resources["/empty"] = Resource(b"")
        for path in ("/file.bin", "/empty"):
            for value in asked:
                theirs, ours = _client(nginx.port, path, value), _client(server.port, path, value)
                assert ours[:2] == theirs[:2], (path, value)
                assert ours[2] == theirs[2] or ours[0] == 416, (path, value)
        logged = nginx.requests(at_least=14)
        assert [line.range for line in logged] == asked * 2
        assert (logged[2].method, logged[2].uri, logged[2].status) == ("GET", "/file.bin", 206)
        assert logged[2].body_bytes_sent == 7
        nginx.reset_log()
        assert nginx.requests() == []


def _client(port: int, path: str, asked: str) -> tuple[int, str | None, bytes]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    client.request("GET", path, headers={"Range": asked})
    answer = client.getresponse()
    result = (answer.status, answer.headers.get("Content-Range"), answer.read())
    client.close()
    return result


def test_nginx_serves_tls_and_reports_what_keeps_it_from_starting(certificates: Certificates) -> None:
    with nginx_or_skip(tls=certificates.files()) as nginx:
        (nginx.folder / "file.bin").write_bytes(DATA)
        context = ssl.create_default_context(cafile=certificates.ca)
        client = http.client.HTTPSConnection("127.0.0.1", nginx.port, timeout=5, context=context)
        client.request("GET", "/file.bin")
        assert client.getresponse().read() == DATA
        client.close()
    with pytest.raises(RuntimeError, match="nonsense"), nginx_or_skip(server=["nonsense;"]):
        pass


@dataclass
class Case:
    """A switch, what is asked, and what must come."""

    name: str
    fault: Fault
    status: int = 206
    body: bytes = PART
    headers: dict[str, list[str]] = field(default_factory=dict)
    asks: dict[str, str] = field(default_factory=lambda: dict(RANGE))
    end: str = "eof"
    method: str = "GET"


NO_RANGE: dict[str, list[str]] = {"Content-Range": []}
WHOLE = {"Content-Length": ["200000"], **NO_RANGE}
NONE: dict[str, str] = {}


def _chunks(data: bytes, size: int) -> bytes:
    cut = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in cut) + b"0\r\n\r\n"


def _digest(data: bytes, algorithm: str = "sha256") -> str:
    return b64encode(hashlib.new(algorithm, data).digest()).decode()


CASES = [
    Case("reset in the body", faults.reset(300), body=PART[:300], end="reset"),
    Case("reset in the whole", faults.reset(150_000), 200, DATA[:150_000], asks=NONE, end="reset"),
    Case("reset at its start", faults.reset(), body=b"", end="reset"),
    Case("fin in the body", faults.fin(300), body=PART[:300], headers={"Content-Length": ["1000"]}),
    Case("stall and go on", faults.stall(0.05, 300)),
    Case("drip", faults.drip(100, 0.01)),
    Case("pace", faults.pace(20_000)),
    Case("slow headers", faults.slow_headers(0.001, 10)),
    Case("silent close", faults.silent_close(), headers={"Connection": []}),
    Case("deaf", faults.deaf("If-Match"), asks={**RANGE, "If-Match": '"two"'}),
    Case("ignore range", faults.ignore_range(), 200, DATA, WHOLE),
    Case("unknown total", faults.unknown_total(), headers={"Content-Range": ["bytes 1000-1999/*"]}),
    Case("shorter", faults.shorter(10), 206, PART[:-10], {"Content-Range": ["bytes 1000-1989/200000"]}),
    Case(
        "shorter, dishonest",
        faults.shorter(10, honest=False),
        body=PART[:-10],
        headers={"Content-Range": ["bytes 1000-1999/200000"], "Content-Length": ["990"]},
    ),
    Case("longer", faults.longer(10), 206, DATA[1000:2010], {"Content-Range": ["bytes 1000-2009/200000"]}),
    Case("earlier", faults.earlier(10), 206, DATA[990:2000], {"Content-Range": ["bytes 990-1999/200000"]}),
    Case("later", faults.later(10), 206, DATA[1010:2000], {"Content-Range": ["bytes 1010-1999/200000"]}),
    Case(
        "displaced", faults.displaced(64), 206, DATA[1064:2064], {"Content-Range": ["bytes 1000-1999/200000"]}
    ),
    Case(
        "multipart",
        faults.multipart(),
        body=b"--edge\r\nContent-Range: bytes 1000-1999/200000\r\n\r\n" + PART + b"\r\n--edge--\r\n",
        headers={"Content-Type": ["multipart/byteranges; boundary=edge"], **NO_RANGE},
    ),
    Case("416", faults.unsatisfiable(), 416, b"no such range\n", {"Content-Range": ["bytes */200000"]}),
    Case("416 without size", faults.unsatisfiable(None), 416, b"no such range\n", NO_RANGE),
    Case(
        "416 with another", faults.unsatisfiable(5), 416, b"no such range\n", {"Content-Range": ["bytes */5"]}
    ),
    Case("part as 200", faults.part_as_200(), 200, PART, {"Content-Range": ["bytes 1000-1999/200000"]}),
    Case("part as 200, bare", faults.part_as_200(content_range=False), 200, PART, NO_RANGE),
    Case("suffix 501", faults.wrong_suffix("501"), 501, b"no such ranges here\n", asks={"Range": "bytes=-9"}),
    Case("suffix whole", faults.wrong_suffix("whole"), 200, DATA, WHOLE, {"Range": "bytes=-9"}),
    Case("suffix 416", faults.wrong_suffix("416"), 416, b"no\n", asks={"Range": "bytes=-9"}),
    Case("suffix head", faults.wrong_suffix("head"), 206, DATA[:9], asks={"Range": "bytes=-9"}),
    Case("suffix fault, other range", faults.wrong_suffix("501")),
    Case("validators", faults.validators(etag='"x"', last_modified=None), headers={"ETag": ['"x"']}),
    Case(
        "validators, honoured",
        faults.validators(etag='"x"'),
        200,
        DATA,
        {"ETag": ['"x"']},
        {**RANGE, "If-Range": TAG},
    ),
    Case(
        "validators, not honoured",
        faults.validators(etag='"x"', last_modified=None, honoured=False),
        headers={"ETag": ['"x"'], "Last-Modified": []},
        asks={**RANGE, "If-Range": TAG},
    ),
    Case("weak", faults.weaken(), headers={"ETag": [f"W/{TAG}"]}),
    Case(
        "412",
        faults.fail_precondition(),
        412,
        b"precondition failed\n",
        asks={**RANGE, "If-Match": TAG},
    ),
    Case("200 to If-Range", faults.distrust_if_range(), 200, DATA, WHOLE, {**RANGE, "If-Range": TAG}),
    Case("200 to If-Range, unasked", faults.distrust_if_range()),
    Case("growing", faults.resized(5), headers={"Content-Range": ["bytes 1000-1999/200005"]}),
    Case("grown", faults.resized(5), 206, DATA[-2:] + b"#" * 5, asks={"Range": "bytes=-7"}),
    Case("shrinking", faults.resized(-5), 206, DATA[-12:-5], asks={"Range": "bytes=-7"}),
    Case("gzip", faults.gzip_coded(), 200, gzip.compress(DATA, 0, mtime=0), {"Content-Encoding": ["gzip"]}),
    Case(
        "gzip of the part",
        faults.gzip_coded(of_part=True),
        body=gzip.compress(PART, 0, mtime=0),
        headers={"Content-Range": ["bytes 1000-1999/200000"]},
    ),
    Case("chunked", faults.chunked(300), 206, _chunks(PART, 300), {"Content-Length": []}),
    Case(
        "chunks that end with LF",
        faults.odd_chunks("LF"),
        body=b"3e8\n" + PART + b"\n0\n\n",
        headers={"Content-Length": []},
    ),
    Case("small parts", faults.at_most(10), 206, PART[:10], {"Content-Range": ["bytes 1000-1009/200000"]}),
    Case("203", faults.relabel(203), 203, DATA, {"Content-Length": ["200000"]}, NONE),
    Case(
        "206 of all",
        faults.relabel(206, whole=True),
        206,
        DATA,
        {"Content-Range": ["bytes 0-199999/200000"]},
        NONE,
    ),
    Case("until close", faults.until_close(), headers={"Content-Length": [], "Connection": ["close"]}),
    Case("header", faults.header("Server", "a", "b"), headers={"Server": ["a", "b"]}),
    Case(
        "te beside length",
        faults.te_beside_length(),
        206,
        _chunks(PART, 10_000),
        {"Content-Length": ["1000"]},
    ),
    Case(
        "after the body",
        faults.after_body(b"more"),
        body=PART + b"more",
        headers={"Content-Length": ["1000"]},
    ),
    Case("digest", faults.digest(), headers={"Repr-Digest": [f"sha-256=:{_digest(DATA)}:"]}),
    Case(
        "digest, wrong",
        faults.digest(right=False),
        headers={"Repr-Digest": [f"sha-256=:{_digest(DATA + b'wrong')}:"]},
    ),
    Case(
        "digest of the part",
        faults.digest("Content-Digest", algorithm="sha-512"),
        headers={"Content-Digest": [f"sha-512=:{_digest(PART, 'sha512')}:"]},
    ),
    Case("digest, old", faults.digest("Digest"), headers={"Digest": [f"sha-256={_digest(DATA)}"]}),
    Case("status", faults.status(503), 503, b"not now\n"),
    Case("204", faults.status(204), 204, b"", {"Content-Length": []}),
    Case("304", faults.status(304), 304, b"", {"Content-Length": []}),
    Case("retry after", faults.retry_after(7, 429), 429, b"not now\n", {"Retry-After": ["7"]}),
    Case("login page", faults.login_page(), 200, b"<html><form>Please log in</form></html>\n"),
    Case("no HEAD", faults.refuse_head(), 405, b"", method="HEAD"),
    Case("GET all the same", faults.refuse_head()),
    Case("stranger", faults.authenticate("me:pw"), 401, b"who are you?\n"),
    Case("friend", faults.authenticate("me:pw"), asks={**RANGE, "Authorization": basic("me:pw")}),
    Case("redirect", faults.redirect("file:///etc/passwd", 307), 307, b"elsewhere\n"),
    Case("redirect to nowhere", faults.redirect(None), 302, b"elsewhere\n", {"Location": []}),
    Case("limit of none", faults.limit(0, 429), 429, b"too many\n"),
    Case("limit not reached", faults.limit(1)),
    *(
        Case(f"status {code}", faults.status(code), code, b"not now\n")
        for code in (401, 403, 408, 425, 500, 504)
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_switch_does_what_it_says(server: Server, case: Case) -> None:
    server.faults.append(case.fault)
    answer = ask(server, case.asks, method=case.method)
    assert (answer.status, answer.end) == (case.status, case.end)
    assert answer.body == case.body
    for name, values in case.headers.items():
        assert answer.headers.all(name) == values
    server.wait_until_idle()
    assert server.requests[0].status == case.status


@pytest.mark.parametrize("kind", faults.WRONG_RANGES)
def test_content_range_is_wrong_in_every_way(server: Server, kind: str) -> None:
    server.faults.append(faults.wrong_range(kind))
    answer = ask(server, RANGE)
    assert (answer.status, answer.body) == (206, PART)
    assert answer.headers.all("Content-Range") == list(faults.WRONG_RANGES[kind](1000, 1999, SIZE))
    assert answer.headers.all("Content-Range") != ["bytes 1000-1999/200000"]


@pytest.mark.parametrize("kind", faults.WRONG_LENGTHS)
def test_content_length_is_wrong_in_every_way(server: Server, kind: str) -> None:
    server.faults.append(faults.wrong_length(kind))
    answer = ask(server, RANGE)
    assert answer.headers.all("Content-Length") == list(faults.WRONG_LENGTHS[kind])
    assert answer.body == PART


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
    answer = ask(server, RANGE, patience=0.1)
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


def test_what_is_served_may_be_anything(server: Server) -> None:
    content = Patched(Patterned(1 << 40, seed=7), {10: b"here", (1 << 40) - 2: b"xy"})
    headers = [("X-One", "1"), ("X-One", "2")]
    server.resources["/big"] = Resource(
        content, etag=None, ranges=True, headers=headers, content_disposition="attachment", content_type=None
    )
    server.resources["/still"] = Resource(DATA, ranges=False)
    answer = ask(server, {"Range": "bytes=8-17"}, "/big")
    plain = pattern(20, seed=7)
    assert answer.body == plain[8:10] + b"here" + plain[14:18]
    assert answer.headers.get("Content-Range") == f"bytes 8-17/{1 << 40}"
    assert answer.headers.all("x-one") == ["1", "2"]
    assert answer.headers.get("ETag") is answer.headers.get("Content-Type") is None
    assert answer.headers.get("Content-Disposition") == "attachment"
    assert ask(server, {"Range": "bytes=-3"}, "/big").body[1:] == b"xy"
    assert ask(server, RANGE, "/still").status == 200
    assert ask(server, target="/none").status == 404
    assert ask(server, method="POST").status == 405


def test_the_pattern_shows_wrong_offsets() -> None:
    size = 3 << 20
    data = pattern(size, seed=4)
    blocks = {data[at : at + 4096] for at in range(0, size, 4096)}
    assert len(blocks) == size // 4096
    assert data[1_000_000:2_500_000] == bytes(Patterned(size, 4).read(1_000_000, 1_500_000))
    assert data != pattern(size, seed=5)
    assert bytes(Patterned(10).read(8, 100)) == pattern(10)[8:]


def test_connections_are_kept_and_counted(server: Server) -> None:
    client = http.client.HTTPConnection(server.host, server.port, timeout=5)
    for method in ("GET", "HEAD", "GET"):
        client.request(method, "/file.bin?x=1", headers={"Range": "bytes=0-9"})
        client.getresponse().read()
    assert (server.connections, server.open_connections, server.peak) == (1, 1, 1)
    assert [seen.connection for seen in server.requests] == [1, 1, 1]
    assert [seen.body_bytes_sent for seen in server.requests] == [10, 0, 10]
    assert server.requests[1].sent_headers.get("Content-Length") == str(SIZE)
    assert server.requests[0].path == "/file.bin"
    assert server.ranges == ["bytes=0-9"] * 3
    assert server.body_bytes == 20
    server.reset_log()
    assert (server.requests, server.connections, server.peak) == ([], 0, 0)
    client.close()


def test_what_is_no_request_is_400(server: Server) -> None:
    with socket.create_connection((server.host, server.port), 5) as sock:
        sock.sendall(b"nonsense\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert parse_head(b"GET / HTTP/1.1\r\nno colon\r\n\r\n") is None


def test_connections_are_dropped_and_refused_on_demand(server: Server) -> None:
    server.drop = lambda connection: connection == 2
    ends: list[object] = []
    for _ in range(3):
        try:
            ends.append(ask(server, RANGE).end)
        except ConnectionResetError:  # the RST was faster than the request
            ends.append("reset")
    assert ends == ["eof", "reset", "eof"]
    server.refuse_connections()
    with pytest.raises(ConnectionRefusedError):
        ask(server)
    server.accept_connections()
    assert ask(server).body == DATA


def test_closing_resets_what_is_open_and_leaves_no_thread() -> None:
    before = threading.active_count()
    idle, stalled = socket.socket(), socket.socket()
    with Server(Patterned(1 << 30)) as server:
        server.faults.append(faults.stall(after=1, when=faults.nth(2)))
        for sock in (idle, stalled):
            sock.connect((server.host, server.port))
            sock.settimeout(5)
            sock.sendall(b"GET /file.bin HTTP/1.1\r\nHost: here\r\n\r\n")
            sock.recv(1)
            while not server.requests[-1].body_bytes_sent:
                time.sleep(0.001)
    assert threading.active_count() == before
    with idle, stalled:
        for sock in (idle, stalled):
            with pytest.raises(ConnectionResetError):
                _read_to_the_end(sock)


def _read_to_the_end(sock: socket.socket) -> None:
    while sock.recv(1 << 20):
        pass


def test_a_failing_thread_fails_the_test(capfd: pytest.CaptureFixture[str]) -> None:
    def explode(server: Server) -> None:
        raise ZeroDivisionError

    server = Server(DATA)
    server.faults.append(faults.call(explode))
    assert ask(server) == Answer(b"", "reset")
    with pytest.raises(ZeroDivisionError), server:
        pass
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_small_send_buffer_makes_the_count_honest() -> None:
    with Server(Patterned(1 << 30), send_buffer=16 * 1024) as server, socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        sock.connect((server.host, server.port))
        sock.sendall(b"GET /file.bin HTTP/1.1\r\n\r\n")
        sock.recv(1000)
        time.sleep(0.05)
        assert server.body_bytes < 1 << 20


def test_forty_megabytes_arrive_whole_over_curl(tmp_path: Path) -> None:
    with Server(Patterned(40 << 20)) as server:
        subprocess.run(["curl", "-sSfo", tmp_path / "file", server.url()], check=True, timeout=20)
        assert server.requests[0].finished
    assert (tmp_path / "file").read_bytes() == pattern(40 << 20)


@pytest.mark.parametrize(
    ("name", "fails"),
    [
        ("good", ""),
        ("expired", "expired"),
        ("other-name", "IP address mismatch"),
        ("self-signed", "self.signed"),
    ],
)
def test_certificates_are_good_and_bad(certificates: Certificates, name: str, fails: str) -> None:
    with Server(Patterned(1 << 20), tls=certificates.context(name)) as server:
        assert server.url().startswith("https://127.0.0.1:")
        if fails:
            with pytest.raises(ssl.SSLCertVerificationError, match=fails):
                _fetch(server, certificates)
        else:
            assert _fetch(server, certificates) == pattern(1 << 20)


def _fetch(server: Server, certificates: Certificates) -> bytes:
    context = ssl.create_default_context(cafile=certificates.ca)
    client = http.client.HTTPSConnection(server.host, server.port, timeout=5, context=context)
    with contextlib.closing(client):
        client.request("GET", "/file.bin")
        return client.getresponse().read()


def test_faults_reach_through_tls(certificates: Certificates) -> None:
    with Server(DATA, tls=certificates.context()) as server:
        server.faults += [faults.fin(100, when=faults.nth(1)), faults.reset(100, when=faults.nth(2))]
        for _ in range(2):  # a reset is an end like others to Python's ssl, depending on its version
            with pytest.raises((http.client.IncompleteRead, ssl.SSLError, ConnectionResetError)):
                _fetch(server, certificates)


def test_it_serves_on_ipv6() -> None:
    try:
        server = Server(DATA, host="::1")
    except OSError:
        pytest.skip("NOT TESTED: no IPv6 loopback here")
    with server:
        assert server.url() == f"http://[::1]:{server.port}/file.bin"
        assert ask(server, RANGE).body == PART


def test_ports_that_refuse_and_ports_that_say_nothing() -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", unused_port()), 5)
    with unanswered_port() as port, pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", port), 0.2)


def _curl(*arguments: str | Path) -> tuple[int, str]:
    command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}/%{http_connect}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout


def test_a_proxy_passes_on_and_tunnels(server: Server, certificates: Certificates) -> None:
    secure = Server(DATA, tls=certificates.context())
    with secure, Proxy(user="me:pw", hosts={"far.example": ("127.0.0.1", server.port)}) as proxy:
        through = ("-x", proxy.url("me:pw"), "--cacert", certificates.ca)
        assert _curl(*through, server.url(), "-o", "/dev/null", server.url()) == (0, "200/000200/000")
        assert _curl(*through, secure.url()) == (0, "200/200")
        assert _curl(*through, "http://far.example/file.bin?x=1") == (0, "200/000")
        assert _curl(*through, f"http://127.0.0.1:{unused_port()}/") == (0, "502/000")
        assert _curl("-x", proxy.url(), server.url()) == (0, "407/000")
        assert _curl("-x", proxy.url("me:no"), secure.url()) == (56, "000/407")
        assert [seen.method for seen in proxy.requests].count("CONNECT") == 2
        assert proxy.requests[0].target == server.url()
        assert [seen.status for seen in proxy.requests] == [0, 0, 200, 0, 502, 407, 407]
        assert [seen.target for seen in server.requests] == ["/file.bin", "/file.bin", "/file.bin?x=1"]
        assert all(seen.header("Proxy-Authorization") is None for seen in server.requests)


def test_a_proxy_fails_on_demand(server: Server, certificates: Certificates) -> None:
    with Server(DATA, tls=certificates.context()) as secure, Proxy(failure=502) as proxy:
        assert _curl("-x", proxy.url(), server.url()) == (0, "502/000")
        assert _curl("-kx", proxy.url(), secure.url()) == (56, "000/502")
        proxy.failure = "close"
        assert _curl("-x", proxy.url(), server.url()) == (52, "000/000")
        proxy.failure = "reset"
        assert _curl("-x", proxy.url(), server.url()) == (56, "000/000")
        proxy.failure = None
        proxy.refuse_connections()
        assert _curl("-x", proxy.url(), server.url()) == (7, "000/000")
        assert secure.requests == server.requests == []


def test_no_switch_is_left_out() -> None:
    """Every function of faults.py that makes a fault is used in this file."""
    makers = [
        name
        for name, value in vars(faults).items()
        if inspect.isfunction(value) and value.__annotations__.get("return") == "Fault" and name[0] != "_"
    ]
    text = Path(__file__).read_text()
    assert len(makers) > 40
    assert [name for name in makers if f"faults.{name}(" not in text] == []
