"""LocalCopy on a real file system: the order of what it does, what it leaves, and what it makes of local trouble."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import resource
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.errors import BusyError, ClosedError, DamagedError, LocalError, SmartRemoteError
from smartremote_cli.protocol.identity import Identity
from smartremote_cli.store import creation, files
from smartremote_cli.store.files import MARK, is_marked, scratch_of
from smartremote_cli.store.leftovers import inspect, load_record, record_path, survey
from smartremote_cli.store.local_copy import LocalCopy
from smartremote_cli.store.memory_copy import MemoryCopy
from smartremote_cli.store.part import MAX_RECORD, Record, encode
from smartremote_cli.store.sums import sums_path
from tests.support import power
from tests.support.library import in_threads
from tests.support.server import pattern
from tests.support.tool import names

URL = "http://example.org/file.bin"
SIZE = 5 * BLOCK + 77
CONTENT = pattern(SIZE)
IDENTITY = Identity(SIZE, '"one"', "Wed, 01 Jan 2025 00:00:00 GMT", settled=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.bin"


def part_of(path: Path) -> Path:
    return Path(record_path(str(path)))


def begin(path: Path, **options: Any) -> LocalCopy:
    return LocalCopy.create(str(path), URL, IDENTITY, **options)


def bring(copy: LocalCopy, *blocks: int) -> None:
    for block in blocks:
        start, stop = block * BLOCK, min((block + 1) * BLOCK, SIZE)
        copy.write(start, memoryview(CONTENT)[start:stop])
        copy.blocks.hold(ByteRange(start, stop))


def save(copy: LocalCopy) -> None:
    copy.checkpoint(copy.draft_record())


def partial(path: Path, *blocks: int, **options: Any) -> Record:
    """Leave a partial file behind, as an interrupted run does; return its record."""
    copy = begin(path, **options)
    bring(copy, *blocks)
    save(copy)
    copy.close()
    record = load_record(str(path))
    assert record is not None
    return record


def again(path: Path) -> LocalCopy:
    record = load_record(str(path))
    assert record is not None
    return LocalCopy.reopen(str(path), URL, record)


# A download, from its beginning to its end


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
        ("attribute", MARK),
        ("sync", ""),
        ("unlink", "file.bin.part.sums"),
        ("unlink", "file.bin.part"),
        ("folder", ""),
    ]


def test_without_sync_nothing_is_synced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with power.recorded(path.parent, monkeypatch) as disk:
        copy = begin(path, sync=False)
        bring(copy, *range(6))
        save(copy)
        copy.finish()
        copy.close()
    assert not [op for op in disk.log if op.kind in ("sync", "fdatasync", "folder")]


# Snapshots


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


# Data files that are not what the record says


def test_a_data_file_that_was_cut_loses_the_blocks_past_its_end(path: Path) -> None:
    partial(path, *range(6))
    os.truncate(path, 3 * BLOCK + 10)
    copy = again(path)
    assert copy.blocks.bits == BitMap([0, 1, 2])
    assert load_record(str(path)) == Record(BitMap([0, 1, 2]), IDENTITY, URL)  # before the file grows again
    copy.close()


def test_a_data_file_that_is_gone_loses_everything_but_the_url(path: Path) -> None:
    partial(path, 0, 1)
    path.unlink()
    copy = again(path)
    assert not copy.blocks.held and copy.identity == IDENTITY
    assert load_record(str(path)) == Record(BitMap(), IDENTITY, URL)
    copy.close()


def test_a_data_file_that_is_too_long_keeps_its_blocks(path: Path) -> None:
    partial(path, 0, 1)
    os.truncate(path, SIZE + 5 * BLOCK)
    copy = again(path)
    assert copy.blocks.bits == BitMap([0, 1])
    copy.settle(IDENTITY)
    assert path.stat().st_size == SIZE
    copy.close()


def test_blocks_in_holes_are_not_held(path: Path) -> None:
    partial(path, 0, 3)
    part_of(path).write_bytes(encode(Record(BitMap(range(6)), IDENTITY, URL)))
    copy = again(path)
    assert copy.blocks.bits == BitMap([0, 3])
    copy.close()


def test_a_record_of_another_program_keeps_having_no_trailer(path: Path) -> None:
    """Its blocks are compared before they are trusted, which a trailer would prevent."""
    path.write_bytes(CONTENT[: 2 * BLOCK])
    part_of(path).write_bytes(encode(Record(BitMap([0, 1, 4]))))
    copy = again(path)
    assert copy.blocks.bits == BitMap([0, 1])
    copy.close()
    assert load_record(str(path)) == Record(BitMap([0, 1]))


def test_where_holes_cannot_be_told_the_record_is_taken_at_its_word(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial(path, 0, 3)
    part_of(path).write_bytes(encode(Record(BitMap(range(6)), IDENTITY, URL)))
    failing(monkeypatch, "lseek", errno.EINVAL)
    assert survey(str(path), load_record(str(path)) or Record(BitMap())).bits == BitMap(range(6))


def test_a_file_that_is_deleted_while_it_is_filled_is_not_complete(path: Path) -> None:
    copy = begin(path)
    bring(copy, *range(6))
    path.unlink()
    with pytest.raises(LocalError, match="deleted while it was being filled"):
        save(copy)
    with pytest.raises(LocalError, match="deleted while it was being filled"):
        copy.finish()
    assert part_of(path).exists()
    copy.close()


def test_a_file_that_is_replaced_while_it_is_filled_is_not_complete(path: Path) -> None:
    copy = begin(path)
    bring(copy, *range(6))
    other = path.with_name("other")
    other.write_bytes(b"x" * SIZE)
    other.rename(path)
    with pytest.raises(LocalError, match="replaced while it was being filled"):
        copy.finish()
    copy.close()
    assert path.read_bytes() == b"x" * SIZE
    assert load_record(str(path)) == Record(BitMap(), IDENTITY, URL)


@pytest.mark.parametrize("size", [0, BLOCK, SIZE - 1, SIZE + 1])
def test_a_file_that_is_cut_while_it_is_filled_is_not_complete(path: Path, size: int) -> None:
    copy = begin(path)
    bring(copy, *range(6))
    os.truncate(path, size)
    with pytest.raises(LocalError, match=f"{size} bytes, not {SIZE}"):
        copy.finish()
    assert part_of(path).exists()
    copy.close()


def test_a_cut_file_is_not_made_whole_again_by_its_last_block(path: Path) -> None:
    """It would have the right size, and a hole that nobody knows of."""
    copy = begin(path)
    bring(copy, 0, 1, 2)
    save(copy)
    os.truncate(path, BLOCK)
    with pytest.raises(LocalError, match=f"cut to {BLOCK} bytes"):
        bring(copy, 5)
    with pytest.raises(LocalError, match=f"cut to {BLOCK} bytes"):
        save(copy)
    copy.close()
    assert again(path).blocks.bits == BitMap([0])


def test_reading_where_the_file_was_cut_is_an_error_not_an_end(path: Path) -> None:
    copy = begin(path)
    bring(copy, *range(6))
    os.truncate(path, BLOCK)
    assert copy.read(ByteRange(0, BLOCK)) == CONTENT[:BLOCK]
    with pytest.raises(LocalError, match=f"cut at {BLOCK} bytes"):
        copy.read(ByteRange(BLOCK - 5, 2 * BLOCK))
    copy.close()


def test_a_file_moved_away_and_back_is_the_same(path: Path) -> None:
    copy = begin(path)
    bring(copy, *range(6))
    path.rename(path.with_name("elsewhere"))
    path.with_name("elsewhere").rename(path)
    copy.finish()
    copy.close()
    assert path.read_bytes() == CONTENT


# Names and kinds of files


@pytest.mark.parametrize("length", [240, 245, 246, 247, 250])
def test_long_names_have_records_and_leave_nothing(tmp_path: Path, length: int) -> None:
    path = tmp_path / ("ä" * 20 + "n" * (length - 40))
    assert len(os.fsencode(path.name)) == length
    copy = begin(path)
    bring(copy, *range(6))
    save(copy)
    assert names(tmp_path) == [path.name, f"{path.name}.part"]
    copy.finish()
    copy.close()
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("length", [251, 255])
def test_names_too_long_for_a_record_are_refused_untouched(tmp_path: Path, length: int) -> None:
    path = tmp_path / ("n" * length)
    with pytest.raises(LocalError, match="too long for a part record"):
        begin(path)
    assert names(tmp_path) == []
    assert load_record(str(path)) is None


@pytest.mark.parametrize("name", ["with space", "new\nline", "-dash", "ünï", "\udcff\udcfe", "%s{}"])
def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    copy = begin(tmp_path / name)
    bring(copy, *range(6))
    save(copy)
    copy.finish()
    copy.close()
    assert names(tmp_path) == [name]


def make_folder(path: Path) -> None:
    path.mkdir()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_device(path: Path) -> None:
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("devices can only be made by root")


def test_an_old_file_that_cannot_be_replaced_gets_no_record(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder like /tmp, and a file of somebody else's: with a record beside it, it would be taken for ours."""
    unlink = os.unlink

    def unlink_others(name: str) -> None:
        if name == str(path):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        unlink(name)

    path.write_bytes(b"precious")
    monkeypatch.setattr(os, "unlink", unlink_others)
    with pytest.raises(LocalError):
        begin(path, overwrite=True)
    assert names(path.parent) == ["file.bin"]
    assert path.read_bytes() == b"precious"


KINDS: list[Callable[[Path], None]] = [make_folder, make_fifo, make_device]


@pytest.mark.parametrize("make", KINDS)
def test_what_is_no_file_is_refused_and_stays(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    kind = stat.S_IFMT(path.stat().st_mode)
    with pytest.raises(LocalError):
        inspect(str(path))
    with pytest.raises(SmartRemoteError):
        begin(path)
    with pytest.raises(LocalError):
        begin(path, overwrite=True)
    with pytest.raises(LocalError):
        LocalCopy.reopen(str(path), URL, Record(BitMap(), IDENTITY, URL))
    assert names(path.parent) == ["file.bin"] and stat.S_IFMT(path.stat().st_mode) == kind


@pytest.mark.parametrize("make", KINDS)
def test_a_record_that_is_no_file_is_refused_and_stays(path: Path, make: Callable[[Path], None]) -> None:
    make(part_of(path))
    with pytest.raises(LocalError):
        load_record(str(path))
    with pytest.raises(SmartRemoteError):
        begin(path)
    assert names(path.parent) == ["file.bin.part"]


def test_a_symbolic_link_is_no_record(path: Path) -> None:
    target = path.with_name("precious")
    target.write_bytes(b"precious")
    part_of(path).symlink_to(target)
    with pytest.raises(LocalError, match="symbolic link"):
        load_record(str(path))
    for overwrite in (False, True):
        with pytest.raises(LocalError, match="symbolic link"):
            begin(path, overwrite=overwrite)
    assert target.read_bytes() == b"precious" and not path.exists()


def test_a_symbolic_link_to_a_file_stays_one(path: Path) -> None:
    """The record stands beside the name that was given; what the name leads to is filled."""
    target = path.with_name("target")
    target.write_bytes(b"old")
    path.symlink_to(target)
    copy = begin(path, overwrite=True)
    bring(copy, *range(6))
    save(copy)
    assert names(path.parent) == ["file.bin", "file.bin.part", "target"]
    copy.close()
    copy = again(path)
    copy.finish()
    copy.close()
    assert path.is_symlink() and target.read_bytes() == CONTENT


def test_a_symbolic_link_to_nothing_is_refused(path: Path) -> None:
    path.symlink_to("nowhere")
    with pytest.raises(LocalError, match="a symbolic link to nothing"):
        inspect(str(path))
    with pytest.raises(SmartRemoteError):
        begin(path)
    assert names(path.parent) == ["file.bin"]


def test_overwriting_leaves_the_other_names_of_a_file_alone(path: Path) -> None:
    backup = path.with_name("backup")
    backup.write_bytes(b"precious")
    backup.chmod(0o640)
    os.link(backup, path)
    copy = begin(path, overwrite=True)
    bring(copy, *range(6))
    copy.finish()
    copy.close()
    assert backup.read_bytes() == b"precious" and path.read_bytes() == CONTENT
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_hard_linked_record_is_replaced_not_written_into(path: Path) -> None:
    partial(path, 0)
    other = path.with_name("other")
    os.link(part_of(path), other)
    before = other.read_bytes()
    copy = again(path)
    bring(copy, 1)
    save(copy)
    copy.close()
    assert other.read_bytes() == before and load_record(str(path)) == Record(BitMap([0, 1]), IDENTITY, URL)


def test_a_huge_record_is_not_read(path: Path) -> None:
    with part_of(path).open("wb") as file:
        file.truncate(MAX_RECORD + 1)
    with pytest.raises(DamagedError, match="are no part record"):
        load_record(str(path))


# Several at once


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
    real, winner = files.open_locked, list[LocalCopy]()

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


def test_a_sync_that_a_file_system_does_not_have_is_no_failure(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "fdatasync", errno.EINVAL)
    copy = begin(path)
    bring(copy, *range(6))
    save(copy)
    copy.finish()
    copy.close()
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("code", [errno.EACCES, errno.EXDEV, errno.EPERM, errno.ENOTSUP])
def test_where_hard_links_are_not_to_be_had_a_record_is_made_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    failing(monkeypatch, "link", code)
    begin(path).close()
    assert names(path.parent) == ["file.bin", "file.bin.part"]


def test_nothing_fails_any_more_once_the_record_is_gone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptor is left for the folder: that shows while the record is still there."""
    copy = begin(path)
    bring(copy, *range(6))
    real = os.open

    def no_folder(name: str, *more: Any) -> int:
        if os.path.isdir(name):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(name, *more)

    monkeypatch.setattr(os, "open", no_folder)
    with pytest.raises(LocalError, match="Too many open files"):
        copy.finish()
    assert part_of(path).exists()
    monkeypatch.undo()
    copy.finish()
    copy.close()
    assert names(path.parent) == ["file.bin"]


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


# Closing


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
    with pytest.raises(BusyError):  # whoever is in the kernel with it still owns the file
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
    """The kernel may hang for minutes; whoever presses Ctrl-C does not wait for it."""
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


# Disks that are full, broken or read-only


def failing(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    code: int,
    *,
    of: Any = os,
    when: Callable[[int], bool] = lambda count: True,
) -> list[int]:
    """Let the calls of os.*name* that *when* chooses, counted from 1, fail with *code*; the count is returned."""
    real, calls = getattr(of, name), [0]

    def call(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if when(calls[0]):
            raise OSError(code, os.strerror(code))
        return real(*arguments, **named)

    monkeypatch.setattr(of, name, call)
    return calls


CALLS = ["pwrite", "write", "fsync", "fdatasync", "replace", "link", "ftruncate", "open", "unlink"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EACCES])
@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_fails_at_any_time_leaves_a_record_that_is_right(
    tmp_path: Path, call: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call in turn fails, in a download that is otherwise as any: exit 6, or 0 with the right bytes."""
    for turn in range(1, 40):
        path = tmp_path / str(turn) / "file.bin"
        path.parent.mkdir()
        with monkeypatch.context() as patch:
            calls = failing(patch, call, code, when=turn.__eq__)
            failure: SmartRemoteError | None = None
            copy = None
            try:
                copy = begin(path)
                for blocks in ((0, 3), (1,), (2, 4, 5)):
                    bring(copy, *blocks)
                    save(copy)
                copy.finish()
            except SmartRemoteError as error:
                failure = error
        if copy is not None:
            copy.close()
        if failure is None:
            assert path.read_bytes() == CONTENT
        else:
            assert isinstance(failure, LocalError) and failure.exit_code == 6
            assert str(failure).startswith(str(path)), failure
            full = code in (errno.ENOSPC, errno.EDQUOT)
            assert ("make room" in (failure.hint or "")) == full
            check_leftovers(path, begun=copy is not None)
        if calls[0] < turn:
            assert failure is None
            return
    raise AssertionError("more calls than were thought of")


def check_leftovers(path: Path, *, begun: bool) -> None:
    """Raise unless what is left is nothing, the whole file, or a record that is right."""
    if not begun:
        left = names(path.parent)
        assert left in ([], ["file.bin.part"]), left
        return
    record = load_record(str(path))
    if record is None:
        assert path.read_bytes() == CONTENT
        return
    data = path.read_bytes()
    for block in record.bits:
        assert data[block * BLOCK : (block + 1) * BLOCK] == CONTENT[block * BLOCK : (block + 1) * BLOCK]
    copy = again(path)
    assert copy.blocks.bits == record.bits
    bring(copy, *(block for block in range(6) if block not in record.bits))
    copy.finish()
    copy.close()
    assert path.read_bytes() == CONTENT and names(path.parent) == ["file.bin"]


def test_after_a_failed_sync_nothing_more_is_recorded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel marks the pages clean: the next sync succeeds, and says nothing about them."""
    copy = begin(path)
    bring(copy, 0)
    save(copy)
    bring(copy, 1)
    failing(monkeypatch, "fdatasync", errno.EIO, when=lambda count: count == 1)
    with pytest.raises(LocalError, match="Input/output error"):
        save(copy)
    bring(copy, *range(2, 6))
    with pytest.raises(LocalError, match="an earlier sync failed"):
        save(copy)
    with pytest.raises(LocalError, match="an earlier sync failed"):
        copy.finish()
    copy.close()
    assert load_record(str(path)) == Record(BitMap([0]), IDENTITY, URL)


def test_a_write_that_is_taken_in_parts_is_written_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:1000], offset))
    copy = begin(path)
    bring(copy, *range(6))
    assert copy.read(ByteRange(0, SIZE)) == CONTENT
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: 0)
    with pytest.raises(LocalError, match="Input/output error"):
        bring(copy, 0)
    copy.close()


def test_room_is_foreseen(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = begin(path)
    copy.check_room(SIZE)
    free = os.statvfs(path.parent)
    room = free.f_bavail * free.f_frsize
    with pytest.raises(LocalError, match="bytes free, and") as caught:
        copy.check_room(2 * room)
    assert caught.value.hint is not None and "make room" in caught.value.hint
    failing(monkeypatch, "fstatvfs", errno.ENOSYS)
    copy.check_room(2 * room)  # nobody knows: try
    copy.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of ours, without root's right to write everywhere, where we have that."""
    nobody, me = 65534, os.geteuid()
    with tempfile.TemporaryDirectory() as made:
        if me == 0:
            os.chown(made, nobody, -1)
            os.seteuid(nobody)
        try:
            yield Path(made)
        finally:
            os.seteuid(me)


def test_a_folder_that_is_read_only_is_named(folder: Path) -> None:
    folder.chmod(0o555)
    with pytest.raises(LocalError, match=r"file\.bin.*Permission denied"):
        begin(folder / "file.bin")
    assert names(folder) == []


def test_a_folder_that_turns_read_only_keeps_the_last_record(folder: Path) -> None:
    path = folder / "file.bin"
    copy = begin(path)
    bring(copy, 0)
    save(copy)
    bring(copy, *range(1, 6))
    folder.chmod(0o555)
    with pytest.raises(LocalError, match="Permission denied"):
        save(copy)
    with pytest.raises(LocalError, match="Permission denied"):
        copy.finish()
    folder.chmod(0o755)
    assert load_record(str(path)) == Record(BitMap([0]), IDENTITY, URL)
    copy.close()
    copy = again(path)
    bring(copy, *range(1, 6))
    copy.finish()
    copy.close()
    assert names(folder) == ["file.bin"]


def test_a_folder_that_can_be_written_but_not_read_will_do(folder: Path) -> None:
    folder.chmod(0o333)
    copy = begin(folder / "file.bin")
    bring(copy, *range(6))
    save(copy)
    copy.finish()
    copy.close()
    assert (folder / "file.bin").read_bytes() == CONTENT
    folder.chmod(0o755)


def test_few_descriptors_are_an_error_that_keeps_progress(path: Path) -> None:
    copy = begin(path)
    bring(copy, 0)
    save(copy)
    bring(copy, 1)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (copy.descriptor + 1, before[1]))
    held = []
    try:
        while True:
            try:
                held.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        with pytest.raises(LocalError, match="Too many open files"):
            save(copy)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for descriptor in held:
            os.close(descriptor)
    assert load_record(str(path)) == Record(BitMap([0]), IDENTITY, URL)
    save(copy)
    copy.close()
    assert load_record(str(path)) == Record(BitMap([0, 1]), IDENTITY, URL)


# Simple file systems


def test_a_file_system_without_links_attributes_locks_or_holes_will_do(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "link", errno.EPERM)
    failing(monkeypatch, "setxattr", errno.EOPNOTSUPP)
    failing(monkeypatch, "getxattr", errno.EOPNOTSUPP)
    failing(monkeypatch, "removexattr", errno.EOPNOTSUPP)
    failing(monkeypatch, "flock", errno.ENOLCK, of=fcntl)
    failing(monkeypatch, "lseek", errno.EINVAL)
    failing(monkeypatch, "fchmod", errno.EPERM)
    partial(path, 0, 4)
    with pytest.raises(BusyError):
        begin(path)
    copy = again(path)
    assert copy.blocks.bits == BitMap([0, 4])
    bring(copy, 1, 2, 3, 5)
    save(copy)
    copy.finish()
    copy.close()
    assert path.read_bytes() == CONTENT and names(path.parent) == ["file.bin"]


def test_a_system_without_extended_attributes_will_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("setxattr", "getxattr", "removexattr"):
        monkeypatch.delattr(os, name)
    partial(path, *range(6))
    assert inspect(str(path)) is not None
    copy = again(path)
    copy.finish()
    copy.close()
    assert names(path.parent) == ["file.bin"]


def test_a_folder_that_cannot_be_synced_will_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    partial(path, 0, 4)
    assert again(path).blocks.bits == BitMap([0, 4])


def test_no_clock_is_asked_that_can_be_set() -> None:
    """Only the monotonic clock: setting the time neither stops checkpoints nor lets a wait go on for years."""
    package = Path(creation.__file__).parents[1]
    for file in (
        file for folder in ("store", "transfer", "plan") for file in (package / folder).glob("*.py")
    ):
        text = file.read_text()
        assert "time.time(" not in text and "datetime" not in text, file.name


# Shared copies, which the cache is made of


def test_shared_copies_record_the_union_of_their_blocks(path: Path) -> None:
    one = begin(path, shared=True)
    two = again_shared(path)
    bring(one, 0, 1)
    bring(two, 3)
    save(one)
    save(two)
    bring(one, 5)
    save(one)
    assert load_record(str(path)) == Record(BitMap([0, 1, 3, 5]), IDENTITY, URL)
    one.close()
    two.close()


def again_shared(path: Path) -> LocalCopy:
    record = load_record(str(path))
    assert record is not None
    return LocalCopy.reopen(str(path), URL, record, shared=True)


def test_a_shared_copy_forgets_its_damaged_blocks_and_keeps_the_others(path: Path) -> None:
    one = begin(path, shared=True)
    bring(one, 0, 1)
    save(one)
    two = again_shared(path)
    bring(two, 3)
    save(two)
    one.blocks.forget(ByteRange(0, 1))
    save(one)
    assert load_record(str(path)) == Record(BitMap([1, 3]), IDENTITY, URL)
    one.close()
    two.close()


def test_a_shared_copy_that_was_replaced_records_nothing_more(path: Path) -> None:
    old = begin(path, shared=True)
    bring(old, 0)
    files.remove(str(path), str(part_of(path)))
    new = LocalCopy.create(str(path), URL, Identity(SIZE, '"two"'), shared=True)
    save(old)
    assert load_record(str(path)) == Record(BitMap(), Identity(SIZE, '"two"'), URL)
    assert old.read(ByteRange(0, BLOCK)) == CONTENT[:BLOCK]
    old.close()
    new.close()


def test_a_shared_copy_starts_over_in_a_file_of_its_own(path: Path) -> None:
    one = begin(path, shared=True)
    two = again_shared(path)
    bring(one, 0)
    save(one)
    for copy in (one, two):  # the second finds that the first has done it already
        copy.blocks.clear()
        copy.settle(Identity(SIZE, '"two"'))
        copy.reset(copy.draft_record())
        copy.write(0, memoryview(b"x" * BLOCK))
        copy.blocks.hold(ByteRange(0, BLOCK))
        save(copy)
        assert copy.read(ByteRange(0, BLOCK)) == b"x" * BLOCK
    assert load_record(str(path)) == Record(BitMap([0]), Identity(SIZE, '"two"'), URL)
    assert [name for name in names(path.parent) if not name.startswith(".")] == ["file.bin", "file.bin.part"]
    one.close()
    two.close()


# Memory


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["write", "forget"]),
            st.integers(0, 3 * BLOCK),
            st.integers(1, BLOCK + 100),
        ),
        max_size=12,
    )
)
def test_a_copy_in_memory_reads_what_was_written_and_not_forgotten(steps: list[tuple[str, int, int]]) -> None:
    copy = MemoryCopy(Identity(4 * BLOCK + 200))
    model = bytearray(4 * BLOCK + 200)
    content = memoryview(CONTENT)
    for step, start, length in steps:
        if step == "write":
            copy.write(start, content[start : start + length])
            model[start : start + length] = content[start : start + length]
        else:
            copy.forget(ByteRange(start, start + length))
            first, stop = start // BLOCK, -(-(start + length) // BLOCK)
            model[first * BLOCK : stop * BLOCK] = bytes(len(model[first * BLOCK : stop * BLOCK]))
    for start in range(0, len(model), BLOCK):
        read = copy.read(ByteRange(start, start + BLOCK))
        assert read == model[start : start + len(read)]
        assert not any(model[start + len(read) : start + BLOCK])


def test_where_locks_do_nothing_two_users_of_a_cached_copy_do_not_hinder_each_other(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    one = begin(path, shared=True)
    two = again_shared(path)

    def work(copy: LocalCopy) -> None:
        for _ in range(300):
            bring(copy, 0)
            save(copy)

    assert in_threads(functools.partial(work, one), functools.partial(work, two)) == [None, None]
    assert load_record(str(path)) == Record(BitMap([0]), IDENTITY, URL)
    one.close()
    two.close()


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
