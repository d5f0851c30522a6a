"""Gaps to requests, against a model of block numbers; who is stolen from; how long is waited."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK, MAX_BLOCKS, MAX_SIZE, BlockMap
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.plan import planner
from smartremote_cli.plan.planner import (
    MIB,
    Load,
    next_gap,
    pause,
    request_length,
    samples,
    steal,
    take_over,
    with_seams,
)

MOST = 16  # blocks of the model's resource


def blocks_of(first: int, stop: int) -> ByteRange:
    return ByteRange(first * BLOCK, stop * BLOCK)


runs = st.tuples(st.integers(0, MOST - 1), st.integers(1, 6)).map(
    lambda run: blocks_of(run[0], run[0] + run[1])
)


@st.composite
def maps(draw: st.DrawFn) -> BlockMap:
    size = draw(st.integers(1, MOST)) * BLOCK - draw(st.sampled_from([0, 1, BLOCK - 1]))
    return BlockMap.fitting(size, BitMap(draw(st.sets(st.integers(0, MOST - 1)))))


def numbers(run: ByteRange) -> list[int]:
    return list(range(run.start // BLOCK, -(-run.stop // BLOCK)))


# -- what to ask for next --


@settings(deadline=None)
@given(maps(), st.lists(runs, max_size=3), st.lists(runs, max_size=4), st.integers(1, 5))
def test_the_next_gap_is_the_first_run_that_is_wanted_and_neither_held_nor_claimed(
    blocks: BlockMap, wanted: list[ByteRange], claimed: list[ByteRange], limit: int
) -> None:
    taken = {block for claim in claimed for block in numbers(claim)}
    expected: list[int] = []
    for want in wanted:
        free = [b for b in numbers(want) if b < blocks.count and not blocks.holds_block(b) and b not in taken]
        if free:
            expected = [b for at, b in enumerate(free) if b == free[0] + at][:limit]
            break
    gap = next_gap(blocks, wanted, claimed, limit * BLOCK)
    assert (numbers(gap) if gap else []) == expected
    if gap is not None:
        assert gap.start % BLOCK == 0
        assert gap.stop % BLOCK == 0 or gap.stop == blocks.size


@settings(deadline=None)
@given(maps(), st.integers(1, 3))
def test_gap_after_gap_is_everything_once(blocks: BlockMap, limit: int) -> None:
    claims: list[ByteRange] = []
    while gap := next_gap(blocks, [ByteRange(0, blocks.size)], claims, limit * BLOCK):
        claims.append(gap)
    assert sorted(claims) == claims
    assert sum(map(len, claims)) == blocks.size - blocks.bytes_held
    assert not any(a.overlaps(b) for a, b in itertools.pairwise(claims))


def test_the_bytes_wanted_most_come_first() -> None:
    late, early = blocks_of(8, 9), blocks_of(0, 16)
    assert next_gap(BlockMap(16 * BLOCK), [late, early], [], MIB) == late
    assert next_gap(BlockMap(16 * BLOCK), [late, early], [late], 4 * BLOCK) == blocks_of(0, 4)


@pytest.mark.parametrize("size", [0, 1, 4 * BLOCK])
def test_nothing_past_the_end_is_asked_for(size: int) -> None:
    assert next_gap(BlockMap(size), [ByteRange(size, size + 9)], [], MIB) is None


def test_four_billion_missing_blocks_are_no_work() -> None:
    everything = [ByteRange(0, MAX_SIZE)]
    assert next_gap(BlockMap(MAX_SIZE), everything, [ByteRange(0, MAX_SIZE - BLOCK)], MIB) == blocks_of(
        MAX_BLOCKS - 1, MAX_BLOCKS
    )


@settings(deadline=None)
@given(st.integers(0, MAX_SIZE), st.integers(0, 1000))
def test_a_request_is_bounded_and_ends_at_a_block(missing: int, connections: int) -> None:
    length = request_length(missing, connections)
    assert length % BLOCK == 0
    most = planner.MAX_REQUEST if connections > 1 else planner.MAX_ALONE
    assert planner.MIN_REQUEST <= length <= most


def test_requests_shrink_with_what_is_left_so_that_connections_finish_together() -> None:
    lengths = [request_length(missing * MIB, 8) for missing in (10_000, 256, 64, 32, 16, 1, 0)]
    assert lengths == [128 * MIB, 16 * MIB, 4 * MIB, 2 * MIB, MIB, MIB, MIB]
    assert request_length(10 * MIB, 1) == 256 * MIB


def test_a_request_over_a_fast_connection_is_worth_a_second_of_it_but_no_more_than_its_share() -> None:
    assert request_length(256 * MIB, 8, 20 * MIB) == 20 * MIB
    assert request_length(256 * MIB, 8, 100 * MIB) == 32 * MIB
    assert request_length(256 * MIB, 8, 1 * MIB) == 16 * MIB


def test_a_connection_far_below_the_usual_pace_loses_its_work_unless_it_is_done_soon() -> None:
    fast, slow = Load(ByteRange(0, 40 * MIB), 8.0 * MIB), Load(ByteRange(0, 2 * MIB), 0.1 * MIB)
    assert planner.take_over([fast, slow], 8.0 * MIB) == 1
    assert planner.take_over([fast, slow], 0.0) is None  # nothing is usual yet
    assert planner.take_over([fast, Load(ByteRange(0, 1024), 0.1 * MIB)], 8.0 * MIB) is None


# -- stealing --

loads = st.builds(
    lambda start, length, pace: Load(ByteRange(start, start + length), pace),
    st.integers(0, 40 * BLOCK),
    st.integers(1, 40 * BLOCK),
    st.sampled_from([0.0, 1.0, BLOCK / 4, 10.0 * BLOCK, 1e9]),
)


@settings(deadline=None)
@given(st.lists(loads, max_size=6))
def test_a_thief_takes_whole_blocks_of_the_load_that_takes_longest(crowd: list[Load]) -> None:
    found = steal(crowd)
    worth = [
        load
        for load in crowd
        if len(load.left) >= planner.MIN_STEAL and load.seconds > planner.MIN_STEAL_SECONDS
    ]
    if not worth:
        assert found is None
        return
    assert found is not None
    victim, cut = crowd[found[0]], found[1]
    assert victim in worth
    assert victim.seconds == max(load.seconds for load in worth)
    assert cut % BLOCK == 0
    assert victim.left.start < cut < victim.left.stop
    assert abs((cut - victim.left.start) - len(victim.left) / 2) <= BLOCK


@pytest.mark.parametrize(
    ("crowd", "found"),
    [
        ([], None),
        ([Load(blocks_of(0, 3), 1.0)], None),  # short
        ([Load(blocks_of(0, 16), 1e9)], None),  # finished soon
        ([Load(blocks_of(0, 16), 1.0)], (0, 8 * BLOCK)),
        (
            [Load(blocks_of(0, 16), 1.0), Load(blocks_of(16, 20), 0.0)],
            (1, 18 * BLOCK),
        ),  # nothing came of it yet
        ([Load(blocks_of(0, 4), 0.0), Load(blocks_of(4, 14), 0.0)], (1, 9 * BLOCK)),
        ([Load(ByteRange(7, 4 * BLOCK + 7), 1.0)], (0, 3 * BLOCK)),
    ],
)
def test_who_is_stolen_from(crowd: list[Load], found: tuple[int, int] | None) -> None:
    assert steal(crowd) == found


@pytest.mark.parametrize(
    ("paces", "usual", "slow"),
    [
        ([], MIB, None),
        ([1.0], 0, None),  # nothing is usual yet
        ([MIB], MIB, None),
        ([MIB / 4], MIB, None),
        ([MIB / 5], MIB, 0),
        ([MIB, MIB / 5, MIB / 80], MIB, 2),
    ],
)
def test_the_slowest_of_those_far_below_the_usual_pace_loses_all(
    paces: list[float], usual: float, slow: int | None
) -> None:
    assert take_over([Load(ByteRange(0, 8 * MIB), pace) for pace in paces], usual) == slow


# -- waiting --


@settings(deadline=None)
@given(st.integers(1, 100_000), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_never_none_and_never_endless(failures: int, chance: float) -> None:
    assert 0.1 < pause(failures, chance) < 60


@settings(deadline=None)
@given(st.integers(1, 50), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_with_every_failure(failures: int, chance: float) -> None:
    assert pause(failures, chance) <= pause(failures + 1, chance)
    assert pause(failures + 20, chance) >= 10 * pause(1, chance)


def test_chance_spreads_the_crowd() -> None:
    assert len({pause(3, chance / 10) for chance in range(10)}) == 10
    assert pause(3, 0.99) > 2 * pause(3, 0)


# -- comparisons --


@settings(deadline=None)
@given(runs, st.booleans(), st.booleans())
def test_seams_reach_into_the_neighbours_that_are_held_and_nowhere_else(
    gap: ByteRange, left: bool, right: bool
) -> None:
    wide = with_seams(gap, left, right)
    assert wide.contains(gap)
    assert wide.start == (max(0, gap.start - 1024) if left else gap.start)
    assert wide.stop == gap.stop + (1024 if right else 0)


@settings(deadline=None)
@given(maps(), st.integers(1, MOST + 2))
def test_samples_are_held_blocks_each_once_from_the_first_to_the_last(blocks: BlockMap, most: int) -> None:
    held = list(blocks.bits)
    chosen = samples(blocks, most)
    assert len(chosen) == min(most, len(held))
    assert all(blocks.holds(sample) and len(numbers(sample)) == 1 for sample in chosen)
    assert sorted(set(chosen)) == chosen
    if chosen:
        assert numbers(chosen[0]) == held[:1]
    if len(chosen) > 1:
        assert numbers(chosen[-1]) == held[-1:]


def test_samples_of_four_billion_blocks_are_spread_and_cost_nothing() -> None:
    bits = BitMap()
    bits.add_range(0, MAX_BLOCKS)
    starts = [sample.start // BLOCK for sample in samples(BlockMap(MAX_SIZE, bits), 8)]
    assert starts == [index * (MAX_BLOCKS - 1) // 7 for index in range(8)]
