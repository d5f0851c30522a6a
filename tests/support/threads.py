"""Waits that fail instead of hanging, work in several threads, and what threads and descriptors outlive a test."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 30.0  # seconds for what is expected to happen soon; a loaded machine takes several


def wait_until(holds: Callable[[], object], what: str = "what was expected") -> None:
    give_up = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < give_up, f"{what} did not happen in {PATIENCE:.0f} s"
        time.sleep(0.005)


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
