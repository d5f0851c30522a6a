"""LocalCopy from its beginning to its end, and in what order it touches the disk."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.errors import BusyError, ClosedError
from smartremote_cli.protocol.identity import Identity
from smartremote_cli.store import creation
from smartremote_cli.store.files import MARK, is_marked, scratch_of
from smartremote_cli.store.leftovers import load_record, survey
from smartremote_cli.store.local_copy import LocalCopy
from smartremote_cli.store.part import Record
from smartremote_cli.store.stamp import STAMP
from tests.store.on_disk import CONTENT, IDENTITY, SIZE, URL, again, begin, bring, part_of, partial, save
from tests.support import power
from tests.support.tool import names


def test_a_new_copy_has_a_record_a_mark_and_the_size_but_no_bytes(path: Path) -> None:
    copy = begin(path)
    assert path.stat().st_size == SIZE and path.stat().st_blocks == 0
    assert is_marked(str(path))
    assert load_record(str(path)) == Record(BitMap(), IDENTITY, URL)
    assert stat.S_IMODE(part_of(path).stat().st_mode) == 0o600
    copy.close()


def test_what_is_written_can_be_read_anywhere(path: Path) -> None:
    copy = begin(path)
    bring(copy, 4, 0, 5)
    assert copy.read(ByteRange(10, 20)) == CONTENT[10:20]
    assert copy.read(ByteRange(4 * BLOCK + 5, SIZE)) == CONTENT[4 * BLOCK + 5 :]
    assert copy.read(ByteRange(SIZE - 1, SIZE + 100)) == CONTENT[-1:]
    copy.close()


def test_a_checkpoint_is_what_the_next_run_finds(path: Path) -> None:
    record = partial(path, 0, 2, 5)
    assert record == Record(BitMap([0, 2, 5]), IDENTITY, URL)
    copy = again(path)
    assert copy.blocks.bits == record.bits and copy.identity == IDENTITY
    assert copy.blocks.bytes_held == 2 * BLOCK + 77
    copy.close()


def test_blocks_that_no_checkpoint_has_seen_are_not_recorded(path: Path) -> None:
    copy = begin(path)
    bring(copy, 0)
    save(copy)
    bring(copy, 1)
    copy.close()
    assert again(path).blocks.bits == BitMap([0])


def test_a_finished_file_is_alone_and_unmarked(path: Path) -> None:
    copy = begin(path)
    bring(copy, *range(6))
    copy.finish()
    copy.close()
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["file.bin"] and not is_marked(str(path))


def test_what_a_killed_checkpoint_left_is_cleaned_up(path: Path) -> None:
    partial(path, 0)
    scratch = Path(scratch_of(str(part_of(path))))
    scratch.write_bytes(b"half a rec")
    copy = again(path)
    bring(copy, *range(1, 6))
    save(copy)
    assert not scratch.exists()
    scratch.write_bytes(b"half a rec")
    copy.finish()
    copy.close()
    assert names(path.parent) == ["file.bin"]


def test_a_finished_copy_can_be_taken_up_again(path: Path) -> None:
    copy = begin(path)
    bring(copy, *range(6))
    copy.finish()
    copy.reopen_record()
    assert is_marked(str(path))
    assert load_record(str(path)) == Record(BitMap(range(6)), IDENTITY, URL)
    copy.blocks.forget(ByteRange(0, 1))
    save(copy)
    assert survey(str(path), load_record(str(path)) or Record(BitMap())).bits == BitMap(range(1, 6))
    copy.close()


def test_a_discarded_copy_leaves_nothing(path: Path) -> None:
    copy = begin(path)
    bring(copy, 0)
    copy.discard()
    assert names(path.parent) == []


def test_a_record_of_nothing_is_made_before_the_data_file_and_goes_after_everything(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with power.recorded(path.parent, monkeypatch) as disk:
        copy = begin(path)
        bring(copy, 0)
        save(copy)
        copy.finish()
        copy.close()
    kinds = [(op.kind, op.other or op.name) for op in disk.log if op.kind not in ("write", "size")]
    kinds, after = kinds[:21], kinds[21:]
    assert kinds == [
        ("link", "file.bin.part.tmp"),
        ("sync", ""),
        ("link", "file.bin.part"),
        ("unlink", "file.bin.part.tmp"),
        ("folder", ""),
        ("link", "file.bin"),
        ("attribute", MARK),
        ("folder", ""),
        ("fdatasync", ""),
        ("link", "file.bin.part.sums"),
        ("link", "file.bin.part.tmp"),
        ("sync", ""),
        ("rename", "file.bin.part"),
        ("folder", ""),
        ("sync", ""),
        ("attribute", STAMP),
        ("attribute", MARK),
        ("sync", ""),
        ("unlink", "file.bin.part.sums"),
        ("unlink", "file.bin.part"),
        ("folder", ""),
    ]
    assert set(after) == {
        ("attribute", STAMP)
    }  # which names the last change; a busy machine needs several attempts


def test_without_sync_nothing_is_synced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with power.recorded(path.parent, monkeypatch) as disk:
        copy = begin(path, sync=False)
        bring(copy, *range(6))
        save(copy)
        copy.finish()
        copy.close()
    assert not [op for op in disk.log if op.kind in ("sync", "fdatasync", "folder")]


def test_an_older_snapshot_never_replaces_a_newer_one(path: Path) -> None:
    """A checkpoint may be held up between the look at the map and the record, and overtaken meanwhile."""
    copy = begin(path)
    bring(copy, 0, 1)
    older = copy.draft_record()
    copy.blocks.clear()
    save(copy)
    copy.checkpoint(older)
    copy.close()
    assert load_record(str(path)) == Record(BitMap(), IDENTITY, URL)


def test_a_snapshot_is_recorded_with_the_identity_it_was_taken_with(path: Path) -> None:
    copy = begin(path)
    bring(copy, 0, 1)
    draft = copy.draft_record()
    copy.settle(Identity(SIZE, '"two"'))
    copy.checkpoint(draft)
    copy.close()
    assert load_record(str(path)) == Record(BitMap([0, 1]), IDENTITY, URL)


def test_a_size_that_becomes_known_is_the_files(path: Path) -> None:
    copy = LocalCopy.create(str(path), URL, Identity(None, '"one"'))
    assert path.stat().st_size == 0
    bring(copy, 0, 1)
    copy.settle(IDENTITY)
    assert path.stat().st_size == SIZE and copy.blocks.count == 6 and copy.blocks.bits == BitMap([0, 1])
    copy.close()


def test_closing_does_not_wait_for_a_sync_that_hangs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = begin(path)
    bring(copy, 0)
    save(copy)
    bring(copy, 1)
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(descriptor: int) -> None:
        hangs.set()
        assert goes_on.wait(30)

    monkeypatch.setattr(os, "fdatasync", hang)
    thread = threading.Thread(target=save, args=(copy,))
    thread.start()
    assert hangs.wait(30)
    copy.close()  # returns, or the test hangs
    assert load_record(str(path)) == Record(BitMap([0]), IDENTITY, URL)
    with pytest.raises(BusyError):  # the thread that is in the kernel with it still owns the file
        again(path)
    goes_on.set()
    thread.join()
    again(path).close()


def test_a_write_that_comes_late_finds_no_other_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread is abandoned before it writes; meanwhile its descriptor's number is another file's."""
    copy = begin(path)
    number = copy.descriptor
    copy.close()
    descriptor = os.open(path.with_name("innocent"), os.O_RDWR | os.O_CREAT)
    assert descriptor == number
    acts: list[Callable[[], None]] = [
        lambda: copy.write(0, memoryview(b"x")),
        lambda: save(copy),
        copy.finish,
    ]
    for act in acts:
        with pytest.raises(ClosedError):
            act()
    os.close(descriptor)
    assert path.with_name("innocent").read_bytes() == b""


def test_a_signal_ends_the_wait_for_the_last_sync(path: Path) -> None:
    """The kernel may hang for minutes; Ctrl-C does not wait for it."""
    code = f"""
import os, signal, sys, threading, time
from smartremote_cli.protocol.identity import Identity
from smartremote_cli.store.local_copy import LocalCopy

class Stop(BaseException): pass

def stop(*_): raise Stop
signal.signal(signal.SIGALRM, stop)
copy = LocalCopy.create({str(path)!r}, "", Identity(0))
real, forever = os.fsync, threading.Lock()
forever.acquire()
def hang(descriptor):  # as the kernel does: no signal handler runs meanwhile
    if threading.current_thread() is threading.main_thread():
        while True:
            try: forever.acquire()
            except Stop: pass
    forever.acquire()
os.fsync = hang
signal.setitimer(signal.ITIMER_REAL, 0.2)
try:
    copy.finish()
except Stop:
    copy.close()
    os.write(1, b"stopped")
    os._exit(0)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30)
    assert ran.stdout == b"stopped", ran.stderr
    assert part_of(path).exists()


def test_no_clock_is_asked_that_can_be_set() -> None:
    """Only the monotonic clock: setting the time neither stops checkpoints nor lets a wait go on for years."""
    package = Path(creation.__file__).parents[1]
    for file in (
        file for folder in ("store", "transfer", "plan") for file in (package / folder).glob("*.py")
    ):
        text = file.read_text()
        assert "time.time(" not in text and "datetime" not in text, file.name
