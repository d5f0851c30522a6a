"""BlockMap against a plain model: the set of the numbers of the blocks that are held."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK, MAX_BLOCKS, MAX_SIZE, BlockMap, blocks_in
from smartremote_cli.core.ranges import ByteRange

MOST = 12  # blocks of the model's resource

# Where mistakes live: at the edges of blocks, and one byte to either side.
edges = st.builds(
    lambda block, shift: max(0, block * BLOCK + shift), st.integers(0, MOST), st.sampled_from([-1, 0, 1, 777])
)
sizes = edges.filter(lambda size: size <= MOST * BLOCK)
spans = st.tuples(edges, edges).filter(lambda pair: pair[0] < pair[1]).map(lambda pair: ByteRange(*pair))


def bytes_of(block: int, size: int) -> ByteRange:
    return ByteRange(block * BLOCK, min((block + 1) * BLOCK, size))


def runs_of(blocks: set[int], size: int) -> list[ByteRange]:
    """Return the runs of neighbours in *blocks*, as bytes."""
    runs: list[ByteRange] = []
    for block in sorted(blocks):
        here = bytes_of(block, size)
        if runs and runs[-1].stop == here.start:
            here = ByteRange(runs.pop().start, here.stop)
        runs.append(here)
    return runs


def whole(span: ByteRange, size: int) -> set[int]:
    """Return the blocks all of whose bytes are in *span*."""
    return {block for block in range(blocks_in(size)) if span.contains(bytes_of(block, size))}


def touched(span: ByteRange, size: int) -> set[int]:
    """Return the blocks that *span* touches, the last one taken for as long as the others."""
    return {block for block in range(blocks_in(size)) if span.overlaps(bytes_of(block, MAX_SIZE))}


class Model(RuleBasedStateMachine):
    size: int
    held: set[int]
    map: BlockMap

    @initialize(size=sizes)
    def begin(self, size: int) -> None:
        self.size, self.held, self.map = size, set(), BlockMap(size)

    @rule(span=spans)
    def hold(self, span: ByteRange) -> None:
        before = self.bytes_held()
        new = whole(span, self.size)
        assert set(self.map.inside(span)) == new
        self.held |= new
        assert self.map.hold(span) == self.bytes_held() - before

    @rule(span=spans)
    def forget(self, span: ByteRange) -> None:
        self.held -= touched(span, self.size)
        self.map.forget(span)

    @rule()
    def clear(self) -> None:
        self.held.clear()
        self.map.clear()

    @rule(size=sizes)
    def learn_another_size(self, size: int) -> None:
        self.size = size
        self.held &= set(range(blocks_in(size)))
        self.map = BlockMap.fitting(size, self.map.bits)

    @rule(span=spans)
    def ask(self, span: ByteRange) -> None:
        there = touched(span, self.size)
        assert list(self.map.present(span)) == runs_of(self.held & there, self.size)
        assert list(self.map.missing(span)) == runs_of(there - self.held, self.size)
        assert self.map.holds(span) == (span.stop <= self.size and there <= self.held)
        if span.start < self.size:
            assert [self.map.align(span)] == runs_of(there, self.size)

    @rule(first=st.integers(0, MOST), stop=st.integers(0, MOST))
    def count(self, first: int, stop: int) -> None:
        assert self.map.held_in(first, stop) == len(self.held & set(range(first, stop)))

    def bytes_held(self) -> int:
        return sum(len(bytes_of(block, self.size)) for block in self.held)

    @invariant()
    def agrees(self) -> None:
        everything = set(range(blocks_in(self.size)))
        assert set(self.map.bits) == self.held
        assert self.map.held == len(self.held)
        assert self.map.count == len(everything)
        assert self.map.bytes_held == self.bytes_held()
        assert self.map.is_complete == (self.held == everything)
        assert {block for block in range(MOST + 2) if self.map.holds_block(block)} == self.held
        assert list(self.map.present()) == runs_of(self.held, self.size)
        assert list(self.map.missing()) == runs_of(everything - self.held, self.size)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=25)


@pytest.mark.parametrize(
    ("size", "count"),
    [(0, 0), (1, 1), (BLOCK - 1, 1), (BLOCK, 1), (BLOCK + 1, 2), (MAX_SIZE, MAX_BLOCKS)],
)
def test_the_last_block_may_be_shorter(size: int, count: int) -> None:
    assert blocks_in(size) == BlockMap(size).count == count


@pytest.mark.parametrize(("first", "stop"), [(2, 2), (3, 1)])
def test_no_block_is_held_between_an_end_and_what_comes_before_it(first: int, stop: int) -> None:
    assert BlockMap(4 * BLOCK, BitMap([1, 2, 3])).held_in(first, stop) == 0


@pytest.mark.parametrize("size", [-1, MAX_SIZE + 1])
def test_an_absurd_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="not between"):
        BlockMap(size)


@pytest.mark.parametrize(("size", "block"), [(0, 0), (1, 1), (BLOCK, 1), (BLOCK + 1, 2), (3, MAX_BLOCKS - 1)])
def test_a_block_past_the_end_is_refused_and_dropped_when_a_map_is_made_to_fit(size: int, block: int) -> None:
    with pytest.raises(ValueError, match="past the end"):
        BlockMap(size, BitMap([block]))
    assert not BlockMap.fitting(size, BitMap([block])).held


def test_as_many_blocks_as_there_are_do_not_make_a_file_complete() -> None:
    """Go's SmartRemote counts, and takes a file with a hole for whole when a block past its end is marked."""
    assert not BlockMap.fitting(3 * BLOCK, BitMap([0, 2, 3])).is_complete
    assert BlockMap.fitting(3 * BLOCK, BitMap([0, 1, 2, 3])).is_complete


def test_bytes_past_the_end_are_never_held() -> None:
    blocks = BlockMap(BLOCK + 9, BitMap([0, 1]))
    assert blocks.holds(ByteRange(0, BLOCK + 9))
    assert not blocks.holds(ByteRange(0, BLOCK + 10))
    assert not blocks.holds(ByteRange(BLOCK + 9, BLOCK + 10))


def test_an_empty_resource_is_complete_and_misses_nothing() -> None:
    empty = BlockMap(0)
    assert empty.is_complete
    assert list(empty.missing()) == list(empty.present()) == []
    assert empty.hold(ByteRange(0, 1)) == empty.bytes_held == 0


def test_the_copy_for_the_record_does_not_follow_the_map() -> None:
    blocks = BlockMap(4 * BLOCK)
    blocks.hold(ByteRange(0, BLOCK))
    copy = blocks.bits
    blocks.hold(ByteRange(BLOCK, 2 * BLOCK))
    copy.add(3)
    assert set(blocks.bits) == {0, 1}


def test_a_map_may_change_between_two_runs() -> None:
    blocks = BlockMap(8 * BLOCK, BitMap([1, 3, 5]))
    runs = blocks.missing()
    assert next(runs) == ByteRange(0, BLOCK)
    blocks.hold(ByteRange(2 * BLOCK, 5 * BLOCK))
    assert list(runs) == [ByteRange(6 * BLOCK, 8 * BLOCK)]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, MAX_BLOCKS - 1), st.integers(1, MAX_BLOCKS), st.integers(0, 1))
def test_four_billion_blocks_cost_no_more_than_their_runs(first: int, count: int, short: int) -> None:
    size = MAX_SIZE - short
    span = ByteRange(first * BLOCK, min((first + count) * BLOCK, size))
    tracemalloc.start()
    try:
        blocks = BlockMap(size)
        assert blocks.hold(span) == len(span) == blocks.bytes_held
        assert list(blocks.present()) == [span]
        assert list(blocks.missing()) == ByteRange(0, size).minus(span)
        assert blocks.is_complete == (span == ByteRange(0, size))
        blocks.forget(ByteRange(span.stop - 1, span.stop))
        assert blocks.bytes_held == (span.stop - 1) // BLOCK * BLOCK - span.start
        blocks.forget(ByteRange(0, 2**64))
        assert not blocks.held
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@given(st.sets(st.integers(0, 40)), st.integers(0, 41 * BLOCK))
@example({39, 40}, 39 * BLOCK)  # up to the short last block, which ends before its 64 KiB
@example({40}, 40 * BLOCK + 16)
@example({40}, 40 * BLOCK + 18)  # past the end
def test_reach_ends_where_the_first_byte_is_missing(held: set[int], start: int) -> None:
    size = 40 * BLOCK + 17
    blocks = BlockMap.fitting(size, BitMap(held))
    end = start
    while end < size and end // BLOCK in held:
        end = min((end // BLOCK + 1) * BLOCK, size)
    assert blocks.reach(start) == end


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, 2 * BLOCK + 17),
        (2 * BLOCK + 16, 2 * BLOCK + 17),
        (2 * BLOCK + 17, 2 * BLOCK + 17),
        (2 * BLOCK + 18, 2 * BLOCK + 18),
        (3 * BLOCK, 3 * BLOCK),
    ],
)
def test_reach_ends_with_the_resource_where_the_last_block_is_short(start: int, end: int) -> None:
    assert BlockMap(2 * BLOCK + 17, BitMap([0, 1, 2])).reach(start) == end


def test_what_drops_held_blocks_is_counted() -> None:
    blocks = BlockMap(BLOCK * 4, BitMap([0, 1, 2]))
    blocks.forget(ByteRange(0, 1))
    blocks.drop(BitMap([1]))
    assert (blocks.losses, blocks.bits) == (2, BitMap([2]))
    blocks.clear()
    assert (blocks.losses, blocks.held) == (3, 0)
