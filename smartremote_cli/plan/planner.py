"""Gaps to requests: what a free connection should ask for next, and how long to wait after a failure.

Strategy: requests are long while much is missing and shrink with what is left (guided self-scheduling), so that
connections finish together; a connection that finds nothing unclaimed takes half of the remainder that will
take longest. Everything is cut at block edges, so that no block has two authors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..core.blocks import BLOCK, BlockMap
from ..core.ranges import ByteRange

MIB = 1024 * 1024

# One request per block costs more processor time than the bytes do; very long ones waste more when stolen from.
MIN_REQUEST = 1 * MIB
MAX_REQUEST = 128 * MIB
MAX_ALONE = 256 * MIB

# How many requests of today's length each connection should still have before it, so that they finish together.
ROUNDS = 2

# A request that is over sooner, in seconds, is hardly worth its round trip.
WORTH = 1.0

# Below this a remainder is not halved any more: what is in flight would be wasted twice over.
MIN_STEAL = 4 * BLOCK

# A remainder that its owner finishes within this many seconds is left to it.
SOON = 0.3

# How far requests reach into bytes that are held, for comparison.
SEAM = 1024

# A connection this many times slower than usual loses its work to one that is free.
FAR_BELOW = 4

_FIRST_PAUSE = 0.25
_MAX_PAUSE = 30.0


class Load(NamedTuple):
    """A claim in flight, as seen by a thief: what is left of it, and its pace in bytes per second, 0 while idle."""

    left: ByteRange
    pace: float

    @property
    def seconds(self) -> float:
        """The time that its owner will still need; infinite while nothing has come."""
        return len(self.left) / self.pace if self.pace > 0 else float("inf")


def request_length(missing: int, connections: int, pace: float = 0.0) -> int:
    """Return how many bytes the next request should ask for when *missing* bytes are left for all connections.

    At the usual *pace* of one connection, in bytes per second, it is worth `WORTH` seconds at least: every
    request may meet a server that thinks it over.
    """
    if connections <= 1:
        return MAX_ALONE
    share = min(missing // (ROUNDS * connections), MAX_REQUEST)
    worth = min(int(pace * WORTH), missing // connections)
    return max(MIN_REQUEST, share, worth) // BLOCK * BLOCK


def next_gap(
    blocks: BlockMap, wanted: Iterable[ByteRange], claimed: Sequence[ByteRange], limit: int
) -> ByteRange | None:
    """Return the first missing bytes of *wanted*, in its order, that nobody has claimed; at most *limit* of them.

    *wanted*, *claimed* and *limit* are taken at block edges. None when everything is held or claimed.
    """
    taken = sorted(claimed)
    for want in wanted:
        if want.start >= blocks.size:
            continue
        for run in blocks.missing(want):
            free = _first_free(run, taken)
            if free is not None:
                return ByteRange(free.start, min(free.stop, free.start + limit))
    return None


def _first_free(run: ByteRange, taken: Sequence[ByteRange]) -> ByteRange | None:
    start = run.start
    for claim in taken:
        if claim.stop <= start:
            continue
        if claim.start >= run.stop:
            break
        if claim.start > start:
            return ByteRange(start, claim.start)
        start = claim.stop
    return ByteRange(start, run.stop) if start < run.stop else None


def steal(loads: Sequence[Load]) -> tuple[int, int] | None:
    """Return which load a free connection should take half of, and the byte where to cut; None to leave all be.

    The thief takes [cut, load.left.stop). Loads that are short, or finished soon anyway, are left alone.
    """
    worth = [i for i, load in enumerate(loads) if len(load.left) >= MIN_STEAL and load.seconds > SOON]
    if not worth:
        return None
    victim = max(worth, key=lambda i: (loads[i].seconds, len(loads[i].left)))
    left = loads[victim].left
    middle = (left.start + left.stop) // 2
    cut = -(-middle // BLOCK) * BLOCK
    return (victim, cut) if left.start < cut < left.stop else None


def take_over(loads: Sequence[Load], usual: float) -> int | None:
    """Return which load a free connection should bring instead of its owner, who is far below the *usual* pace."""
    slow = [i for i, load in enumerate(loads) if load.seconds > SOON and load.pace * FAR_BELOW < usual]
    return max(slow, key=lambda i: loads[i].seconds, default=None)


def with_seams(gap: ByteRange, left: bool, right: bool) -> ByteRange:
    """Return *gap* widened into its neighbours where their bytes are, or are going to be, held."""
    return ByteRange(max(gap.start - SEAM, 0) if left else gap.start, gap.stop + SEAM if right else gap.stop)


def pause(failures: int, chance: float) -> float:
    """Return how many seconds to wait after so many failures in a row; *chance* in [0, 1) spreads the crowd."""
    steady = min(_FIRST_PAUSE * 2.0 ** min(failures - 1, 30), _MAX_PAUSE)
    return steady * (0.5 + chance)


def samples(blocks: BlockMap, most: int) -> list[ByteRange]:
    """Return up to *most* held blocks spread over all that are held, first and last among them."""
    runs = list(_evenly(blocks, most))
    return [blocks.align(ByteRange(block * BLOCK, block * BLOCK + 1)) for block in runs]


def _evenly(blocks: BlockMap, most: int) -> list[int]:
    held = blocks.bits
    count = len(held)
    if count <= most:
        return list(held)
    return [held[index * (count - 1) // max(most - 1, 1)] for index in range(most)]
