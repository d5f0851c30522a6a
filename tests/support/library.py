"""What tests of several modules use: managers with a folder of their own, waits that fail instead of hanging."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smartremote_cli import DownloadManager
from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.plan.planner import SEAM
from smartremote_cli.protocol.headers import Headers
from tests.support.server import Server

PATIENCE = 30.0  # seconds for what is expected to happen soon


def manager(folder: Path, **options: Any) -> DownloadManager:
    """Return a manager that keeps its files below *folder*, and fills nothing unasked unless told to."""
    return DownloadManager(**{"tmp_dir": folder / "cache", "idle_download": False, **options})


def wait_until(holds: Callable[[], object], what: str = "what was expected") -> None:
    give_up = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < give_up, f"{what} did not happen in {PATIENCE:.0f} s"
        time.sleep(0.005)


def asked_for(server: Server) -> list[tuple[int, int]]:
    """Return the first and last byte of every range that was asked for."""
    pairs = [str(asked).removeprefix("bytes=").split("-") for asked in server.ranges]
    return [(int(first), int(last)) for first, last in pairs]


def blocks_sent(server: Server) -> dict[int, int]:
    """Return how often each block was asked for as a whole: seams reach into others by less than one."""
    times: dict[int, int] = {}
    for first, last in asked_for(server):
        for block in range((first + SEAM) // BLOCK, (last - SEAM) // BLOCK + 1):
            times[block] = times.get(block, 0) + 1
    return times


def in_threads(*works: Callable[[], object]) -> list[object]:
    """Do all of it at once; return what each returned, or the exception that it raised."""
    results: list[object] = [None] * len(works)

    def do(index: int, work: Callable[[], object]) -> None:
        try:
            results[index] = work()
        except BaseException as error:
            results[index] = error

    threads = [threading.Thread(target=do, args=pair, daemon=True) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a thread hangs"
    return results


def descriptors() -> set[str]:
    """Return what the open descriptors of this process point to, save the one that lists them."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{number} -> {os.readlink(f'/proc/self/fd/{number}')}")
        except FileNotFoundError:
            continue
    return found


@contextmanager
def nothing_left_behind() -> Iterator[None]:
    """Fail when threads of ours, or descriptors, outlive the block."""
    threads, open_before = set(threading.enumerate()), descriptors()
    yield

    def ours() -> list[str]:
        return [
            t.name for t in threading.enumerate() if t not in threads and t.name.startswith("smartremote")
        ]

    wait_until(lambda: not ours(), f"the end of {ours()}")
    wait_until(lambda: descriptors() <= open_before, f"the end of {descriptors() - open_before}")


def fields(*lines: str) -> Headers:
    """Return the header fields that *lines* hold, each ``Name: value``."""
    pairs = (line.partition(":") for line in lines)
    return Headers([(name, value) for name, _, value in pairs])
