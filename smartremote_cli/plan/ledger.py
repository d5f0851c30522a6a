"""Ledger: which bytes are held, claimed, in demand and still to be compared. Decisions only; its owner guards it.

A free connection takes a *claim*: what is in demand and unclaimed, what an earlier connection left, or part of what
a slow one still has. What arrives for a claim is cut into pieces, see `pieces`.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..core.blocks import BLOCK, BlockMap
from ..core.ranges import ByteRange
from . import planner
from .claims import GRACE_SECONDS, Claim
from .pieces import Piece, Seams, cut_pieces, is_written
from .planner import SEAM, Load

# A request without an answer is not judged for this many times what heads take to come here: an answer that takes
# longer is an outlier where others are quick. By judgement; tried on servers whose answers begin after 0.1 or 5 s.
HEAD_GRACE_FACTOR = 4

# The same in seconds, while no head has come and there is nothing to compare with. By judgement.
FIRST_HEAD_GRACE_SECONDS = 2.0

# The weight of the newest measurement in the smoothed ones. By judgement: the last three or four count for most.
_NEWEST = 0.3


class Ledger:
    """The state of one transfer, without threads or I/O. `blocks` is the copy's own map.

    With *share*, connections divide the demand among them; without, each range in demand is one request.
    """

    def __init__(self, blocks: BlockMap, share: bool = True) -> None:
        self.blocks = blocks
        self.share = share
        self.demand: list[ByteRange] = []
        self.claims: list[Claim] = []
        self.orphaned_claims: list[
            Claim
        ] = []  # their connections are gone, and some of their bytes are missing
        self.samples: list[ByteRange] = []
        self.samples_open = 0
        self.partial_block: ByteRange | None = None
        self.evicted: list[Claim] = []  # their connections are too slow: to be closed
        self._usual = 0.0  # bytes per second of one connection, smoothed
        self._head_time = 0.0  # seconds until a head comes, smoothed
        self._seams = Seams()

    # What is here

    def satisfied(self, wanted: ByteRange) -> bool:
        """Return whether every byte of *wanted* that exists can be read."""
        within = wanted.clip(ByteRange(0, max(self.blocks.size, 1)))
        if within is None or not self.blocks.size:
            return True
        rest = within.minus(self.partial_block) if self.partial_block is not None else [within]
        return all(self.blocks.holds(part) for part in rest)

    def is_in_doubt(self, wanted: ByteRange) -> bool:
        """Return whether *wanted* reaches past a claim whose bytes are here, while the seam behind it is not."""
        return any(
            claim.is_done
            and not claim.sample
            and wanted.start < claim.stop + SEAM
            and claim.stop < wanted.stop
            for claim in self.claims
        )

    def is_finished(self, claim: Claim) -> bool:
        """Return whether nothing of the claim is missing, whichever connection brought it."""
        if claim.is_done:
            return True
        rest = ByteRange(claim.position, claim.stop)
        return not claim.sample and self.blocks.holds(rest)

    def missing_demand(self) -> int:
        """Return how many bytes of the demand are missing, to the nearest block. Requests may overlap."""
        total = counted = 0
        for request in sorted(self._open_demand()):
            first = max(request.start // BLOCK, counted)
            stop = min(-(-request.stop // BLOCK), self.blocks.count)
            if first < stop:
                total += (stop - first - self.blocks.held_in(first, stop)) * BLOCK
                counted = stop
        return total

    @property
    def parts(self) -> int:
        """How many connections could work on the demand, samples included."""
        if self.samples:
            return len(self.samples)
        if not self.share:
            return len(self.claims) + len(self.orphaned_claims) + self._unclaimed_requests()
        return -(-self.missing_demand() // planner.MIN_STEAL)

    def _unclaimed_requests(self) -> int:
        """Return how many more claims the demand would make, each range of it being one request."""
        taken = self._claimed_blocks()
        before = len(taken)
        for request in self._open_demand():
            gap = planner.next_gap(self.blocks, [request], taken, planner.MAX_ALONE)
            if gap is not None:
                taken.append(gap)
        return len(taken) - before

    def _open_demand(self) -> Iterator[ByteRange]:
        for request in self.demand:
            yield from [request] if self.partial_block is None else request.minus(self.partial_block)

    def _claimed_blocks(self) -> list[ByteRange]:
        return [claim.blocks for claim in self.claims if claim.origin < claim.stop]

    # Claims

    def claim_next(self, connections: int, now: float, *, whole: bool = False) -> Claim | None:
        """Claim what a free connection should bring next, and return that; None when there is nothing.

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
        taken = self._claimed_blocks()
        limit = planner.request_length(self.missing_demand(), connections if self.share else 1, self._usual)
        for request in self._open_demand():
            gap = planner.next_gap(self.blocks, [request], taken, limit)
            if gap is not None:
                return self._add(Claim(gap.start, gap.stop))
        return self._steal(now) if self.share else None

    def _steal(self, now: float) -> Claim | None:
        """Take over what a very slow connection has, or half of what will take longest."""
        owners = [claim for claim in self.claims if not claim.sample and claim.reached < claim.stop]
        grace = (
            max(GRACE_SECONDS, HEAD_GRACE_FACTOR * self._head_time)
            if self._head_time
            else FIRST_HEAD_GRACE_SECONDS
        )
        loads = [
            Load(ByteRange(claim.reached, claim.stop), claim.pace(now, self._usual, grace))
            for claim in owners
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
        """Claim all that is left of *victim*, from the block it is in, and have its connection closed."""
        origin = max(victim.origin, victim.reached // BLOCK * BLOCK)
        stop, victim.stop = victim.stop, victim.reached
        self.evicted.append(victim)
        victim.received = 0  # no measure of what is usual
        return self._add(Claim(origin, stop, inherited=victim.inherited + 1))

    def _add(self, claim: Claim) -> Claim:
        self.claims.append(claim)
        return claim

    def note_head(self, claim: Claim, now: float) -> None:
        """Note that the head of its answer is here: from now on the claim's pace is that of the body."""
        waited = now - claim.since
        usual = self._head_time
        self._head_time = _smoothed(usual, min(waited, HEAD_GRACE_FACTOR * usual)) if usual else waited
        claim.since = now

    def release(self, claim: Claim, *, keep: bool = True, now: float | None = None) -> None:
        """Take back a claim whose connection is done with it; another connection gets what is left of it.

        *now* is given where its pace tells what is usual here.
        """
        if now is not None and claim.received >= BLOCK and claim.owner is not None:
            pace = claim.received / max(now - claim.since, 0.001)
            self._usual = _smoothed(self._usual, pace) if self._usual else pace
        if claim in self.claims:
            self.claims.remove(claim)
            if claim.sample:
                self.samples_open -= 1
                if not claim.is_done and keep:
                    self.samples.append(ByteRange(claim.origin, claim.stop))
            elif keep and not self.is_finished(claim):
                self.orphaned_claims.append(claim)

    def cut_short(self, dropped: ByteRange) -> None:
        """End claims within *dropped* where they are, at most a block further, or where the demand ends."""
        for claim in [*self.claims, *self.orphaned_claims]:
            here = claim.reached
            if claim.sample or here >= claim.stop or not dropped.overlaps(ByteRange(here, claim.stop)):
                continue
            stop = -(-here // BLOCK) * BLOCK
            for request in sorted(self.demand):
                if request.start <= stop:
                    stop = max(stop, -(-request.stop // BLOCK) * BLOCK)
            claim.stop = min(claim.stop, stop)
        self.orphaned_claims = [claim for claim in self.orphaned_claims if not claim.is_done]

    def range_to_ask(self, claim: Claim) -> ByteRange:
        """Return the bytes to ask for: what is left of the claim, and the seams with its neighbours."""
        rest = ByteRange(claim.position, min(claim.stop, max(self.blocks.size, claim.position + 1)))
        if claim.sample:
            return rest
        left = rest.start > claim.origin or (
            rest.start > 0
            and (
                self.blocks.holds_block((rest.start - 1) // BLOCK)
                or any(other.stop == rest.start and not other.sample for other in self.claims)
            )
        )
        right = rest.stop < self.blocks.size and (
            self.blocks.holds_block(rest.stop // BLOCK)
            or any(other.origin == rest.stop for other in self.claims)
        )
        wide = planner.with_seams(rest, left, right)
        return ByteRange(wide.start, min(wide.stop, max(self.blocks.size, rest.stop)))

    # What arrives

    def cut_body(self, claim: Claim, offset: int, length: int) -> list[Piece]:
        """Return what to do with the arrived bytes [offset, offset + length), in order; the rest is dropped.

        The claim alone may write its pieces until `note_written` is told.
        """
        pieces = cut_pieces(claim, offset, length, self.blocks, self.claims)
        if max(offset, claim.position) < min(offset + length, claim.stop):
            claim.busy = max(claim.busy, min(offset + length, claim.stop))
        return pieces

    def keep_seam(self, offset: int, data: bytes) -> bool:
        """Keep *data*, which belongs at *offset*, until the neighbour that writes there has written it.

        Returns False, and keeps nothing, when it has by now: then *data* is to be compared at once.
        """
        if is_written(ByteRange(offset, offset + len(data)), self.blocks, self.claims):
            return False
        self._seams.keep(offset, data)
        return True

    def take_due_seams(self, claim: Claim, upto: int) -> list[tuple[int, bytes]]:
        """Give out the kept seams that can be compared when all of the claim before *upto* is written."""
        return self._seams.take_due(claim, upto)

    def note_written(self, claim: Claim, upto: int) -> tuple[int, list[tuple[int, bytes]]]:
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
        return gained, self._seams.take_due(claim, claim.position)

    def _note_partial_block(self, claim: Claim) -> None:
        """Remember the bytes of a suffix that begin within a block: they can be read, the block is not held."""
        edge = min(-(-claim.origin // BLOCK) * BLOCK, self.blocks.size)
        if claim.origin < edge <= claim.position and not self.blocks.holds_block(claim.origin // BLOCK):
            self.partial_block = ByteRange(claim.origin, edge)

    # Starting over

    def switch_to_single_stream(self) -> None:
        """Forget samples, orphaned claims and kept seams: from here on one answer brings everything."""
        self.samples.clear()
        self.orphaned_claims.clear()
        self._seams.clear()

    def drop_all(self) -> None:
        """Forget every block, claim and seam: the transfer starts over."""
        self.switch_to_single_stream()
        self.blocks.clear()
        self.claims.clear()
        self.samples_open = 0
        self.partial_block = None


def _smoothed(usual: float, newest: float) -> float:
    return (1 - _NEWEST) * usual + _NEWEST * newest
