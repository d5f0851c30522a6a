"""From gaps to requests: what a free connection should ask for next, and how long to pause after a failure.

Strategy: requests are long while much is missing and shrink with what is left (guided self-scheduling), so that
connections finish together. A connection that finds nothing unclaimed takes half of the remainder that will take
longest, as axel does. Everything is cut at block edges, so that two connections never write the same block.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..core.blocks import BLOCK, BlockMap
from ..core.ranges import ByteRange

MIB = 1024 * 1024

# Bytes of a request. Measured: a request costs 0.43 ms of processor time, so that one per 64 KiB block brings 121 MB/s
# at best; 1 MiB takes a sixteenth of that. A longer request wastes more when it is stolen from: 128 MiB is a judgement.
MIN_REQUEST = 1 * MIB
MAX_REQUEST = 128 * MIB

# Bytes of a request of a connection that shares with none: nothing is stolen from it. By judgement: a proxy may
# refuse or buffer an endless answer, and one more request for 256 MiB costs nothing that can be measured.
MAX_ALONE = 256 * MIB

# Each connection should still have this many requests of today's length before it, so that they finish together.
# Guided self-scheduling (Polychronopoulos, Kuck, 1987) has 1, factoring (Hummel, Schonberg, Flynn, 1992) has 2, which
# bears connections of unequal speed better.
REQUESTS_AHEAD = 2

# Seconds that a request should take at least, at the usual pace. Measured on a server whose answers begin after 0.1
# or after 5 s, by chance: many short requests met the slow start far more often than few long ones.
MIN_REQUEST_SECONDS = 1.0

# Bytes below which a remainder is not halved any more: two halves would cost more in flight than they save. axel
# stops at 100 KiB; this is four blocks, because nothing is cut within a block.
MIN_STEAL = 4 * BLOCK

# A remainder that its owner finishes within this many seconds is left to it. By judgement: connecting and asking
# takes two or three round trips of 100 ms. (Gopeed leaves it 3 s.)
MIN_STEAL_SECONDS = 0.3

# Bytes that requests reach into what is held, for comparison. By judgement: two versions of a file hardly agree in so
# many by chance, and they are less than one packet.
SEAM = 1024

# A connection this many times slower than usual loses its work to a free one. By judgement: connections of one server
# differ by two or three times without anything being wrong. (Surge replaces those below half the mean after 5 s.)
SLOW_FACTOR = 4

# Seconds of pause after the first failure, doubled with each one more, up to the most. By judgement: a restarted
# server or proxy is back after a fraction of a second; 30 s keep a dead one from being asked without end.
_FIRST_PAUSE_SECONDS = 0.25
_MAX_PAUSE_SECONDS = 30.0


class Load(NamedTuple):
    """A claim in flight: what is left of it, and its pace in bytes per second, 0 while nothing has come."""

    left: ByteRange
    pace: float

    @property
    def seconds(self) -> float:
        """The time that its owner will still need; infinite while nothing has come."""
        return len(self.left) / self.pace if self.pace > 0 else float("inf")


def request_length(missing: int, connections: int, pace: float = 0.0) -> int:
    """Return how many bytes the next request should ask for when *missing* bytes are left for all connections.

    At the usual *pace* of one connection, in bytes per second, it takes `MIN_REQUEST_SECONDS` at least: any request
    may meet a server that is slow to answer.
    """
    if connections <= 1:
        return MAX_ALONE
    share = min(missing // (REQUESTS_AHEAD * connections), MAX_REQUEST)
    long_enough = min(int(pace * MIN_REQUEST_SECONDS), missing // connections)
    return max(MIN_REQUEST, share, long_enough) // BLOCK * BLOCK


def next_gap(
    blocks: BlockMap, demand: Iterable[ByteRange], claimed: Sequence[ByteRange], limit: int
) -> ByteRange | None:
    """Return the first missing bytes of *demand*, in its order, that are not *claimed*; at most *limit* of them.

    *demand*, *claimed* and *limit* are taken at block edges. None when everything is held or claimed.
    """
    taken = sorted(claimed)
    for request in demand:
        if request.start >= blocks.size:
            continue
        for run in blocks.missing(request):
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
    """Return which load a free connection should take half of, and the byte where to cut it; None for none.

    The thief takes [cut, load.left.stop). Loads that are short, or finished soon anyway, are left alone.
    """
    long = [
        i for i, load in enumerate(loads) if len(load.left) >= MIN_STEAL and load.seconds > MIN_STEAL_SECONDS
    ]
    if not long:
        return None
    victim = max(long, key=lambda i: (loads[i].seconds, len(loads[i].left)))
    left = loads[victim].left
    middle = (left.start + left.stop) // 2
    cut = -(-middle // BLOCK) * BLOCK
    return (victim, cut) if left.start < cut < left.stop else None


def take_over(loads: Sequence[Load], usual: float) -> int | None:
    """Return which load a free connection should bring because its owner is far below the *usual* pace."""
    slow = [
        i
        for i, load in enumerate(loads)
        if load.seconds > MIN_STEAL_SECONDS and load.pace * SLOW_FACTOR < usual
    ]
    return max(slow, key=lambda i: loads[i].seconds, default=None)


def with_seams(gap: ByteRange, left: bool, right: bool) -> ByteRange:
    """Return *gap* widened into its *left* and *right* neighbours, where those are held or will be."""
    return ByteRange(max(gap.start - SEAM, 0) if left else gap.start, gap.stop + SEAM if right else gap.stop)


def pause(failures: int, chance: float) -> float:
    """Return the seconds to pause after *failures* in a row; *chance* in [0, 1) spreads clients that failed at once."""
    steady = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 30), _MAX_PAUSE_SECONDS)
    return steady * (0.5 + chance)


def samples(blocks: BlockMap, most: int) -> list[ByteRange]:
    """Return up to *most* held blocks spread over all that are held, first and last among them."""
    chosen = _evenly(blocks, most)
    return [blocks.align(ByteRange(block * BLOCK, block * BLOCK + 1)) for block in chosen]


def _evenly(blocks: BlockMap, most: int) -> list[int]:
    held = blocks.bits
    count = len(held)
    if count <= most:
        return list(held)
    return [held[index * (count - 1) // max(most - 1, 1)] for index in range(most)]
