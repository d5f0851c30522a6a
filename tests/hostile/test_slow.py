"""Servers that stall, drip and never come to an end: only bytes of the body count as progress."""

from __future__ import annotations

from pathlib import Path

from tests.hostile.rows import MIB, Row, first, fresh_and_resumed, nth, patient, row
from tests.hostile.runs import run_row
from tests.support import faults

ROWS = [
    row("stall before the answer, once", lambda: [faults.stall(where="before", when=nth(2))]),
    row("stall before every answer", lambda: [faults.stall(where="before")], 3),
    row("stall in the headers", lambda: [faults.stall(after=20, where="headers", when=nth(1, 2))]),
    row("stall in bodies", lambda: [faults.stall(after=100_000, when=nth(1, 3))]),
    row("stall before every body", lambda: [faults.stall()], 3, requests=60),
    row("stall in a stream", lambda: [faults.stall(after=3 * MIB, when=first(1)), faults.ignore_range()]),
    row("drip at first", lambda: [faults.drip(100, 0.2, when=nth(1))]),
    row("drip in the middle", lambda: [faults.drip(100, 0.2, when=nth(3))]),
    row("drip for ever", lambda: [faults.drip(100, 0.2)], 3, requests=80),
    row("slow headers, twice", lambda: [faults.slow_headers(when=first(2))]),
    row("slow headers for ever", lambda: [faults.slow_headers()], 3),
]
ROWS = [patient(each, 0.4) for each in ROWS]

# What came to light in other tests.
FOUND = [
    # Bytes that are not of the body are no progress.
    row("1xx without end", lambda: [faults.informational(103, times=100_000)], {3, 4}, timeout=0.5),
    row(
        "a refusal's body, dripped",
        lambda: [
            faults.status(503, b"x" * 500, when=first(2)),
            faults.drip(1, 0.1, when=first(2)),
        ],
    ),
    row(
        "a redirect's body, dripped",
        lambda: [
            faults.redirect("/file.bin", when=faults.path("/file.bin") & first(1)),
            faults.drip(1, 0.1, when=first(1)),
        ],
    ),
    row("chunk extensions, dripped", lambda: [faults.odd_chunks("extension")], 3, timeout=0.5),
    patient(row("trailers, dripped", lambda: [faults.ignore_range(), faults.odd_chunks("trailers")]), 0.5),
]


@fresh_and_resumed(ROWS + FOUND)
def test_right_or_refused(each: Row, resumed: bool, tmp_path: Path) -> None:
    run_row(each, resumed, tmp_path)
