"""Empty and small files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from smartremote_cli.core.blocks import BLOCK
from tests.hostile.runs import download, judge_run
from tests.support import faults
from tests.support.server import Fault, Patterned, Server, pattern


@pytest.mark.parametrize("size", [0, 1, BLOCK, BLOCK + 1])
@pytest.mark.parametrize(
    "make",
    [
        lambda: [],
        lambda: [faults.ignore_range()],
        lambda: [faults.chunked()],
        lambda: [faults.chunked(), faults.ignore_range()],
        lambda: [faults.unsatisfiable()],
        lambda: [faults.unsatisfiable(None)],
        lambda: [faults.wrong_range("missing")],
        lambda: [faults.unknown_total()],
        lambda: [faults.validators(etag=None, last_modified=None)],
        lambda: [faults.part_as_200(content_range=False)],
    ],
    ids=[
        "nothing",
        "ignored",
        "chunked",
        "chunked 200",
        "416",
        "416 bare",
        "no range",
        "no total",
        "bare",
        "as 200",
    ],
)
def test_small_files_come_whole(tmp_path: Path, size: int, make: Callable[[], list[Fault]]) -> None:
    with Server(Patterned(size)) as server:
        server.faults += make()
        run = download(server.url(), tmp_path / "file.bin")
        assert len(server.requests) <= 4
    judge_run(run, (pattern(size),))
    assert run.code == 0, run.said
