"""Shared copies, which the cache is made of."""

from __future__ import annotations

import errno
import fcntl
import functools
import os
from pathlib import Path

import pytest
from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.protocol.identity import Identity
from smartremote_cli.store import files
from smartremote_cli.store.leftovers import load_record
from smartremote_cli.store.local_copy import LocalCopy
from smartremote_cli.store.part import Record
from tests.store.on_disk import CONTENT, IDENTITY, SIZE, URL, again, begin, bring, part_of, save
from tests.support.threads import in_threads
from tests.support.tool import names


def test_shared_copies_record_the_union_of_their_blocks(path: Path) -> None:
    one = begin(path, shared=True)
    two = again(path, shared=True)
    bring(one, 0, 1)
    bring(two, 3)
    save(one)
    save(two)
    bring(one, 5)
    save(one)
    assert load_record(str(path)) == Record(BitMap([0, 1, 3, 5]), IDENTITY, URL)
    one.close()
    two.close()


def test_a_shared_copy_forgets_its_damaged_blocks_and_keeps_the_others(path: Path) -> None:
    one = begin(path, shared=True)
    bring(one, 0, 1)
    save(one)
    two = again(path, shared=True)
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
    two = again(path, shared=True)
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


def test_where_locks_do_nothing_two_users_of_a_cached_copy_do_not_hinder_each_other(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    one = begin(path, shared=True)
    two = again(path, shared=True)

    def work(copy: LocalCopy) -> None:
        for _ in range(300):
            bring(copy, 0)
            save(copy)

    assert in_threads(functools.partial(work, one), functools.partial(work, two)) == [None, None]
    assert load_record(str(path)) == Record(BitMap([0]), IDENTITY, URL)
    one.close()
    two.close()
