"""Versions that change, mirrors that differ, validators that are wrong, weak or missing."""

from __future__ import annotations

from pathlib import Path

from tests.hostile.rows import (
    BARE,
    BARE_TWO,
    CONTENT,
    FORGED,
    LONGER,
    MIB,
    NEXT,
    ONE,
    SIZE,
    SWELLED,
    TWO,
    Row,
    after,
    bind,
    every,
    first,
    fresh_and_resumed,
    nth,
    row,
    swap,
)
from tests.hostile.runs import run_row
from tests.support import faults
from tests.support.server import Fault, Patched, Patterned, Resource

DAYS = ["Wed, 01 Jan 2025 00:00:00 GMT", "Thu, 02 Jan 2025 00:00:00 GMT"]


# Differs from version one within what the first request brings, and within what later ones do.
PATCHED = Patched(CONTENT, {MIB: b"other", 6 * MIB + 5000: b"other"})


def told_by(name: str) -> list[Fault]:
    """Change some bytes where no seam lies; nothing but the malformed or private field *name* says so."""
    return [
        faults.mirrors(BARE, when=first(1)),
        faults.mirrors(Resource(PATCHED, etag=None, last_modified=None), when=after(1)),
        faults.header(name, "one", when=first(1)),
        faults.header(name, "two", when=after(1)),
    ]


ROWS = [
    *(
        row(
            f"one of {name}, unannounced, in one piece",
            bind(
                lambda other: [
                    faults.validators(etag=None, last_modified=None),
                    faults.call(swap(Resource(Patterned(other, seed=2), None, None)), when=nth(2)),
                    faults.ignore_range(when=after(1)),
                    faults.chunked(when=after(1)),
                ],
                size,
            ),
            5,
        )
        for name, size in {"fewer bytes": SIZE - 3 * MIB, "more bytes": SIZE + 3 * MIB}.items()
    ),
    row("ETags in turn", lambda: [faults.validators(etag=['"a"', '"b"'])], 0, 5),
    row(
        "ETags in turn, not honoured",
        lambda: [faults.validators(etag=['"a"', '"b"', '"c"'], honoured=False)],
        0,
        5,
    ),
    row("ETag and another in turn", lambda: [faults.validators(etag=['"one"', '"b"'], honoured=False)], 0, 5),
    row("ETag comes and goes", lambda: [faults.validators(etag=['"one"', None])]),
    row(
        "ETag comes and goes, not honoured", lambda: [faults.validators(etag=['"one"', None], honoured=False)]
    ),
    row("weak ETags in turn", lambda: [faults.validators(etag=['W/"a"', 'W/"b"'])], 0, 5),
    row("dates in turn", lambda: [faults.validators(etag=None, last_modified=DAYS)], 0, 5),
    row("dates in turn beside an ETag", lambda: [faults.validators(last_modified=DAYS)], 0, 5),
    row("weaker", lambda: [faults.weaken()]),
    row("weaker every second time", lambda: [faults.weaken(when=every(2))]),
    row("no ETag", lambda: [faults.validators(etag=None)]),
    row("no validators", lambda: [faults.validators(etag=None, last_modified=None)]),
    row("no Date", lambda: [faults.header("Date")]),
    row("no ETag, no Date", lambda: [faults.validators(etag=None), faults.header("Date")]),
    row("malformed ETag", lambda: [faults.validators(etag="unquoted")], 0, 5),
    row("malformed ETags in turn", lambda: [faults.validators(etag=["one", "two"])], 0, 5),
    row("malformed dates in turn", lambda: [faults.validators(last_modified=["one", "two"])], 0, 5),
    *(
        row(
            f"another version, told by {name} alone",
            bind(told_by, name),
            0,
            {0, 5},
            versions=(ONE, bytes(PATCHED.read(0, SIZE))),
        )
        for name in (
            "ETag",
            "Last-Modified",
            "x-goog-generation",
            "x-amz-version-id",
            "x-ms-blob-content-md5",
        )
    ),
    row("Latin-1 ETag", lambda: [faults.validators(etag='"\xe9"')], 0, 5),
    row(
        "Latin-1 ETag of a stream that breaks",
        lambda: [
            faults.validators(etag='"\xe9"'),
            faults.ignore_range(when=first(1)),
            faults.fin(3 * MIB, when=nth(1)),
        ],
        0,
        5,
    ),
    row("deaf to If-Match", lambda: [faults.deaf("If-Match")]),
    row("412 although equal", lambda: [faults.fail_precondition()]),
    row("200 to an equal If-Range", lambda: [faults.validators(etag=None), faults.distrust_if_range()]),
    row("grows", lambda: [faults.resized(1000)], 5, versions=(ONE, ONE + b"#" * 1000, ONE + b"#" * 2000)),
    row("grows later", lambda: [faults.resized(1000, when=after(2))], 5),
    row("shrinks", lambda: [faults.resized(-1000)], 5, versions=(ONE, ONE[:-1000], ONE[:-2000])),
    row("shrinks later", lambda: [faults.resized(-1000, when=after(2))], 5),
    *(
        row(
            f"{name} {how}",
            bind(lambda to, make: [make(swap(to))], to, make),
            codes,
            5,
            versions=(ONE, TWO, LONGER),
        )
        for name, to, codes in (
            ("replaced", NEXT, 0),
            ("forged", FORGED, 0),
            ("replaced by a longer one", SWELLED, 5),
        )
        for how, make in (
            ("between answers", lambda act: faults.call(act, when=nth(3))),
            ("in a body", lambda act: faults.at(act, 300_000, when=nth(2))),
        )
    ),
    row(
        "replaced, without validators",
        lambda: [faults.call(swap(BARE_TWO), when=nth(3))],
        0,
        5,
        versions=(ONE, TWO),
        resource=BARE,
    ),
    row(
        "mirrors of one version",
        lambda: [faults.mirrors(Resource(CONTENT), Resource(CONTENT, etag='"x"'))],
        0,
        5,
    ),
    row("mirrors of two", lambda: [faults.mirrors(Resource(CONTENT), NEXT)], 0, 5, versions=(ONE, TWO)),
    row(
        "mirrors of two under one ETag",
        lambda: [faults.mirrors(Resource(CONTENT), FORGED)],
        0,
        5,
        versions=(ONE, TWO),
    ),
    row("mirrors of two, bare", lambda: [faults.mirrors(BARE, BARE_TWO)], 0, 5, versions=(ONE, TWO)),
    row(
        "replaced under a stream",
        lambda: [
            faults.ignore_range(),
            faults.at(swap(NEXT), 3 * MIB, when=nth(1)),
            faults.fin(4 * MIB, when=nth(1)),
        ],
        {0, 5},
        5,
        versions=(ONE, TWO),
    ),
    row(
        "forged under a stream",
        lambda: [
            faults.ignore_range(),
            faults.at(swap(FORGED), 3 * MIB, when=nth(1)),
            faults.fin(4 * MIB, when=nth(1)),
        ],
        0,
        5,
        versions=(ONE, TWO),
    ),
    row(
        "bare, replaced under a stream",
        lambda: [
            faults.ignore_range(),
            faults.at(swap(BARE_TWO), 3 * MIB, when=nth(1)),
            faults.fin(4 * MIB, when=nth(1)),
        ],
        0,
        5,
        versions=(ONE, TWO),
        resource=BARE,
    ),
    row("login page in the middle", lambda: [faults.login_page(when=after(2))], 5),
    row("login page once", lambda: [faults.login_page(when=nth(2))], 5),
]

# What came to light in other tests.
FOUND = [
    row(
        "a stream that breaks, and goes on at a mirror with other bytes",
        lambda: [
            faults.mirrors(Resource(CONTENT), FORGED),
            faults.ignore_range(when=first(1)),
            faults.fin(MIB, when=nth(1)),
        ],
        0,
        5,
        versions=(ONE, TWO),
    ),
    row(
        "a stream that always breaks, and goes on at a mirror with other bytes",
        lambda: [
            faults.mirrors(Resource(CONTENT), FORGED),
            faults.ignore_range(when=first(1)),
            faults.fin(MIB),
        ],
        3,
        5,
        versions=(ONE, TWO),
    ),
]


@fresh_and_resumed(ROWS + FOUND)
def test_right_or_refused(each: Row, resumed: bool, tmp_path: Path) -> None:
    run_row(each, resumed, tmp_path)
