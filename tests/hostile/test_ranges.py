"""Ranges that are ignored, mislabelled, or other than what was asked for."""

from __future__ import annotations

from pathlib import Path

from smartremote_cli.core.blocks import BLOCK
from tests.hostile.rows import MIB, ONE, Row, after, bind, every, first, fresh_and_resumed, nth, row
from tests.hostile.runs import run_row
from tests.support import faults
from tests.support.server import Fault


def relabelled(when: faults.When) -> list[Fault]:
    """Send the part that was asked for as if it were everything, without a length."""
    return [faults.part_as_200(content_range=False, when=when), faults.chunked(when=when)]


ROWS = [
    row("ignored", lambda: [faults.ignore_range()]),
    row("ignored every second time", lambda: [faults.ignore_range(when=every(2))]),
    row("ignored at first", lambda: [faults.ignore_range(when=nth(1))]),
    row("ignored once later", lambda: [faults.ignore_range(when=nth(3))]),
    row("ignored from the second on", lambda: [faults.ignore_range(when=after(1))]),
    row("ignored, and broken off", lambda: [faults.ignore_range(), faults.fin(3 * MIB, when=first(2))]),
    row("ignored, and broken off each time", lambda: [faults.ignore_range(), faults.fin(3 * MIB)], 3),
    row(
        "ignored until it breaks",
        lambda: [faults.ignore_range(when=nth(1)), faults.fin(3 * MIB, when=nth(1))],
    ),
    *(
        row(
            f"Content-Range {kind}, {how}",
            bind(lambda kind, when: [faults.wrong_range(kind, when=when())], kind, when),
        )
        for kind in faults.WRONG_RANGES
        if kind != "total"
        for how, when in (
            ("always", lambda: faults.always),
            ("once", lambda: nth(2)),
        )
    ),
    row("another total", lambda: [faults.wrong_range("total")], 5, versions=(ONE, ONE + b"\0")),
    row("another total, once", lambda: [faults.wrong_range("total", when=nth(2))], 5),
    row(
        "wrong start, and a stream that breaks",
        lambda: [faults.wrong_range("start"), faults.fin(3 * MIB, when=nth(3))],
    ),
    row("unknown total", lambda: [faults.unknown_total()]),
    row("unknown total, every second time", lambda: [faults.unknown_total(when=every(2))]),
    *(
        row(
            f"{kind.__name__} by {by}, {'said' if honest else 'hidden'}",
            bind(lambda k, b, h: [k(b, honest=h)], kind, by, honest),
            requests=90,
        )
        for kind in (faults.shorter, faults.longer, faults.earlier, faults.later)
        for by in (1, 1000, BLOCK, 300_000, 2 * MIB)
        for honest in (True, False)
    ),
    row("displaced, all but the first", lambda: [faults.displaced(1, when=after(1))], 0, 5),
    *(
        row(f"displaced by {by}, once", bind(lambda by: [faults.displaced(by, when=nth(3))], by), 0, 5)
        for by in (1, -1, BLOCK, MIB)
    ),
    row("multipart", lambda: [faults.multipart()]),
    row("multipart once", lambda: [faults.multipart(when=nth(2))]),
    *(
        row(f"416 with {size}", bind(lambda size: [faults.unsatisfiable(size)], size))
        for size in ("right", None, 0, 100, 1 << 40)
    ),
    *(
        row(f"416 with {size}, once", bind(lambda size: [faults.unsatisfiable(size, when=nth(2))], size))
        for size in ("right", None, 0, 100, 1 << 40)
    ),
    row("part as 200", lambda: [faults.part_as_200()]),
    row("part as 200 once", lambda: [faults.part_as_200(when=nth(2))]),
    row("part as 200, unsaid", lambda: [faults.part_as_200(content_range=False)]),
    row("part as 200, unsaid, once", lambda: [faults.part_as_200(content_range=False, when=nth(2))]),
    row("part as 200, unsaid, later", lambda: [faults.part_as_200(content_range=False, when=after(1))]),
    row("part as 200, chunked", lambda: [faults.part_as_200(content_range=False), faults.chunked()]),
    *(
        row(f"part as 200, chunked, {name}", bind(relabelled, when))
        for name, when in {"once": nth(2), "twice": nth(2, 3), "later": after(1), "often": every(2)}.items()
    ),
    row(
        "part as 200, chunked, no validators",
        lambda: [
            faults.validators(etag=None, last_modified=None),
            faults.part_as_200(content_range=False, when=after(1)),
            faults.chunked(when=after(1)),
        ],
    ),
    row(
        "Content-Type multipart", lambda: [faults.header("Content-Type", "multipart/byteranges; boundary=x")]
    ),
    row("Accept-Ranges: none", lambda: [faults.header("Accept-Ranges", "none")]),
]

# What came to light in other tests.
FOUND = [
    row(
        "seams of displaced parts, kept, when a stream takes over",
        lambda: [faults.later(BLOCK, honest=False), faults.until_close()],
        0,
        5,
    ),
    row("parts of 1100 bytes", lambda: [faults.at_most(1100)]),
    row("parts of 4096 bytes", lambda: [faults.at_most(4096)]),
    row("203 to everything", lambda: [faults.ignore_range(), faults.relabel(203)]),
    row(
        "206 of all to whoever asks for no range",
        lambda: [faults.ignore_range(), faults.relabel(206, whole=True)],
    ),
    row(
        "a Content-Range of all beside every 200",
        lambda: [faults.ignore_range(), faults.relabel(200, whole=True)],
    ),
]


@fresh_and_resumed(ROWS + FOUND)
def test_right_or_refused(each: Row, resumed: bool, tmp_path: Path) -> None:
    run_row(each, resumed, tmp_path)
