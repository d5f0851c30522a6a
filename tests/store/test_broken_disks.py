"""Disks that are full, broken or read-only: an error that says so, and a record that is right."""

from __future__ import annotations

import errno
import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.errors import LocalError, SmartRemoteError
from smartremote_cli.store.leftovers import load_record
from smartremote_cli.store.part import Record
from tests.store.on_disk import CONTENT, IDENTITY, SIZE, URL, again, begin, bring, failing, part_of, save
from tests.support.tool import names

CALLS = ["pwrite", "write", "fsync", "fdatasync", "replace", "link", "ftruncate", "open", "unlink"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EACCES])
@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_fails_at_any_time_leaves_a_record_that_is_right(
    tmp_path: Path, call: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call of a download fails, each in turn: exit 6, or 0 with the right bytes."""
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
    copy.check_room(2 * room)  # the free space is unknown: try
    copy.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of ours; where the tests run as root, root's right to write everywhere is given up for it."""
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
