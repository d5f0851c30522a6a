"""Statuses in place of the resource, and Retry-After."""

from __future__ import annotations

from pathlib import Path

from tests.hostile.rows import MIB, Row, after, bind, every, fresh_and_resumed, nth, row
from tests.hostile.runs import run_row
from tests.support import faults

ROWS = [
    *(
        row(str(code), bind(lambda code: [faults.status(code)], code), 4)
        for code in (201, 202, 204, 205, 226, 300, 304, 305)
    ),
    *(
        row(str(code), bind(lambda code: [faults.status(code)], code), 4)
        for code in (400, 401, 402, 403, 404, 405, 406, 407, 409, 410, 411, 413, 414, 417, 418, 421, 431, 451)
    ),
    *(
        row(str(code), bind(lambda code: [faults.status(code)], code), 3)
        for code in (408, 425, 429, 500, 501, 502, 503, 504, 505, 511, 520, 599)
    ),
    *(
        row(f"{code} once", bind(lambda code: [faults.status(code, when=nth(2))], code))
        for code in (202, 204, 304, 408, 425, 429, 500, 501, 502, 503, 504)
    ),
    row("403 once", lambda: [faults.status(403, when=nth(3))]),
    row("404 later", lambda: [faults.status(404, when=after(2))], 4),
    row("403 later", lambda: [faults.status(403, when=after(2))], 4),
    row("503 every second time", lambda: [faults.status(503, when=every(2))]),
    row("500 every third time", lambda: [faults.status(500, when=every(3))]),
    row("502 with a long body", lambda: [faults.status(502, b"x" * 3 * MIB, when=every(3))]),
    *(
        row(f"Retry-After {value!r}", bind(lambda value: [faults.retry_after(value, when=nth(1))], value))
        for value in ("0", "1", "-1", "1.5", "soon", "", "Wed, 01 Jan 2020 00:00:00 GMT", "0x10", "1e9")
    ),
    *(
        row(
            f"Retry-After {value[:40]!r}",
            bind(lambda value: [faults.retry_after(value, when=nth(1))], value),
            3,
        )
        for value in ("301", "99999999", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT")
    ),
    row("Retry-After beyond reason, in the middle", lambda: [faults.retry_after("86400", when=nth(3))], 3),
    row("Retry-After as a date", lambda: [faults.retry_after(faults.http_date(1), 429, when=nth(1))]),
]

# What came to light in other tests.
FOUND = [
    # The server refuses how it was asked, not what it was asked for.
    *(
        row(f"ranges refused by {code}", bind(lambda code: [faults.status(code, when=faults.ranged)], code))
        for code in (400, 401, 402, 403, 404, 405, 406, 410, 451, 500, 501, 502, 503, 504)
    ),
    *(
        row(
            f"preconditions refused by {code}",
            bind(lambda code: [faults.status(code, when=faults.conditional)], code),
        )
        for code in (400, 401, 403, 404, 405, 406, 410, 451, 500, 501, 503)
    ),
    row("preconditions hang up", lambda: [faults.fin(where="before", when=faults.conditional)]),
]


@fresh_and_resumed(ROWS + FOUND)
def test_right_or_refused(each: Row, resumed: bool, tmp_path: Path) -> None:
    run_row(each, resumed, tmp_path)
