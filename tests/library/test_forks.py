"""A process with open files forks while its threads read: children read on, and so does the parent."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from smartremote_cli import RemoteFile, errors
from tests.support.managers import manager
from tests.support.server import Server, pattern
from tests.support.threads import PATIENCE, in_threads

SIZE = 1_500_001
DATA = pattern(SIZE)
FORKS = 6  # of each thread
WRONG, FAILED = 1, 2  # exit codes of a child


def _read(f: RemoteFile, rng: random.Random) -> bool:
    """Read somewhere; return whether the bytes are right."""
    offset, length = rng.randrange(SIZE), rng.choice((1, 1000, 70_000, 400_000))
    return f.read_at(offset, length) == DATA[offset : offset + length]


def _child(files: list[RemoteFile], seed: int) -> int:
    """Fork a process that reads each of *files*, and return its exit code; it is killed when it hangs."""
    child = os.fork()
    if not child:
        code = FAILED
        with contextlib.suppress(BaseException):
            code = 0 if all(_read(f, random.Random(seed)) for f in files) else WRONG
        os._exit(code)
    give_up = time.monotonic() + PATIENCE / 2
    while time.monotonic() < give_up:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("idle", [True, False])
def test_children_read_and_the_parent_goes_on(tmp_path: Path, idle: bool) -> None:
    with Server(DATA) as server, manager(tmp_path, idle_download=idle, max_concurrent=6) as m:
        path = tmp_path / "file.bin"
        files = [m.open(server.url()), m.open_to(server.url(), path), m.reader_at(server.url())]

        assert all(_read(f, random.Random(0)) for f in files)  # else each process would begin file.bin itself

        def fork(seed: int) -> list[int]:
            rng, codes = random.Random(seed), []
            for _ in range(FORKS):
                assert _read(rng.choice(files), rng)
                codes.append(_child(files, rng.randrange(1000)))
            return codes

        def meddle(seed: int) -> None:
            rng = random.Random(seed)
            for _ in range(10 * FORKS):
                f = rng.choice(files)
                assert _read(f, rng)
                f.invalidate(rng.randrange(SIZE), 100_000)

        found = in_threads(
            *(partial(fork, seed) for seed in range(3)), *(partial(meddle, seed) for seed in range(3))
        )
        assert found == [[0] * FORKS] * 3 + [None] * 3
        for f in files:
            f.complete()
            assert f.read() == DATA
            f.close()
        assert path.read_bytes() == DATA
        with pytest.raises(errors.ClosedError):
            files[0].read()
