"""Lengths, chunks, header fields and heads that are wrong, missing or endless."""

from __future__ import annotations

from pathlib import Path

from tests.hostile.rows import Row, after, bind, first, fresh_and_resumed, nth, row
from tests.hostile.runs import run_row
from tests.support import faults
from tests.support.server import Exchange, Fault, Reply


def length_off_by(difference: int) -> Fault:
    """Announce a Content-Length that is wrong by a few bytes."""

    def edit(exchange: Exchange, reply: Reply) -> None:
        reply.headers.put("Content-Length", str(reply.body.size + difference))

    return Fault(f"length off by {difference}", faults.always, answer=edit)


ROWS = [
    row("chunked", lambda: [faults.chunked()]),
    row("chunked and cut", lambda: [faults.chunked(), faults.fin(200_000, when=first(2))]),
    row("chunked stream", lambda: [faults.chunked(), faults.ignore_range()]),
    row(
        "chunked stream, cut",
        lambda: [faults.chunked(), faults.ignore_range(), faults.fin(200_000, when=first(2))],
    ),
    row(
        "chunked stream, always cut",
        lambda: [faults.chunked(), faults.ignore_range(), faults.fin(200_000)],
        3,
    ),
    row("chunked stream from the second on", lambda: [faults.chunked(), faults.ignore_range(when=after(1))]),
    row(
        "longer chunked stream from the second on",
        lambda: [faults.chunked(), faults.ignore_range(when=after(1)), faults.resized(1000, when=after(1))],
        5,
    ),
    row("until close", lambda: [faults.until_close()]),
    row("until close, cut", lambda: [faults.until_close(), faults.fin(200_000, when=first(2))]),
    row("stream until close", lambda: [faults.until_close(), faults.ignore_range()], 4, {0, 4}),
    row(
        "stream until close, cut",
        lambda: [faults.until_close(), faults.ignore_range(), faults.fin(200_000)],
        4,
        {3, 4},
    ),
    row(
        "stream until close from the second on",
        lambda: [faults.until_close(), faults.ignore_range(when=after(1))],
    ),
    row(
        "stream until close from the second on, cut",
        lambda: [
            faults.until_close(),
            faults.ignore_range(when=after(1)),
            faults.fin(200_000, when=after(1)),
        ],
        3,
    ),
    row("206 without length", lambda: [faults.header("Content-Length")]),
    *(
        row(f"length {kind}", bind(lambda kind: [faults.wrong_length(kind)], kind), 4)
        for kind in faults.WRONG_LENGTHS
    ),
    *(
        row(f"length {kind}, once", bind(lambda kind: [faults.wrong_length(kind, when=nth(2))], kind))
        for kind in faults.WRONG_LENGTHS
    ),
    row("length one too long", lambda: [length_off_by(1)], {3, 4}),
    row("length one too short", lambda: [length_off_by(-1)], 4),
    row("coding beside length", lambda: [faults.te_beside_length()], 4),
    row("coding beside length, once", lambda: [faults.te_beside_length(when=nth(2))]),
    row("Transfer-Encoding: gzip", lambda: [faults.header("Transfer-Encoding", "gzip")], 4),
    row("HTTP/0.9", lambda: [faults.http09()], 4),
    row("HTTP/0.9 once", lambda: [faults.http09(when=nth(2))]),
    *(
        row(f"head {name}", bind(lambda head: [faults.raw(head)], head), 4)
        for name, head in {
            "of noughts": b"\x00\x01\x02junk\r\n\r\n",
            "of HTTP/2": b"HTTP/2 200 OK\r\n\r\n",
            "of SSH": b"SSH-2.0-OpenSSH_9\r\n",
            "of ICY": b"ICY 200 OK\r\n\r\n",
            "of status 99999": b"HTTP/1.1 99999 OK\r\n\r\n",
            "of status 099": b"HTTP/1.1 099 OK\r\n\r\n",
            "of 300,000 bytes": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000 + b"\r\n\r\n",
        }.items()
    ),
    *(  # a malformed field is dropped: what is left is a body of unknown length
        row(f"head {name}", bind(lambda head: [faults.raw(head)], head), 4, resumed={0, 5})
        for name, head in {
            "with a bad line": b"HTTP/1.1 200 OK\r\nno field at all\r\n\r\n",
            "with an empty name": b"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
            "with a control character": b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n",
            "of 100,000 bytes": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        }.items()
    ),
    row("a garbled head once", lambda: [faults.raw(b"junk\r\n\r\n", when=nth(2))]),
    row("endless headers", lambda: [faults.endless_headers()], 4),
    row("endless headers, dripped", lambda: [faults.endless_headers(0.05)], {3, 4}, timeout=0.4),
    row("endless headers once", lambda: [faults.endless_headers(when=nth(2))]),
    row("101", lambda: [faults.status(101)], 4),
]

# What came to light in other tests.
FOUND = [
    row("chunks of 700 bytes", lambda: [faults.ignore_range(), faults.chunked(700)]),
    row("chunks whose lines end with LF alone", lambda: [faults.ignore_range(), faults.odd_chunks("LF")]),
    row("a header line without a name", lambda: [faults.header("(odd)", "x")]),
    row("80 KB of cookies", lambda: [faults.header("Set-Cookie", *["c=" + "x" * 4000] * 20)]),
    row("junk after some answers", lambda: [faults.raw(b"junk\r\n\r\n", when=nth(3, 4, 5))]),
]


@fresh_and_resumed(ROWS + FOUND)
def test_right_or_refused(each: Row, resumed: bool, tmp_path: Path) -> None:
    run_row(each, resumed, tmp_path)
