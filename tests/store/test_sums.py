"""The sums beside a record: any order of writes, any damage, any size."""

from __future__ import annotations

import itertools
import os
import random
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK, BlockMap
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.store.sums import Sums, sums_path
from tests.support.server import pattern

SIZE = 37 * BLOCK + 77
COUNT = 38
DATA = pattern(SIZE)


@contextmanager
def data_file() -> Iterator[tuple[Path, int]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file.bin")
        path.write_bytes(DATA)
        descriptor = os.open(path, os.O_RDWR)
        try:
            yield path, descriptor
        finally:
            os.close(descriptor)


def saved(path: Path) -> dict[int, int]:
    data = Path(sums_path(str(path))).read_bytes()
    return {block: value for block, (value,) in enumerate(struct.iter_unpack("<I", data)) if value}


def right(block: int) -> int:
    return xxhash.xxh3_64_intdigest(DATA[block * BLOCK : (block + 1) * BLOCK]) & 0xFFFFFFFF


def wrote(sums: Sums, part: ByteRange) -> None:
    sums.note_written(part.start, memoryview(DATA)[part.start : part.stop])


def held(blocks: BitMap) -> BlockMap:
    return BlockMap(SIZE, blocks)


@st.composite
def orders(draw: st.DrawFn) -> list[ByteRange]:
    """Return stretches that cover some of the file, in pieces of any size and in any order."""
    cuts = sorted({0, SIZE, *draw(st.lists(st.integers(1, SIZE - 1), max_size=40))})
    pieces = [ByteRange(start, stop) for start, stop in itertools.pairwise(cuts)]
    return draw(st.permutations(pieces))[: draw(st.integers(0, len(pieces)))]


@given(orders())
@settings(max_examples=60, deadline=None)
def test_whatever_the_order_of_writes_every_held_block_gets_its_sum(pieces: list[ByteRange]) -> None:
    with data_file() as (path, descriptor):
        sums = Sums(str(path))
        written: list[ByteRange] = []
        for piece in pieces:
            wrote(sums, piece)
            written.append(piece)
        bits = BitMap(block for block in range(COUNT) if _covers(written, block))
        sums.save(descriptor, SIZE, bits, bits)
        known = saved(path) if bits else {}
    assert known == {block: right(block) for block in bits}


def _covers(written: list[ByteRange], block: int) -> bool:
    rest = [ByteRange(block * BLOCK, min((block + 1) * BLOCK, SIZE))]
    for part in written:
        rest = [left for whole in rest for left in whole.minus(part)]
    return not rest


@given(damaged=st.sets(st.integers(0, COUNT - 1)), unknown=st.sets(st.integers(0, COUNT - 1)))
@settings(max_examples=40, deadline=None)
def test_a_check_finds_just_the_blocks_that_are_not_what_they_were(
    damaged: set[int], unknown: set[int]
) -> None:
    with data_file() as (path, descriptor):
        sums = Sums(str(path))
        wrote(sums, ByteRange(0, SIZE))
        known = BitMap(range(COUNT)) - BitMap(unknown)
        sums.save(descriptor, SIZE, known, known)
        for block in damaged:
            at = random.Random(block).randrange(block * BLOCK, min((block + 1) * BLOCK, SIZE))
            os.pwrite(descriptor, bytes([DATA[at] ^ 1]), at)
        wrong, not_known = Sums(str(path)).check(descriptor, held(BitMap(range(COUNT))))
    assert wrong == BitMap(damaged) - BitMap(unknown) and not_known == BitMap(unknown)


def test_the_sum_is_of_what_was_written_not_of_what_is_there_by_then() -> None:
    with data_file() as (path, descriptor):
        sums = Sums(str(path))
        wrote(sums, ByteRange(0, BLOCK))
        os.pwrite(descriptor, b"somebody else's", 100)
        sums.save(descriptor, SIZE, BitMap([0]), BitMap([0]))
        assert sums.check(descriptor, held(BitMap([0]))) == (BitMap([0]), BitMap())


def test_a_block_that_is_fetched_again_gets_a_new_sum() -> None:
    with data_file() as (path, descriptor):
        sums = Sums(str(path))
        sums.note_written(0, memoryview(b"x" * BLOCK))
        sums.save(descriptor, SIZE, BitMap([0]), BitMap([0]))
        sums.note_written(0, memoryview(DATA)[:100])  # half of another version, and then all of the right one
        wrote(sums, ByteRange(0, BLOCK))
        sums.save(descriptor, SIZE, BitMap([0]), BitMap())
        assert saved(path) == {0: right(0)}


def test_where_the_size_is_not_known_the_last_block_is_summed_when_it_is() -> None:
    with data_file() as (path, descriptor):
        sums = Sums(str(path))
        wrote(sums, ByteRange(36 * BLOCK, SIZE))
        sums.save(descriptor, 2**48, BitMap([36]), BitMap([36]))
        assert saved(path) == {36: right(36)}
        sums.save(descriptor, SIZE, BitMap([36, 37]), BitMap([37]))
        assert saved(path) == {36: right(36), 37: right(37)}


@pytest.mark.parametrize("what", ["nothing", "a folder", "a link", "a fifo", "half a sum"])
def test_where_there_are_no_sums_nothing_is_known_and_nothing_breaks(tmp_path: Path, what: str) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(DATA)
    beside = Path(sums_path(str(path)))
    target = tmp_path / "another"
    match what:
        case "a folder":
            beside.mkdir()
        case "a link":
            target.write_bytes(b"somebody's")
            beside.symlink_to(target)
        case "a fifo":
            os.mkfifo(beside)
        case "half a sum":
            beside.write_bytes(b"\1\2")
    descriptor = os.open(path, os.O_RDWR)
    sums = Sums(str(path))
    wrote(sums, ByteRange(5 * BLOCK, 6 * BLOCK))
    if what != "half a sum":
        assert sums.check(descriptor, held(BitMap([1, 5]))) == (BitMap(), BitMap([1, 5]))
    else:
        assert sums.check(descriptor, held(BitMap([1, 5])))[1] == BitMap([1, 5])
    sums.save(descriptor, SIZE, BitMap([5]), BitMap([5]))
    sums.remove()
    os.close(descriptor)
    if what == "a link":
        assert target.read_bytes() == b"somebody's"


def test_the_file_is_as_sparse_as_what_it_speaks_of(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    sums = Sums(str(path))
    block = 2**31
    sums.note_written(block * BLOCK, memoryview(DATA)[:BLOCK])
    sums.save(-1, 2**48, BitMap([block]), BitMap())
    beside = os.stat(sums_path(str(path)))
    assert beside.st_size == 4 * (block + 1) and beside.st_blocks * 512 <= 65_536
    assert beside.st_mode & 0o777 == 0o600


@pytest.mark.parametrize("length", [1, 245, 246, 255])
def test_long_names_have_sums_too(length: int) -> None:
    folder, name = os.path.split(sums_path(f"/a/{'n' * length}"))
    assert folder == "/a" and len(name) <= 255 and name.endswith(".part.sums")
