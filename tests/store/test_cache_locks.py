"""The order of the cache's locks, and what may happen while they are held.

The order stands in `transfer/__init__.py`. Here every lock that is taken is noted, with those that the thread holds.
"""

from __future__ import annotations

import fcntl
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.errors import BusyError, LocalError
from smartremote_cli.protocol.identity import Identity
from smartremote_cli.store import locks
from smartremote_cli.store.cache import Cache
from smartremote_cli.store.cached_copy import CachedCopy
from tests.store.test_cache import DATA, ONE, SIZE, URL, bring, kept, opened, save
from tests.support.threads import in_threads

MIB = 1024 * 1024
FOLDER = "the folder's lock"

# A hang is a failure; no test waits this long otherwise.
HANG_SECONDS = 30.0


class Notes:
    """Which locks each thread holds, and which was taken while another was held."""

    def __init__(self) -> None:
        self.own = threading.local()
        self.edges: set[tuple[str, str]] = set()
        self.wrong: list[str] = []

    @property
    def held(self) -> list[str]:
        if not hasattr(self.own, "held"):
            self.own.held = []
        held: list[str] = self.own.held
        return held

    def took(self, name: str) -> None:
        self.edges |= {(each, name) for each in self.held if each != name}
        self.held.append(name)

    def let_go(self, name: str) -> None:
        if name in self.held:
            self.held.remove(name)

    def may_not(self, what: str) -> None:
        if FOLDER in self.held:
            self.wrong.append(f"{what} while {FOLDER} is held")

    def circle(self) -> list[str]:
        """Return locks that are taken in both orders."""
        after: dict[str, set[str]] = {}
        for first, then in self.edges:
            after.setdefault(first, set()).add(then)

        def reaches(start: str, goal: str, seen: set[str]) -> bool:
            for each in after.get(start, set()) - seen:
                seen.add(each)
                if each == goal or reaches(each, goal, seen):
                    return True
            return False

        return sorted(name for name in after if reaches(name, name, set()))


class NotedLock:
    """A lock that tells *notes* when it is taken; its name is where it was made."""

    def __init__(self, notes: Notes, real: Callable[[], Any]) -> None:
        frame = sys._getframe(1)
        while frame.f_code.co_filename == __file__ and frame.f_back is not None:
            frame = frame.f_back
        self.name = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        self.notes, self.lock = notes, real()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        taken: bool = self.lock.acquire(blocking, timeout)
        if taken:
            self.notes.took(self.name)
        return taken

    def release(self) -> None:
        self.notes.let_go(self.name)
        self.lock.release()

    def locked(self) -> bool:
        return bool(self.lock.locked())

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


@contextmanager
def noted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Notes]:
    notes, real_lock, real_flock = Notes(), threading.Lock, fcntl.flock
    descriptors: set[int] = set()

    def flock(descriptor: int, operation: int) -> None:
        real_flock(descriptor, operation)
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("/.lock"):
            if operation & fcntl.LOCK_UN:
                notes.let_go(FOLDER)
            else:
                assert operation & fcntl.LOCK_NB
                notes.took(FOLDER)
        else:
            assert operation & (fcntl.LOCK_NB | fcntl.LOCK_UN) or operation == fcntl.LOCK_SH
        descriptors.add(descriptor)

    def forbidden(name: str) -> None:
        real = getattr(os, name)

        def call(*arguments: Any, **named: Any) -> Any:
            notes.may_not(name)
            return real(*arguments, **named)

        monkeypatch.setattr(os, name, call)

    with monkeypatch.context() as patch:
        patch.setattr(threading, "Lock", lambda: NotedLock(notes, real_lock))
        patch.setattr(fcntl, "flock", flock)
        for name in ("fsync", "fdatasync", "listdir", "scandir"):
            forbidden(name)
        yield notes
    assert descriptors


def play(cache: Cache, dice: random.Random) -> None:
    """Use entries as sessions do, in any order."""
    for _ in range(12):
        url = f"{URL}?{dice.randrange(4)}"
        identity = Identity(SIZE, dice.choice(['"one"', '"two"', 'W/"three"']))
        try:
            copy: CachedCopy = cache.create(url, identity)
        except (BusyError, LocalError):
            continue
        for _ in range(4):
            step = dice.randrange(7)
            if step < 3:
                bring(copy, *dice.sample(range(41), 3))
            elif step == 3:
                save(copy)
            elif step == 4:
                copy.read(ByteRange(0, SIZE))
            elif step == 5:
                cache.finish(copy)
                cache.reopen_record(copy)
            else:
                copy.blocks.clear()
                copy.reset(copy.draft_record())
        save(copy)
        copy.close()
        cache.touch(url)


def test_locks_are_taken_in_one_order_and_nothing_slow_is_done_under_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with noted(monkeypatch) as notes:
        caches = [Cache(str(tmp_path / "cache"), 2 * MIB) for _ in range(2)]
        players = [
            lambda each=each, seed=seed: play(each, random.Random(seed))
            for seed, each in enumerate((*caches, *caches))
        ]
        assert in_threads(*players) == [None] * 4
        for each in caches:
            each.touch(URL)
    assert notes.wrong == []
    assert FOLDER in {then for _, then in notes.edges}
    assert notes.circle() == []


def test_a_model_finds_two_orders() -> None:
    notes = Notes()
    for first, then in (("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")):
        notes.took(first)
        notes.took(then)
        notes.let_go(then)
        notes.let_go(first)
    assert notes.circle() == ["a", "b", "c"]


@pytest.mark.parametrize("step", ["finish", "reopen_record", "checkpoint"])
def test_while_one_syncs_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """A checkpoint syncs; the same entry is finished meanwhile; another entry does not wait for either."""
    cache = Cache(str(tmp_path / "cache"))
    copy = cache.create(URL, ONE)
    bring(copy, *range(41))
    syncs, goes_on, real = threading.Event(), threading.Event(), os.fdatasync

    def fdatasync(descriptor: int) -> None:
        if descriptor == copy.descriptor:
            syncs.set()
            assert goes_on.wait(HANG_SECONDS)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    draft = copy.draft_record()
    first = threading.Thread(target=lambda: copy.checkpoint(draft), daemon=True)
    verbs: dict[str, Callable[[], None]] = {
        "finish": lambda: cache.finish(copy),
        "reopen_record": lambda: cache.reopen_record(copy),
        "checkpoint": lambda: save(copy),
    }
    second = threading.Thread(target=verbs[step], daemon=True)
    first.start()
    assert syncs.wait(HANG_SECONDS)
    second.start()
    time.sleep(0.05)  # for the second to be where it waits: a shorter time proves less, and fails no more
    third = threading.Thread(target=lambda: kept(cache, 1, url=f"{URL}?other"), daemon=True)
    third.start()
    third.join(HANG_SECONDS)
    assert not third.is_alive()
    goes_on.set()
    for thread in (first, second):
        thread.join(HANG_SECONDS)
        assert not thread.is_alive()
    copy.close()
    record = cache.find(URL)
    assert record is not None and len(record.bits) == 41


def test_a_process_that_is_stopped_with_the_lock_costs_the_others_reuse_alone(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path / "cache"))
    kept(cache, 1)
    copy = opened(cache)
    with locks.folder_lock(cache.folder):
        bring(copy, 2)
        save(copy)
        cache.finish(copy)
        assert copy.read(ByteRange(BLOCK, 3 * BLOCK)) == DATA[BLOCK : 3 * BLOCK]
        for _ in range(3):
            with pytest.raises(BusyError):
                cache.create(f"{URL}?new", ONE)
        copy.close()
        cache.touch(URL)
    again = opened(cache)
    assert 1 in again.blocks.bits
    again.close()
