"""Content codings that were not asked for."""

from __future__ import annotations

from pathlib import Path

from tests.hostile.rows import CONTENT, ONE, SIZE, Row, fresh_and_resumed, nth, row
from tests.hostile.runs import run_row
from tests.support import faults
from tests.support.faults import gzipped

CODED = gzipped(CONTENT, 0, SIZE)

ROWS = [
    row("gzip", lambda: [faults.gzip_coded()], 0, 5, versions=(ONE, CODED)),
    row("gzip of parts", lambda: [faults.gzip_coded(of_part=True)], 0, 5, versions=(ONE, CODED)),
    row("gzip once", lambda: [faults.gzip_coded(when=nth(2))], 5),
    row("gzip of a part, once", lambda: [faults.gzip_coded(of_part=True, when=nth(2))]),
    row("brotli, it says", lambda: [faults.header("Content-Encoding", "br")]),
    row("identity, it says", lambda: [faults.header("Content-Encoding", "identity")]),
]


@fresh_and_resumed(ROWS)
def test_right_or_refused(each: Row, resumed: bool, tmp_path: Path) -> None:
    run_row(each, resumed, tmp_path)
