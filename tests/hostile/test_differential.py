"""Beside curl: what curl refuses for its framing is not taken for right here, unless the bytes are right."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.hostile.runs import download
from tests.hostile.test_mutations import FRAMINGS, LINES, TIMEOUT, Mutation
from tests.support import faults
from tests.support.server import Resource, Server

RUNS = 15  # of each framing


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("framing", FRAMINGS)
def test_what_curl_refuses_is_right_or_refused_here(framing: str, tmp_path: Path) -> None:
    """Every answer is mutated alike, so that both are told the same, however often they ask."""
    for seed in range(RUNS):
        mutation = Mutation(7000 + seed)
        theirs, ours = tmp_path / f"{seed}.curl", tmp_path / f"{seed}.bin"
        with Server(Resource(LINES)) as server:
            server.faults += [*FRAMINGS[framing](), mutation.fault(faults.always)]
            words = ["curl", "-sS", "--max-time", "2", "-r", "0-4194303", "-o", str(theirs), server.url()]
            refused = subprocess.run(words, capture_output=True, check=False, timeout=30).returncode != 0
            run = download(server.url(), ours, timeout=TIMEOUT, retries=1)
        if refused and run.code == 0:
            assert ours.read_bytes() == LINES, mutation.told()
