"""Without faults the server answers as the RFC says, and as nginx does."""

from __future__ import annotations

import http.client
import re

import pytest

from tests.server.asking import AFTER, BEFORE, DATA, DATE, RANGE, SIZE, TAG, ask
from tests.support.nginx import nginx_or_skip
from tests.support.server import Patched, Patterned, Resource, Server, pattern


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
