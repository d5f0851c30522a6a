"""ByteRange against a plain model: a Python range of byte numbers."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartremote_cli import errors
from smartremote_cli.core.ranges import ByteRange

ranges = st.builds(
    lambda start, length: ByteRange(start, start + length), st.integers(0, 40), st.integers(1, 20)
)


def numbers(*runs: ByteRange | None) -> set[int]:
    return {byte for run in runs if run is not None for byte in range(run.start, run.stop)}


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (5, 5), (5, 4), (-1, 4), (-2, -1)])
def test_an_empty_backward_or_negative_range_cannot_exist(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="empty or backward"):
        ByteRange(start, stop)


def test_a_range_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ByteRange(0, 1).start = 7  # type: ignore[misc]


@pytest.mark.parametrize(
    ("run", "header"),
    [
        (ByteRange(0, 1), "bytes=0-0"),
        (ByteRange(65_536, 131_072), "bytes=65536-131071"),
        (ByteRange(2**48 - 1, 2**48), "bytes=281474976710655-281474976710655"),
    ],
)
def test_the_header_is_inclusive_at_both_ends(run: ByteRange, header: str) -> None:
    assert run.header == header


@settings(deadline=None)
@given(ranges)
def test_its_length_is_the_number_of_its_bytes(run: ByteRange) -> None:
    assert len(run) == len(numbers(run)) > 0


@settings(deadline=None)
@given(ranges, ranges)
def test_ranges_relate_as_their_sets_of_bytes_do(one: ByteRange, other: ByteRange) -> None:
    mine, theirs = numbers(one), numbers(other)
    assert one.contains(other) == (mine >= theirs)
    assert one.overlaps(other) == other.overlaps(one) == bool(mine & theirs)
    assert numbers(one.clip(other)) == numbers(other.clip(one)) == mine & theirs


@settings(deadline=None)
@given(ranges, ranges)
def test_what_is_left_of_a_range_comes_in_order_and_in_as_few_pieces_as_can_be(
    one: ByteRange, other: ByteRange
) -> None:
    left = one.minus(other)
    assert numbers(*left) == numbers(one) - numbers(other)
    assert sum(map(len, left)) == len(numbers(*left))
    assert all(a.stop < b.start for a, b in itertools.pairwise(left))


@settings(deadline=None)
@given(st.lists(ranges))
def test_ranges_sort_by_where_they_begin(runs: list[ByteRange]) -> None:
    assert sorted(runs) == sorted(runs, key=lambda run: (run.start, run.stop))


def test_out_of_memory_is_the_machines_trouble_and_no_bug() -> None:
    error = errors.bug(MemoryError())
    assert isinstance(error, errors.LocalError) and error.exit_code == 6
    assert isinstance(error.__cause__, MemoryError)
