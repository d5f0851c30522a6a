"""Each switch, one by one."""

from __future__ import annotations

import gzip
import hashlib
import inspect
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.server.asking import DATA, NONE, PART, RANGE, SIZE, TAG, ask
from tests.support import faults
from tests.support.server import Fault, Server, basic


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


def test_no_switch_is_left_out() -> None:
    """Every function that makes a fault is used in the tests of this folder."""
    makers = [
        name
        for name, value in vars(faults).items()
        if inspect.isfunction(value) and value.__annotations__.get("return") == "Fault" and name[0] != "_"
    ]
    text = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    assert len(makers) > 40
    assert [name for name in makers if f"faults.{name}(" not in text] == []
