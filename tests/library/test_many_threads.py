"""16 threads that read, seek, invalidate, complete, close and reopen at random: right bytes or a documented error."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from smartremote_cli import RemoteFile, errors
from tests.support import faults
from tests.support.managers import manager
from tests.support.server import Server, pattern
from tests.support.threads import in_threads

SIZE = 1_500_001
DATA = pattern(SIZE)
TURNS = 40
LENGTHS = (1, 10, 1000, 70_000, 400_000)


def _use(f: RemoteFile, rng: random.Random) -> str:
    """Do one thing with *f*; return what went wrong, if anything."""
    offset, length = rng.randrange(SIZE + 1000), rng.choice(LENGTHS)
    match rng.choices(range(9), (45, 15, 5, 5, 5, 8, 3, 2, 6))[0]:
        case 0:
            return "" if f.read_at(offset, length) == DATA[offset : offset + length] else f"read at {offset}"
        case 1:
            f.seek(offset)
            f.read(length)
        case 2:
            f.readline(500)
        case 3:
            return "" if f.stat().st_size == f.size == SIZE else "size"
        case 4:
            f.peek()
        case 5:
            f.invalidate(offset, length)
        case 6:
            f.save_part()
        case 7:
            f.complete()
        case 8:
            f.seek(-5, 2)
            f.tell()
    return ""


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("idle", [True, False])
def test_they_get_right_bytes_or_a_documented_error(tmp_path: Path, seed: int, idle: bool) -> None:
    with (
        Server(DATA) as server,
        manager(tmp_path, idle_download=idle, max_concurrent=6) as m,
    ):
        server.faults.append(faults.reset(30_000, when=faults.chance(0.02, seed)))
        kinds: list[Callable[[], RemoteFile]] = [
            partial(m.reader_at, server.url()),
            *(partial(m.open_to, server.url(), tmp_path / f"{number}.bin") for number in range(3)),
        ]
        handles, closed = [kind() for kind in kinds], Counter[str]()
        swapping = threading.Lock()

        def work(number: int) -> list[str]:
            rng, wrong = random.Random(1000 * seed + number), []
            for _ in range(TURNS):
                chosen = rng.randrange(len(kinds))
                try:
                    if rng.random() < 0.05:
                        after = kinds[chosen]()
                        with swapping:  # else a handle that two threads replace at once is closed by neither
                            before, handles[chosen] = handles[chosen], after
                        before.close()
                    else:
                        wrong.append(_use(handles[chosen], rng))
                except errors.ClosedError:  # another thread has closed it
                    closed["times"] += 1
            return [what for what in wrong if what]

        found = in_threads(*(partial(work, number) for number in range(16)))
        for handle in handles:
            handle.close()
        assert found == [[]] * 16
        assert closed["times"] < 16 * TURNS / 2
