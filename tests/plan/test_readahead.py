"""What is asked for when some bytes are read: streams, jumps, windows. Values alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.plan.readahead import MAX_AHEAD, Readahead

KIB, MIB = 1 << 10, 1 << 20


def blocks(first: int, stop: int) -> ByteRange:
    return ByteRange(first * BLOCK, stop * BLOCK)


def test_a_first_read_asks_for_its_blocks_and_nothing_else() -> None:
    plan = Readahead(3, 512 * KIB).read(ByteRange(100_000, 100_010))
    assert plan.request == blocks(1, 2)
    assert plan.cancelled == ()


def test_a_read_across_an_edge_asks_for_both_blocks() -> None:
    assert Readahead(3, 0).read(ByteRange(BLOCK - 1, BLOCK + 1)).request == blocks(0, 2)


def test_reading_on_asks_for_more_and_more_up_to_a_bound() -> None:
    ahead = Readahead(3, 512 * KIB)
    lengths = []
    for start in range(0, 100 * MIB, 4 * KIB):
        plan = ahead.read(ByteRange(start, start + 4 * KIB))
        if plan.request is not None:
            lengths.append(plan.request.stop - start)
    assert lengths == sorted(lengths)
    assert lengths[0] == BLOCK
    assert max(lengths) <= 2 * MAX_AHEAD
    assert len(lengths) <= 14


def test_a_window_that_is_half_read_is_asked_for_no_further() -> None:
    ahead = Readahead(3, 512 * KIB)
    ahead.read(ByteRange(0, 10))
    want = ahead.read(ByteRange(10, BLOCK)).request
    assert want is not None
    assert ahead.read(ByteRange(BLOCK, BLOCK + 10)).request is None


def test_a_jump_ahead_reads_on_and_keeps_what_it_passes() -> None:
    ahead = Readahead(3, 512 * KIB)
    ahead.read(ByteRange(0, 10))
    want = ahead.read(ByteRange(10 + 400 * KIB, 20 + 400 * KIB)).request
    assert want is not None and want.start <= BLOCK and want.stop > 400 * KIB


def test_a_jump_too_far_begins_a_stream() -> None:
    ahead = Readahead(3, 512 * KIB)
    ahead.read(ByteRange(0, 10))
    assert ahead.read(ByteRange(10 * MIB, 10 * MIB + 10)).request == blocks(160, 161)


def test_a_jump_back_begins_a_stream() -> None:
    ahead = Readahead(3, 512 * KIB)
    ahead.read(ByteRange(10 * MIB, 10 * MIB + 10))
    assert ahead.read(ByteRange(0, 10)).request == blocks(0, 1)


def test_of_too_many_streams_the_least_recently_used_ends() -> None:
    ahead = Readahead(2, 0)
    ahead.read(ByteRange(0, 10))
    ahead.read(ByteRange(10 * MIB, 10 * MIB + 10))
    ahead.read(ByteRange(10, 20))
    assert ahead.read(ByteRange(20 * MIB, 20 * MIB + 10)).cancelled == (blocks(160, 161),)


def test_held_bytes_end_no_stream() -> None:
    ahead = Readahead(2, 0)
    ahead.read(ByteRange(0, 10))
    ahead.read(ByteRange(10 * MIB, 10 * MIB + 10))
    plan = ahead.read(ByteRange(20 * MIB, 20 * MIB + 10), held=True)
    assert plan.request is None and plan.cancelled == ()
    on = ahead.read(ByteRange(10, BLOCK)).request  # as only a stream that is still there goes on
    assert on is not None and on.stop > BLOCK


def test_the_end_gives_every_request_back() -> None:
    ahead = Readahead(3, 0)
    wants = {ahead.read(ByteRange(start, start + 1)).request for start in (0, MIB, 2 * MIB)}
    assert set(ahead.end()) == wants
    assert ahead.end() == () and ahead.demand == ()


OFFSETS = st.integers(0, 40 * MIB)
READS = st.lists(st.tuples(st.one_of(OFFSETS, st.none()), st.integers(1, 3 * MIB)), max_size=40)


@given(READS, st.integers(1, 4), st.sampled_from([0, 512 * KIB, 4 * MIB]))
def test_whatever_is_read_was_asked_for(reads: list[tuple[int | None, int]], streams: int, jump: int) -> None:
    """By this plan or an earlier one. A read at None goes on where the last one ended."""
    ahead = Readahead(streams, jump)
    asked: list[ByteRange] = []
    position = 0
    for offset, length in reads:
        start = position if offset is None else offset
        wanted = ByteRange(start, start + length)
        plan = ahead.read(wanted)
        if plan.request is not None:
            asked.append(plan.request)
            assert plan.request.start % BLOCK == 0 or plan.request.start <= start
        missing = [wanted]
        for known in asked:
            missing = [left for part in missing for left in part.minus(known)]
        assert not missing
        assert len(ahead.demand) <= streams
        position = wanted.stop


def test_who_says_where_it_stops_has_its_window_from_the_first_byte_on() -> None:
    ahead = Readahead(0, 0)
    stream = ahead.follow(100, 10 * MIB, 4 * MIB)
    assert ahead.advance(stream, 100).request == ByteRange(100, 100 + 4 * MIB)
    assert ahead.advance(stream, MIB).request == ByteRange(MIB, 100 + 4 * MIB)  # more than half of it is left
    plan = ahead.advance(stream, 3 * MIB)
    assert plan.request == ByteRange(3 * MIB, 7 * MIB)
    assert plan.cancelled == (ByteRange(MIB, 100 + 4 * MIB),)
    assert ahead.advance(stream, 9 * MIB).request == ByteRange(9 * MIB, 10 * MIB)
    assert ahead.demand == (ByteRange(9 * MIB, 10 * MIB),)
    assert ahead.advance(stream, 10 * MIB).request is None
    assert not ahead.leave(stream).cancelled and not ahead.demand


def test_one_that_reads_in_order_ends_no_other_stream() -> None:
    ahead = Readahead(1, 0)
    ahead.read(ByteRange(0, 10))
    stream = ahead.follow(MIB, None, MIB)
    assert ahead.advance(stream, MIB).cancelled == ()
    assert ahead.read(ByteRange(5 * MIB, 5 * MIB + 10)).cancelled == (blocks(0, 1),)
    assert ahead.leave(stream).cancelled == (ByteRange(MIB, 2 * MIB),)
