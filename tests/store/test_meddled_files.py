"""Data files that are not what the record says: cut, deleted, replaced, too long, with holes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.errors import LocalError
from smartremote_cli.store.leftovers import load_record, survey
from smartremote_cli.store.part import Record, encode
from tests.store.on_disk import (
    CONTENT,
    IDENTITY,
    SIZE,
    URL,
    again,
    begin,
    bring,
    failing,
    part_of,
    partial,
    save,
)


def test_a_data_file_that_was_cut_loses_the_blocks_past_its_end(path: Path) -> None:
    partial(path, *range(6))
    os.truncate(path, 3 * BLOCK + 10)
    copy = again(path)
    assert copy.blocks.bits == BitMap([0, 1, 2])
    assert load_record(str(path)) == Record(
        BitMap([0, 1, 2]), IDENTITY, URL
    )  # saved before the file grows again
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
    """It would have the right size, and a hole that no record shows."""
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
