"""Ledger: which bytes are held, claimed, wanted and still to be compared. Decisions only; the engine guards it.

A *claim* is a stretch of bytes that one connection is to bring. What arrives is cut into pieces: bytes that are
missing are written, bytes that are held already are compared (seams, samples, a stream that starts over), bytes
just past a claim are kept for comparison until its right neighbour has arrived.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from ..core.blocks import BLOCK, BlockMap
from ..core.ranges import ByteRange
from . import planner
from .planner import SEAM, Load

# A request that is younger than so many seconds is not judged by what it has brought,
GRACE = 0.5
# nor for bringing nothing as long as so many times what heads take to come here, or so many seconds where none came.
HEADS = 4
LONG_GRACE = 2.0


class Do(enum.Enum):
    """What to do with a piece of an arrived body."""

    WRITE = enum.auto()
    COMPARE = enum.auto()
    KEEP = enum.auto()


@dataclass(eq=False, slots=True)
class Claim:
    """Bytes [origin, stop) that one connection brings; all before *position* are written or were held.

    *busy* is the end of the write under way: a thief may not cut before it. *since* and *received* give the pace.
    A *sample* is compared, never written. What was taken over from slow owners, *inherited* times, gets more grace.
    """

    origin: int
    stop: int
    sample: bool = False
    inherited: int = 0
    position: int = field(default=-1)
    busy: int = field(default=-1)
    owner: Hashable | None = None
    since: float = 0.0
    received: int = 0

    def __post_init__(self) -> None:
        if self.position < 0:
            self.position = self.origin
        self.busy = max(self.busy, self.position)

    @property
    def is_done(self) -> bool:
        return self.position >= self.stop

    def pace(self, now: float, usual: float, grace: float) -> float:
        """Return bytes per second since the request was sent. A young request counts as *usual*, or as fast.

        So does one that has brought nothing yet for as long as *grace*.
        """
        elapsed = now - self.since
        if elapsed < (GRACE if self.received else grace) * 2**self.inherited:
            return usual or float("inf")
        return self.received / elapsed


class Ledger:
    """The state of one transfer, without threads or I/O. `blocks` is the copy's own map.

    With *share*, connections divide what is wanted among them; without, each want is one request.
    """

    def __init__(self, blocks: BlockMap, share: bool = True) -> None:
        self.blocks = blocks
        self.share = share
        self.demand: list[ByteRange] = []
        self.claims: list[Claim] = []
        self.orphaned_claims: list[Claim] = []
        self.samples: list[ByteRange] = []
        self.samples_open = 0
        self.partial_block: ByteRange | None = None
        self.evicted: list[Claim] = []  # their connections are too slow: to be closed
        self._usual = 0.0  # bytes per second of one connection, smoothed
        self._wait = 0.0  # seconds until a head comes, smoothed
        self._seams: dict[int, bytes] = {}

    def satisfied(self, wanted: ByteRange) -> bool:
        """Return whether every byte of *wanted* that exists can be read."""
        within = wanted.clip(ByteRange(0, max(self.blocks.size, 1)))
        if within is None or not self.blocks.size:
            return True
        rest = within.minus(self.partial_block) if self.partial_block is not None else [within]
        return all(self.blocks.holds(part) for part in rest)

    def is_in_doubt(self, wanted: ByteRange) -> bool:
        """Return whether *wanted* crosses the end of a claim whose bytes are here, and the seam behind them is not."""
        return any(
            claim.is_done
            and not claim.sample
            and wanted.start < claim.stop + SEAM
            and claim.stop < wanted.stop
            for claim in self.claims
        )

    def next_claim(self, connections: int, now: float, *, whole: bool = False) -> Claim | None:
        """Return what a free connection should bring next, claimed for it; None when there is nothing.

        Samples come first and alone. With *whole*, everything is one claim from byte 0.
        """
        if whole:
            return None if self.claims else self._add(Claim(0, self.blocks.size))
        if self.samples:
            sample = self.samples.pop()
            self.samples_open += 1
            return self._add(Claim(sample.start, sample.stop, sample=True))
        if self.samples_open:
            return None
        if self.orphaned_claims:
            return self._add(self.orphaned_claims.pop())
        taken = [_whole_blocks(c) for c in self.claims if c.origin < c.stop]
        limit = planner.request_length(self.missing_wanted(), connections if self.share else 1, self._usual)
        for want in self._open_demand():
            gap = planner.next_gap(self.blocks, [want], taken, limit)
            if gap is not None:
                return self._add(Claim(gap.start, gap.stop))
        return self._steal(now) if self.share else None

    @property
    def parts(self) -> int:
        """How many connections could work on what is wanted, samples included."""
        if self.samples:
            return len(self.samples)
        if not self.share:
            return len(self.claims) + len(self.orphaned_claims) + self._unclaimed_demand()
        return -(-self.missing_wanted() // planner.MIN_STEAL)

    def cut_short(self, dropped: ByteRange) -> None:
        """Have claims within *dropped* end where they are, at most a block further, or where others' wants end."""
        for claim in [*self.claims, *self.orphaned_claims]:
            here = max(claim.position, claim.busy)
            if claim.sample or here >= claim.stop or not dropped.overlaps(ByteRange(here, claim.stop)):
                continue
            stop = -(-here // BLOCK) * BLOCK
            for want in sorted(self.demand):
                if want.start <= stop:
                    stop = max(stop, -(-want.stop // BLOCK) * BLOCK)
            claim.stop = min(claim.stop, stop)
        self.orphaned_claims = [claim for claim in self.orphaned_claims if not claim.is_done]

    def _unclaimed_demand(self) -> int:
        """Return how many more claims what is wanted would make, each want being one."""
        taken = [_whole_blocks(c) for c in self.claims if c.origin < c.stop]
        before = len(taken)
        for want in self._open_demand():
            gap = planner.next_gap(self.blocks, [want], taken, planner.MAX_ALONE)
            if gap is not None:
                taken.append(gap)
        return len(taken) - before

    def _open_demand(self) -> Iterator[ByteRange]:
        for want in self.demand:
            parts = want.minus(self.partial_block) if self.partial_block is not None else [want]
            yield from parts

    def missing_wanted(self) -> int:
        """Return how many bytes of all that is wanted are missing, to the nearest block."""
        total = 0
        for want in self._open_demand():
            first, stop = want.start // BLOCK, min(-(-want.stop // BLOCK), self.blocks.count)
            if first < stop:
                total += (stop - first - self.blocks.held_in(first, stop)) * BLOCK
        return total

    def _steal(self, now: float) -> Claim | None:
        """Take over what a very slow connection has, or half of what will take longest."""
        owners = [c for c in self.claims if not c.sample and max(c.position, c.busy) < c.stop]
        grace = max(GRACE, HEADS * self._wait) if self._wait else LONG_GRACE
        loads = [
            Load(ByteRange(max(c.position, c.busy), c.stop), c.pace(now, self._usual, grace)) for c in owners
        ]
        slow = planner.take_over(loads, self._usual)
        if slow is not None:
            return self._take_over(owners[slow])
        found = planner.steal(loads)
        if found is None:
            return None
        victim, cut = owners[found[0]], found[1]
        stop, victim.stop = victim.stop, cut
        return self._add(Claim(cut, stop))

    def _take_over(self, victim: Claim) -> Claim:
        """Claim all that is left of *victim*, from the block it is in; its connection is of no more use."""
        here = max(victim.position, victim.busy)
        origin = max(victim.origin, here // BLOCK * BLOCK)
        stop, victim.stop = victim.stop, here
        self.evicted.append(victim)
        victim.received = 0  # no measure of what is usual
        return self._add(Claim(origin, stop, inherited=victim.inherited + 1))

    def _add(self, claim: Claim) -> Claim:
        self.claims.append(claim)
        return claim

    def release(self, claim: Claim, *, keep: bool = True, now: float | None = None) -> None:
        """Take back a claim whose connection is done with it; what is left of it goes to the next one.

        *now* is given where its pace tells what is usual here.
        """
        if now is not None and claim.received >= BLOCK and claim.owner is not None:
            pace = claim.received / max(now - claim.since, 0.001)
            self._usual = pace if not self._usual else 0.7 * self._usual + 0.3 * pace
        if claim in self.claims:
            self.claims.remove(claim)
            if claim.sample:
                self.samples_open -= 1
                if not claim.is_done and keep:
                    self.samples.append(ByteRange(claim.origin, claim.stop))
            elif keep and not self.is_finished(claim):
                self.orphaned_claims.append(claim)

    def answered(self, claim: Claim, now: float) -> None:
        """Note that the head of its answer is here: from now on the claim's pace is that of the body."""
        waited = now - claim.since
        self._wait = 0.7 * self._wait + 0.3 * min(waited, HEADS * self._wait) if self._wait else waited
        claim.since = now

    def asked(self, claim: Claim) -> ByteRange:
        """Return the bytes to ask for: what is left of the claim, and the seams with its neighbours."""
        rest = ByteRange(claim.position, min(claim.stop, max(self.blocks.size, claim.position + 1)))
        if claim.sample:
            return rest
        left = rest.start > claim.origin or (
            rest.start > 0
            and (
                self.blocks.holds_block(rest.start // BLOCK - 1)
                or any(c.stop == rest.start and not c.sample for c in self.claims)
            )
        )
        right = rest.stop < self.blocks.size and (
            self.blocks.holds_block(rest.stop // BLOCK) or any(c.origin == rest.stop for c in self.claims)
        )
        wide = planner.with_seams(rest, left, right)
        return ByteRange(wide.start, min(wide.stop, max(self.blocks.size, rest.stop)))

    def cut(self, claim: Claim, offset: int, length: int) -> list[tuple[Do, ByteRange]]:
        """Return what to do with the arrived bytes [offset, offset + length), in order; the rest is of no use.

        The pieces to write are the claim's alone until `arrived` is told.
        """
        pieces: list[tuple[Do, ByteRange]] = []
        end = offset + length
        if offset < claim.origin:
            before = ByteRange(offset, min(end, claim.origin))
            near = before.clip(ByteRange(max(0, claim.origin - SEAM), claim.origin))
            held = self._held_parts(before)
            pieces += held or ([] if near is None else self._beside(near, claim))
        if max(offset, claim.origin) < min(end, claim.position):
            pieces.append((Do.COMPARE, ByteRange(max(offset, claim.origin), min(end, claim.position))))
        start, stop = max(offset, claim.position), min(end, claim.stop)
        if start < stop:
            claim.busy = max(claim.busy, stop)
            fresh = ByteRange(start, stop)
            held = self._held_parts(fresh)
            if claim.sample:
                pieces.append((Do.COMPARE, fresh))
            elif not held:
                pieces.append((Do.WRITE, fresh))
            else:
                pieces += _with_gaps(fresh, held)
        if end > claim.stop:
            start, stop = max(offset, claim.stop), min(end, claim.stop + SEAM)
            pieces += self._beside(ByteRange(start, stop), claim) if start < stop else []
        return pieces

    def _held_parts(self, part: ByteRange) -> list[tuple[Do, ByteRange]]:
        runs = (run.clip(part) for run in self.blocks.present(part))
        return [(Do.COMPARE, run) for run in runs if run is not None]

    def _beside(self, part: ByteRange, claim: Claim) -> list[tuple[Do, ByteRange]]:
        """Return what to do with a seam, *part*, that lies just before or just after *claim*."""
        if claim.sample:
            return []
        return [(Do.COMPARE if self._is_here(part) else Do.KEEP, part)]

    def _is_here(self, part: ByteRange) -> bool:
        """Whether the bytes of *part*, within one block, are written."""
        if self.blocks.holds_block(part.start // BLOCK):
            return True
        return any(other.origin <= part.start and part.stop <= other.position for other in self.claims)

    def keep(self, offset: int, data: bytes) -> bool:
        """Keep *data*, which belongs at *offset*, until the neighbour that writes there has it.

        Returns False when that is so by now: then it is to be compared at once.
        """
        if self._is_here(ByteRange(offset, offset + len(data))):
            return False
        self._seams[offset] = data
        return True

    def due(self, claim: Claim, upto: int) -> list[tuple[int, bytes]]:
        """Give out the kept seams that can be compared when all of the claim before *upto* is written."""
        found = [at for at, data in self._seams.items() if claim.origin <= at and at + len(data) <= upto]
        return [(at, self._seams.pop(at)) for at in found]

    def arrived(self, claim: Claim, upto: int) -> tuple[int, list[tuple[int, bytes]]]:
        """Note that all of the claim before *upto* is written or was compared.

        Returns how many bytes of blocks are newly held, and the kept seams that can be compared now.
        """
        before = claim.position
        claim.position = max(claim.position, upto)
        gained = 0
        if not claim.sample and claim.position > before:
            start = max(before // BLOCK * BLOCK, claim.origin)
            gained = self.blocks.hold(ByteRange(start, claim.position))
            self._note_partial_block(claim)
        return gained, self.due(claim, claim.position)

    def _note_partial_block(self, claim: Claim) -> None:
        """Remember the bytes of a suffix that begin within a block: they can be read, the block is not held."""
        edge = min(-(-claim.origin // BLOCK) * BLOCK, self.blocks.size)
        if claim.origin < edge <= claim.position and not self.blocks.holds_block(claim.origin // BLOCK):
            self.partial_block = ByteRange(claim.origin, edge)

    def is_finished(self, claim: Claim) -> bool:
        """Return whether nothing of the claim is missing any more, whoever brought it."""
        if claim.is_done:
            return True
        rest = ByteRange(claim.position, claim.stop)
        return not claim.sample and self.blocks.holds(rest)

    def switch_to_single_stream(self) -> None:
        """Forget samples, orphaned_claims and kept seams: from here on one answer brings everything."""
        self.samples.clear()
        self.orphaned_claims.clear()
        self._seams.clear()

    def drop_all(self) -> None:
        """Forget every block, claim and seam: the transfer starts over."""
        self.blocks.clear()
        self.claims.clear()
        self.orphaned_claims.clear()
        self.samples.clear()
        self._seams.clear()
        self.samples_open = 0
        self.partial_block = None


def _whole_blocks(claim: Claim) -> ByteRange:
    return ByteRange(claim.origin // BLOCK * BLOCK, -(-claim.stop // BLOCK) * BLOCK)


def _with_gaps(whole: ByteRange, held: list[tuple[Do, ByteRange]]) -> list[tuple[Do, ByteRange]]:
    pieces: list[tuple[Do, ByteRange]] = []
    start = whole.start
    for _, run in held:
        if start < run.start:
            pieces.append((Do.WRITE, ByteRange(start, run.start)))
        pieces.append((Do.COMPARE, run))
        start = run.stop
    if start < whole.stop:
        pieces.append((Do.WRITE, ByteRange(start, whole.stop)))
    return pieces
