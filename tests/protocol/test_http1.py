"""HTTP/1 heads: what is sent, what is taken, what is refused, and where a body ends. Much of it is h11's own tables."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartremote_cli.protocol.headers import Headers
from smartremote_cli.protocol.http1 import (
    MAX_HEAD,
    Framing,
    GarbledError,
    Head,
    build_request,
    drop_malformed_fields,
    end_of_head,
    framing_of,
    may_be_head,
    parse_head,
    unfold,
)


def head_of(*lines: str, status: str = "HTTP/1.1 200 OK", end: str = "\r\n") -> Head:
    return parse_head("".join(f"{line}{end}" for line in (status, *lines, "")).encode("latin-1"))


# --- requests ---


def test_a_request_is_its_line_the_host_and_the_fields_as_given() -> None:
    assert build_request("/a?b", "h:81", [("Range", "bytes=0-1"), ("X", "")]) == (
        b"GET /a?b HTTP/1.1\r\nHost: h:81\r\nRange: bytes=0-1\r\nX: \r\n\r\n"
    )
    assert build_request("h:1", "h:1", [], method="CONNECT") == b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n"


def test_a_host_field_of_the_users_own_takes_the_place_of_ours() -> None:
    assert build_request("/", "h", [("A", "b"), ("hOST", "other")]) == (
        b"GET / HTTP/1.1\r\nA: b\r\nhOST: other\r\n\r\n"
    )


def test_a_value_may_have_any_latin_1_in_it() -> None:
    assert b"X: \xe9 \x80\t\x1b\r\n" in build_request("/", "h", [("X", "\xe9 \x80\t\x1b")])


@pytest.mark.parametrize("bad", ["\r", "\n", "\r\n", "\x00", "\x0b", "\x0c", "\r\nX: y", "\r\n\r\nGET /"])
def test_nothing_that_could_be_a_second_line_is_sent(bad: str) -> None:
    for target, host, field, method in (
        (f"/{bad}", "h", ("A", "b"), "GET"),
        ("/", f"h{bad}", ("A", "b"), "GET"),
        ("/", "h", ("A", f"b{bad}c"), "GET"),
        ("/", "h", (f"A{bad}", "b"), "GET"),
        ("/", "h", ("A", "b"), f"GET{bad}"),
    ):
        with pytest.raises(ValueError):  # noqa: PT011
            build_request(target, host, [field], method=method)


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("", []),
        ("/a b", []),
        ("/\x7f", []),
        ("/\xe9", []),
        ("/", [("", "b")]),
        ("/", [("A b", "c")]),
        ("/", [("A:", "c")]),
        ("/", [("\xe9", "c")]),
        ("/", [("A", "\u20ac")]),
    ],
)
def test_what_is_no_request_is_not_sent(target: str, fields: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        build_request(target, "h", fields)


# --- where a head begins and ends ---


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\r\n\n", b"\n\r\n"])
def test_a_head_ends_at_the_first_empty_line_however_it_comes(end: bytes) -> None:
    whole = b"HTTP/1.1 200 OK\r\nA: b" + end
    data = whole + b"body\r\n\r\n"
    assert end_of_head(data) == len(whole)
    looked = 0
    for length in range(len(data) + 1):  # byte by byte
        found = end_of_head(data[:length], looked)
        assert found == (len(whole) if length >= len(whole) else None)
        if found is not None:
            break
        looked = length


@pytest.mark.parametrize("start", [b"", b"H", b"HTTP", b"HTTP/1.1 2", b"http/1.", b"HTTP/1.0", b"hTtP/1.1"])
def test_what_may_become_a_head(start: bytes) -> None:
    assert may_be_head(start)


@pytest.mark.parametrize(
    "start",
    [b"x", b"\r\n", b" HTTP/1.1", b"HTTP/2", b"HTTP/0.9", b"ICY", b"SSH-2.0", b"\x15\x03\x01", b"<html>"],
)
def test_what_cannot_become_one(start: bytes) -> None:
    assert not may_be_head(start)


# --- status lines ---


@pytest.mark.parametrize(
    ("line", "minor", "status"),
    [
        ("HTTP/1.1 200 OK", 1, 200),
        ("HTTP/1.0 404 Not Found", 0, 404),
        ("HTTP/1.1 200 ", 1, 200),
        ("HTTP/1.1 200", 1, 200),
        ("HTTP/1.1 206 \xfc\t \x1b[31m", 1, 206),
        ("http/1.1 200 ok", 1, 200),
        ("HTTP/1.1 103 Early Hints", 1, 103),
        ("HTTP/1.1 999 what", 1, 999),
        ("HTTP/1.9 200 OK", 9, 200),
    ],
)
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_a_status_line(line: str, minor: int, status: int, end: str) -> None:
    head = head_of("A: b", status=line, end=end)
    assert (head.minor, head.status, list(head.headers)) == (minor, status, [("a", "b")])
    assert head.is_interim == (100 <= status < 200)


@pytest.mark.parametrize(
    "line",
    [
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 99999 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 000 OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1 \u00b2\u00b2\u00b2 OK",
        "HTTP/1.1 200OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        " HTTP/1.1 200 OK",
        "HTTP/1.10 200 OK",
        "HTTP/1 200 OK",
        "HTTP/2.0 200 OK",
        "HTTP/1.1 200 O\x00K",
        "HTTP/1.1 200 O\rK",
        "",
    ],
)
def test_what_is_no_status_line(line: str) -> None:
    with pytest.raises(GarbledError, match="status line"):
        head_of(status=line)


def test_an_error_quotes_a_line_harmlessly_and_in_part() -> None:
    with pytest.raises(GarbledError) as failed:
        head_of(status="HTTP/1.1 \x1b[31m" + "x" * MAX_HEAD)
    assert "\x1b" not in str(failed.value) and len(str(failed.value)) < 200


# --- fields ---


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("A: b", ("a", "b")),
        ("A:b", ("a", "b")),
        ("A:", ("a", "")),
        ("A: \t b \t ", ("a", "b")),
        ("A: b: c", ("a", "b: c")),
        ("!#$%&'*+-.^_`|~0aZ: x", ("!#$%&'*+-.^_`|~0az", "x")),
        ("A: \xe9\x80", ("a", "\xe9\x80")),
        ("A: \x01\x1b", ("a", "\x01\x1b")),
    ],
)
def test_a_field(line: str, field: tuple[str, str]) -> None:
    assert list(head_of(line).headers) == [field]


def test_fields_keep_their_order_and_their_doubles() -> None:
    lines = "B: 1", "A: 2", "b: 3"
    assert list(head_of(*lines).headers) == [("b", "1"), ("a", "2"), ("b", "3")]


def test_a_folded_field_is_one_with_blanks_between() -> None:
    assert list(head_of("A: b", "  c", "\td", "E: f").headers) == [("a", "b c d"), ("e", "f")]
    assert list(unfold([b"A: b", b" \t c", b"D: e"])) == [b"A: b c", b"D: e"]


def test_a_length_cannot_hide_behind_a_fold() -> None:
    assert framing_of(200, head_of("X: y", " Content-Length: 5").headers) == Framing()
    with pytest.raises(GarbledError):
        head_of("Content-Length: 5", " 6")
    with pytest.raises(GarbledError):
        head_of(" Content-Length: 5")  # nothing that it could continue


@pytest.mark.parametrize(
    "line",
    ["no field at all", ": x", "(odd): x", "X Y: z", "X : y", "X: \x00", "X: a\rb", "  folded: x", "X"],
)
def test_a_line_that_is_no_field_is_left_out(line: str) -> None:
    lines = (line, "A: b") if line.startswith(" ") else ("B: c", line, "A: b")
    assert [name for name, _ in head_of(*lines).headers if name != "b"] == ["a"]


def test_what_continues_a_malformed_line_goes_with_it() -> None:
    assert list(head_of("(odd): x", " ETag: y", "A: b").headers) == [("a", "b")]


@pytest.mark.parametrize(
    "line",
    [
        "Content-Length : 5",
        "Content-Length 5",
        " content-range: bytes 0-1/2",
        "Transfer-Encoding : chunked",
        "ETag : x",
        "ETag: \x00",
        "Last-Modified\t: x",
        "Location: \x00",
        "Connection : close",
        "Repr-Digest : x",
    ],
)
def test_a_malformed_line_that_may_have_counted_is_refused(line: str) -> None:
    with pytest.raises(GarbledError, match="header line"):
        head_of(line, "A: b")
    with pytest.raises(GarbledError):
        list(drop_malformed_fields([line.encode("latin-1")]))


# --- framing ---


@pytest.mark.parametrize(
    ("lines", "framing"),
    [
        ([], Framing()),
        (["Content-Length: 0"], Framing(length=0)),
        (["Content-Length: 5"], Framing(length=5)),
        (["Content-Length: 005"], Framing(length=5)),
        (["Content-Length: 5", "content-length: 5"], Framing(length=5)),
        (["Content-Length: 5, 5"], Framing(length=5)),
        (["Content-Length: 5 ,5", "Content-Length: 5"], Framing(length=5)),
        (["Transfer-Encoding: chunked"], Framing(chunked=True)),
        (["Transfer-Encoding: CHUNKED"], Framing(chunked=True)),
        (["Transfer-Encoding: chunked", "transfer-encoding: chunked"], Framing(chunked=True)),
        (["Transfer-Encoding: chunked, chunked"], Framing(chunked=True)),
        (["Transfer-Encoding: chunked", "Content-Length: 5"], Framing(chunked=True)),
    ],
)
@pytest.mark.parametrize("status", [200, 206, 404])
def test_what_ends_a_body(lines: list[str], framing: Framing, status: int) -> None:
    assert framing_of(status, head_of(*lines).headers) == framing


@pytest.mark.parametrize("status", [100, 103, 199, 204, 304])
@pytest.mark.parametrize("lines", [[], ["Content-Length: 5"], ["Transfer-Encoding: chunked"]])
def test_some_answers_have_no_body_whatever_they_announce(status: int, lines: list[str]) -> None:
    assert framing_of(status, head_of(*lines).headers) == Framing(length=0)


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5, 6"],
        ["Content-Length: 5,"],
        ["Content-Length: 05", "Content-Length: 5"],
        ["Content-Length:"],
        ["Content-Length: -1"],
        ["Content-Length: +5"],
        ["Content-Length: 0x10"],
        ["Content-Length: 1_000"],
        ["Content-Length: 5.0"],
        ["Content-Length: 5 6"],
        ["Content-Length: \u00b2"],
        ["Content-Length: " + "9" * 20],
        ["Transfer-Encoding: gzip"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: gzip"],
        ["Transfer-Encoding:"],
        ["Transfer-Encoding: chunked;x"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: \x0bchunked"],
    ],
)
def test_a_framing_that_cannot_be_known_is_refused(lines: list[str]) -> None:
    with pytest.raises(GarbledError):
        head_of(*lines)


@pytest.mark.parametrize(
    ("protocol", "lines", "persists"),
    [
        ("HTTP/1.1", [], True),
        ("HTTP/1.1", ["Connection: close"], False),
        ("HTTP/1.1", ["Connection: Upgrade, Close"], False),
        ("HTTP/1.1", ["Connection: keep-alive", "Connection: close"], False),
        ("HTTP/1.1", ["Connection: closed"], True),
        ("HTTP/1.1", ["Transfer-Encoding: chunked"], True),
        ("HTTP/1.1", ["Transfer-Encoding: chunked", "Content-Length: 5"], False),
        ("HTTP/1.0", [], False),
        ("HTTP/1.0", ["Connection: Keep-Alive"], True),
        ("HTTP/1.0", ["Connection: keep-alive, close"], False),
        ("HTTP/1.0", ["Connection: keep-alive", "Transfer-Encoding: chunked"], False),
    ],
)
def test_whether_a_connection_may_be_used_again(protocol: str, lines: list[str], persists: bool) -> None:
    assert bool(head_of(*lines, status=f"{protocol} 200 OK").persists) is persists


def test_headers_without_a_head_have_a_framing_too() -> None:
    """A client of the caller's own hands over fields that it has read itself."""
    assert framing_of(200, Headers([("Content-Length", "5")])) == Framing(length=5)
    assert framing_of(200, Headers([("Content-Length", "x")])) == Framing()
    assert framing_of(200, Headers([("Transfer-Encoding", "gzip")])) == Framing()


# --- beside h11 ---

PIECES = [
    *("Content-Length: 5", "Content-Length: 6", "Content-Length: 5, 5", "Transfer-Encoding: chunked", "X: y"),
    *(
        " fold",
        "\tz",
        "A:",
        ": b",
        "\xe9",
        "\x01",
        "\x00",
        "\r",
        "\r\n",
        "\n",
        "Content-Length",
        " ",
        'ETag: "x"',
        ",",
    ),
]


def h11_reads(data: bytes) -> tuple[int, list[tuple[str, str]]] | None:
    """Return status and fields as h11 has them, None where it takes *data* for no head."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    assert isinstance(event, h11.Response)
    fields = [(name.decode().lower(), value.decode("latin-1")) for name, value in event.headers]
    return event.status_code, [(name, value.strip(" \t")) for name, value in fields]


@given(st.lists(st.sampled_from([*PIECES, *["\r\n"] * 8]), max_size=12))
def test_what_h11_takes_is_taken_alike(pieces: list[str]) -> None:
    """It is stricter: it refuses a head for any line that is no field."""
    data = ("HTTP/1.1 200 OK\r\n" + "".join(pieces) + "\r\n\r\n").encode("latin-1")
    data = data[: end_of_head(data)]
    expected = h11_reads(data)
    if expected is not None:
        head = parse_head(data)
        assert (head.status, list(head.headers)) == expected
