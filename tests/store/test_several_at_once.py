"""Several threads and processes at one file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.errors import BusyError, LocalError
from smartremote_cli.store import creation, files, locks
from smartremote_cli.store.files import MARK
from smartremote_cli.store.leftovers import load_record
from smartremote_cli.store.local_copy import LocalCopy
from smartremote_cli.store.part import Record
from smartremote_cli.store.sums import sums_path
from tests.store.on_disk import CONTENT, IDENTITY, SIZE, URL, again, begin, bring, failing, part_of, save
from tests.support.threads import in_threads
from tests.support.tool import names


def test_a_second_process_is_turned_away_at_once(path: Path) -> None:
    copy = begin(path)
    bring(copy, 0)
    save(copy)
    code = f"""
from smartremote_cli.errors import BusyError
from smartremote_cli.protocol.identity import Identity
from smartremote_cli.store.leftovers import load_record
from smartremote_cli.store.local_copy import LocalCopy
attempts = [
    lambda: LocalCopy.reopen({str(path)!r}, "", load_record({str(path)!r})),
    lambda: LocalCopy.create({str(path)!r}, "", Identity(5)),
    lambda: LocalCopy.create({str(path)!r}, "", Identity(5), overwrite=True),
]
for attempt in attempts:
    try:
        attempt()
    except BusyError:
        print("busy")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "busy\n" * 3
    assert load_record(str(path)) == Record(BitMap([0]), IDENTITY, URL)  # untouched
    copy.close()
    again(path).close()


def test_a_file_that_somebody_else_begins_at_the_same_time_is_busy(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have looked, and found nothing; the other one is faster by a step."""
    other = begin(path)
    bring(other, 0)
    save(other)
    before = part_of(path).read_bytes()
    with pytest.raises(BusyError):
        begin(path)
    assert part_of(path).read_bytes() == before
    os.removexattr(path, MARK)  # it has just finished
    part_of(path).rename(path.with_name("kept"))
    os.unlink(sums_path(str(path)))
    with pytest.raises(BusyError):
        begin(path)
    assert names(path.parent) == ["file.bin", "kept"]
    other.close()


def test_who_comes_second_leaves_the_record_of_who_made_the_data_file_of_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process links the record, and another one finds it and is at work before the first makes the data file."""
    real, winner = locks.open_locked, list[LocalCopy]()

    def open_locked(name: str, extra: int, **more: bool) -> int:
        if extra & os.O_EXCL and not winner:
            monkeypatch.setattr(creation, "open_locked", real)
            winner.append(again(path))
            bring(winner[0], 0)
            save(winner[0])
        return real(name, extra, **more)

    monkeypatch.setattr(creation, "open_locked", open_locked)
    with pytest.raises(BusyError):
        begin(path)
    winner[0].close()
    record = load_record(str(path))
    assert record is not None and record.bits == BitMap([0])


def test_where_locks_do_nothing_a_copy_can_be_opened_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "flock", errno.ENOLCK, of=fcntl)
    one = begin(path)
    bring(one, 0)
    save(one)
    two = again(path)
    bring(two, *range(1, 6))
    bring(one, 1)
    save(two)
    save(one)
    two.finish()
    assert path.read_bytes() == CONTENT
    one.close()
    two.close()


def test_where_locks_do_nothing_nobody_truncates_what_another_fills(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "flock", errno.EOPNOTSUPP, of=fcntl)
    one = begin(path)
    bring(one, *range(6))
    with pytest.raises(BusyError):
        begin(path)
    two = begin(path, overwrite=True)
    with pytest.raises(LocalError, match="replaced"):
        one.finish()
    assert one.read(ByteRange(0, SIZE)) == CONTENT
    bring(two, *range(6))
    two.finish()
    assert path.read_bytes() == CONTENT
    one.close()
    two.close()


def test_threads_write_and_save_at_the_same_time(path: Path) -> None:
    copy = begin(path, sync=False)
    guard, done = threading.Lock(), threading.Event()

    def write(blocks: range) -> None:
        for block in blocks:
            start, stop = block * BLOCK, min((block + 1) * BLOCK, SIZE)
            for at in range(start, stop, 1000):
                copy.write(at, memoryview(CONTENT)[at : min(at + 1000, stop)])
            with guard:
                copy.blocks.hold(ByteRange(start, stop))

    def check() -> None:
        while not done.is_set():
            with guard:
                draft = copy.draft_record()
            copy.checkpoint(draft)
            record = load_record(str(path))
            assert record is not None
            for block in record.bits:
                start, stop = block * BLOCK, min((block + 1) * BLOCK, SIZE)
                assert copy.read(ByteRange(start, stop)) == CONTENT[start:stop]

    writers = [threading.Thread(target=write, args=(blocks,)) for blocks in (range(3), range(3, 6))]
    checkers = [threading.Thread(target=check) for _ in range(2)]
    for thread in writers + checkers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in checkers:
        thread.join()
    save(copy)
    assert load_record(str(path)) == Record(BitMap(range(6)), IDENTITY, URL)
    copy.close()


def test_of_processes_that_replace_one_file_at_once_one_is_busy_and_the_file_is_whole(path: Path) -> None:
    contents = [bytes([number]) * 4096 for number in range(4)]

    def work(content: bytes) -> int:
        done = 0
        for _ in range(200):
            with contextlib.suppress(BusyError):
                files.replace(str(path), content, sync=False)
                done += 1
        return done

    done = in_threads(*(functools.partial(work, content) for content in contents))
    assert all(isinstance(count, int) and count for count in done), done
    assert path.read_bytes() in contents
    assert names(path.parent) == ["file.bin"]
