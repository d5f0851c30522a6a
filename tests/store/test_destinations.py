"""Destinations without a network: what each asks first, and what it opens when the resource is met, and met again."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.errors import BusyError, ForeignFileError, RemoteChangedError
from smartremote_cli.events import Event, Notice
from smartremote_cli.protocol.answers import Asked
from smartremote_cli.protocol.headers import Headers
from smartremote_cli.protocol.identity import Identity
from smartremote_cli.store.cache import Cache
from smartremote_cli.store.cache_destination import CacheDestination
from smartremote_cli.store.copies import Copy, Opened
from smartremote_cli.store.destinations import Destination, MemoryDestination
from smartremote_cli.store.file_destination import FileDestination
from smartremote_cli.store.leftovers import load_record
from smartremote_cli.store.memory_copy import MAX_IN_MEMORY
from tests.support.server import pattern

URL = "http://host/file.bin"
SIZE = 40 * BLOCK + 100
DATA = pattern(SIZE)
ONE, TWO = Identity(SIZE, '"one"'), Identity(SIZE + 1, '"two"')
START = Asked(range=ByteRange(0, BLOCK))


@dataclass(frozen=True)
class Answer:
    """The head of a first answer."""

    status: int = 206
    headers: Headers = field(default_factory=Headers)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.bin"


def to(path: Path, *, overwrite: bool = False) -> FileDestination:
    return FileDestination(URL, URL, str(path), sync=False, overwrite=overwrite)


def opened(destination: Destination, identity: Identity = ONE, answer: Answer | None = None) -> Opened:
    """Open it with a first answer and settle the copy, as a transfer does."""
    made = destination.open(identity, answer or Answer())
    made.copy.settle(identity)
    return made


def bring(copy: Copy, *blocks: int) -> None:
    for block in blocks:
        part = copy.blocks.align(ByteRange(block * BLOCK, block * BLOCK + 1))
        copy.write(part.start, memoryview(DATA)[part.start : part.stop])
        copy.blocks.hold(part)


def partial(path: Path, *blocks: int) -> None:
    """Leave what an interrupted run leaves."""
    destination = to(path)
    copy = opened(destination).copy
    bring(copy, *blocks)
    copy.checkpoint(copy.draft_record())
    destination.close()


def recorded(path: Path) -> BitMap:
    record = load_record(str(path))
    assert record is not None
    return record.bits


# A named file


def test_a_new_file_is_begun_and_met_again_with_what_it_holds_by_then(path: Path) -> None:
    destination = to(path)
    assert destination.copy is None
    first = opened(destination)
    assert (first.resumed, first.samples) == (False, ())
    bring(first.copy, 0, 7)
    again = opened(destination)
    assert again.copy is first.copy
    assert (again.resumed, again.samples) == (True, ())
    with pytest.raises(RemoteChangedError):
        destination.open(TWO, Answer())
    destination.close()


def test_an_earlier_run_is_gone_on_with_from_what_is_missing(path: Path) -> None:
    partial(path, 0, 1)
    destination = to(path)
    asked, _ = destination.first(0, None)
    assert asked.range is not None and asked.inside
    assert 2 * BLOCK - asked.range.start in range(1, BLOCK)
    found = opened(destination)
    assert found.resumed and found.copy.blocks.bits == BitMap([0, 1])
    destination.close()


def test_a_complete_file_is_compared_and_compared_again_after_a_failure(path: Path) -> None:
    path.write_bytes(DATA)
    destination = to(path)
    assert destination.first(0, None) == (START, {})
    for _ in range(2):
        found = opened(destination)
        assert not found.copy.is_durable
        assert {ByteRange(0, 4096), ByteRange(40 * BLOCK, SIZE)} < set(found.samples)
        assert len({sample.start // BLOCK for sample in found.samples}) == 18
        assert found.mismatch is not None and isinstance(found.mismatch("why"), ForeignFileError)
        assert destination.first(0, None) == (START, {})
    with pytest.raises(RemoteChangedError):
        destination.open(TWO, Answer())
    destination.close()
    assert path.read_bytes() == DATA


def test_a_changed_resource_is_begun_anew_and_can_be_met_again(path: Path) -> None:
    """What was held is gone on disk before the new version is asked for."""
    partial(path, 0, 1)
    destination = to(path)
    with pytest.raises(RemoteChangedError):
        destination.open(TWO, Answer())
    destination.give_up_held()
    assert recorded(path) == BitMap()
    asked, _ = destination.first(0, None)
    assert asked.range is not None and asked.range.start == 0 and not asked.inside
    found = opened(destination, TWO)
    assert (found.resumed, found.samples) == (False, ())
    assert opened(destination, TWO).copy is found.copy
    destination.close()


def test_a_file_is_finished_once_and_its_record_can_come_back(path: Path) -> None:
    destination = to(path)
    copy = opened(destination).copy
    bring(copy, *range(41))
    destination.finish()
    assert os.listdir(path.parent) == ["file.bin"] and path.read_bytes() == DATA
    assert destination.reopen_record() is copy
    assert recorded(path) == BitMap(range(41))
    destination.close()


def test_a_file_that_was_complete_gets_a_record_when_it_is_to_be_mended(path: Path) -> None:
    path.write_bytes(DATA)
    destination = to(path)
    opened(destination)
    copy = destination.reopen_record()
    assert copy.is_durable and copy.blocks.is_complete
    assert recorded(path) == BitMap(range(41))
    destination.close()


def test_a_record_that_appears_meanwhile_is_another_processes(path: Path) -> None:
    destination = to(path)
    partial(path, 0)
    with pytest.raises(BusyError):
        destination.open(ONE, Answer())


def test_what_is_to_be_overwritten_is_neither_asked_about_nor_compared(path: Path) -> None:
    path.write_bytes(DATA[::-1])
    destination = to(path, overwrite=True)
    assert destination.first(0, None)[0] != START
    found = opened(destination)
    assert found.samples == () and found.copy.is_durable
    bring(found.copy, 0)
    assert opened(destination).resumed, "what is brought now is not to be overwritten"
    destination.close()


@pytest.mark.parametrize(
    ("blocks", "said"),
    [(range(1), "size and 1 sample block"), (range(20), "size and 8 sample blocks"), (range(0), "size")],
)
def test_of_another_url_the_user_learns_what_is_compared(path: Path, blocks: range, said: str) -> None:
    partial(path, *blocks)
    heard: list[Event] = []
    destination = FileDestination(URL, URL, str(path), listener=heard.append, other_url=True)
    opened(destination, Identity(SIZE, '"elsewhere"'))
    destination.close()
    assert heard == [Notice(f"{URL}: checking that the new URL serves the same file: {said}")]


# What every destination and copy answers


def test_only_memory_is_bounded_and_only_files_have_a_stat(path: Path, tmp_path: Path) -> None:
    memory = MemoryDestination(URL)
    cached = CacheDestination(Cache(str(tmp_path / "cache")), URL, URL)
    named = to(path)
    assert [each.max_bytes for each in (memory, cached, named)] == [MAX_IN_MEMORY, None, None]
    assert opened(memory).copy.stat() is None
    for destination in (cached, named):
        found = opened(destination).copy.stat()
        assert found is not None and destination.path is not None
        assert found.st_ino == os.stat(destination.path).st_ino and found.st_size == SIZE
        destination.close()


def test_a_copy_is_opened_unasked_where_there_is_one(path: Path, tmp_path: Path) -> None:
    cache = Cache(str(tmp_path / "cache"))

    def all_of_them() -> list[Destination]:
        return [MemoryDestination(URL), CacheDestination(cache, URL, URL), to(path)]

    assert [each.open_unasked() for each in all_of_them()] == [None, None, None]
    for destination in all_of_them():
        copy = opened(destination).copy
        bring(copy, 3)
        copy.checkpoint(copy.draft_record())
        assert destination.open_unasked() is copy
        destination.close()
    memory, cached, named = all_of_them()
    assert memory.open_unasked() is None
    for destination in (cached, named):
        found = destination.open_unasked()
        assert found is not None and found.blocks.bits == BitMap([3])
        assert found.read(ByteRange(3 * BLOCK, 4 * BLOCK)) == DATA[3 * BLOCK : 4 * BLOCK]
        destination.close()


def test_an_entry_without_a_strong_validator_is_fetched_anew_and_can_be_read_offline(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path / "cache"))
    weak = Identity(SIZE, 'W/"one"')
    before = CacheDestination(cache, URL, URL)
    copy = opened(before, weak).copy
    bring(copy, 0)
    copy.checkpoint(copy.draft_record())
    before.close()
    unasked = CacheDestination(cache, URL, URL)
    assert unasked.first(0, 10)[1] == {}
    offline = unasked.open_unasked()
    assert offline is not None and offline.blocks.bits == BitMap([0])
    unasked.close()
    asked = CacheDestination(cache, URL, URL)
    assert asked.first(0, 10)[1] == {}
    assert not opened(asked, weak).copy.blocks.held
    asked.close()
