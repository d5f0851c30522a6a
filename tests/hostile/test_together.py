"""Several faults at once."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hostile import (
    test_codings,
    test_connections,
    test_digests,
    test_framing,
    test_ranges,
    test_redirects,
    test_refusals,
    test_versions,
)
from tests.hostile.rows import QUERY
from tests.hostile.runs import download, judge_run, leave_version_one
from tests.support.server import Server

# Alone, these tell the test what to expect; under others it is not known what the right bytes are.
_ALONE = ("gzip", "HTTP/1.0", "login", "grows", "shrinks", "too short")
TABLES = (
    test_connections.ROWS,
    test_ranges.ROWS,
    test_versions.ROWS,
    test_codings.ROWS,
    test_framing.ROWS,
    test_digests.ROWS,
    test_refusals.ROWS,
    test_redirects.ROWS,
)
ALL = [each for rows in TABLES for each in rows if not any(word in each.name for word in _ALONE)]


@pytest.mark.parametrize("seed", range(60))
def test_any_two_or_three_faults_together_are_right_or_refused(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    rows = dice.sample(ALL, dice.choice([2, 2, 3]))
    versions = tuple({version for each in rows for version in each.versions})
    file = tmp_path / "file.bin"
    with Server(replace(rows[0].resource)) as server:
        for each in rows:
            server.faults += each.make()
        url = server.url(f"/file.bin{QUERY}")
        if dice.random() < 0.5:
            leave_version_one(file, url, rows[0].resource)
        run = download(url, file, connections=dice.choice([1, 2, 8]))
        assert len(server.requests) <= 300
    judge_run(run, versions)
