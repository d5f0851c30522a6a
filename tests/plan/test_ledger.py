"""The ledger, tried by transfers without network: however they go, they end with every byte that was wanted.

The model is a disk: what is written twice at once, compared before it is there, or held before it is whole, shows.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK, BlockMap
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.plan.claims import Claim
from smartremote_cli.plan.ledger import Ledger
from smartremote_cli.plan.pieces import Do
from smartremote_cli.plan.planner import MIB, SEAM
from tests.support.server import pattern

MOST = 100 * BLOCK  # enough for six requests
CONTENT = pattern(MOST).replace(b"\0", b"\1")  # no byte is what an unwritten one is


@dataclass(eq=False)
class Worker:
    """A connection at work: its claim, what is to come of its answer, and what is stored and not accounted for."""

    claim: Claim
    coming: ByteRange
    stored: ByteRange | None = None
    writing: list[ByteRange] = field(default_factory=list)
    aborted: bool = False


class Model:
    """One transfer of what *chance* makes up; its methods are what connections do, in any order."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.now = 0.0
        self.workers: list[Worker] = []
        size = chance.randrange(MOST // 2, MOST)
        self.disk = bytearray(size)
        blocks = BlockMap(size)
        for _ in range(chance.randrange(4)):
            part = blocks.align(self.part(chance.choice([1, 100])))
            self.disk[part.start : part.stop] = CONTENT[part.start : part.stop]
            blocks.hold(part)
        self.ledger = Ledger(blocks, share=chance.random() < 0.8)
        wants = [self.part(MOST) for _ in range(chance.randrange(3))]
        self.ledger.demand = [blocks.align(want) for want in [*wants, ByteRange(0, size)]]
        if blocks.held and chance.random() < 0.3:
            self.ledger.samples = [next(iter(blocks.present()))]

    def part(self, most: int) -> ByteRange:
        """Return some bytes of the resource."""
        start = self.chance.randrange(len(self.disk))
        return ByteRange(start, min(start + self.chance.randint(1, most * BLOCK), len(self.disk)))

    def step(self) -> None:
        """Do one thing that a connection does."""
        does = self.chance.choices(
            [self.take, self.store, self.account, self.breaks, self.wait], [4, 6, 6, 1, 2]
        )[0]
        if does in (self.take, self.wait) or self.workers:
            does()

    def any_worker(self) -> Worker:
        return self.chance.choice(self.workers)

    # What connections do

    def take(self) -> None:
        """A free connection asks for something, and is answered later."""
        if len(self.workers) >= 5:
            return
        claim = self.ledger.claim_next(5, self.now)
        if claim is None:
            return
        claim.owner, claim.since, claim.received = object(), self.now, 0
        for worker in list(self.workers):
            if worker.claim in self.ledger.evicted:
                worker.aborted = True
                if worker.stored is None:
                    self.leave(worker)
        self.ledger.evicted.clear()
        self.workers.append(Worker(claim, self.ledger.range_to_ask(claim)))

    def store(self) -> None:
        """Some bytes of an answer arrive; others act before they are accounted for."""
        worker = self.any_worker()
        if worker.stored is not None:
            return
        claim, ledger = worker.claim, self.ledger
        length = self.chance.choice([1, 500, 1024, BLOCK - 1, BLOCK, MIB, 4 * MIB])
        start, end = worker.coming.start, min(worker.coming.start + length, worker.coming.stop)
        at = start
        for do, part in ledger.cut_body(claim, start, end - start):
            assert at <= part.start < part.stop <= end, "pieces overlap, or lie outside of what has come"
            at = part.stop
            if do is Do.WRITE:
                assert not any(ledger.blocks.present(part)), "what is held is written again"
                for other in self.workers:
                    both = [part.clip(theirs) for theirs in other.writing]
                    # Who takes over brings the block anew that its victim is in the middle of.
                    assert all(one is None or len(one) < BLOCK for one in both), "two write in one place"
                worker.writing.append(part)
                self.disk[part.start : part.stop] = CONTENT[part.start : part.stop]
            elif do is Do.COMPARE or not ledger.keep_seam(part.start, CONTENT[part.start : part.stop]):
                self.compare(part.start, CONTENT[part.start : part.stop])
        worker.stored = ByteRange(start, end)

    def account(self) -> None:
        """Who has stored something says so."""
        worker = self.any_worker()
        if worker.stored is None:
            return
        claim, ledger, end = worker.claim, self.ledger, worker.stored.stop
        for offset, kept in ledger.take_due_seams(claim, min(end, claim.stop)):
            self.compare(offset, kept)
        gained, due = ledger.note_written(claim, min(end, claim.stop))
        claim.received += len(worker.stored)
        assert gained >= 0
        for offset, kept in due:
            self.compare(offset, kept)
        enough = ledger.is_finished(claim) and (not claim.is_done or end >= claim.stop + SEAM)
        if enough or worker.aborted or end == worker.coming.stop:
            self.leave(worker)
        else:
            worker.coming, worker.stored = ByteRange(end, worker.coming.stop), None
            worker.writing.clear()

    def breaks(self) -> None:
        """A connection breaks; its claim goes to another."""
        self.leave(self.any_worker())

    def wait(self) -> None:
        """Nothing happens for a while, and some are slow for it."""
        self.now += self.chance.choice([0.01, 0.6, 5.0])

    def leave(self, worker: Worker) -> None:
        self.workers.remove(worker)
        self.ledger.release(worker.claim, now=self.now)

    def compare(self, offset: int, data: bytes) -> None:
        assert self.disk[offset : offset + len(data)] == data, f"compared at {offset} before it was there"

    def check(self) -> None:
        """Look whether all that is held is here."""
        for run in self.ledger.blocks.present():
            assert self.disk[run.start : run.stop] == CONTENT[run.start : run.stop], (
                f"{run} is held and not here"
            )

    @property
    def is_over(self) -> bool:
        return not self.workers and all(self.ledger.satisfied(want) for want in self.ledger.demand)


@pytest.mark.parametrize("seed", range(100))
def test_any_transfer_ends_with_every_byte(seed: int) -> None:
    model = Model(random.Random(seed))
    for number in range(200):
        model.step()
        if number % 10 == 0:
            model.check()
    for _ in range(3000):  # from here on nothing breaks
        if model.is_over:
            break
        model.take()
        for does in (model.store, model.account):
            if model.workers:
                does()
        model.now += 0.01
    assert model.is_over
    assert model.disk == CONTENT[: len(model.disk)]


def ledger_of(size: int, *held: int) -> Ledger:
    blocks = BlockMap(size)
    for block in held:
        blocks.hold(ByteRange(block * BLOCK, min((block + 1) * BLOCK, size)))
    return Ledger(blocks)


def taken(ledger: Ledger, now: float = 0.0, connections: int = 8) -> Claim:
    claim = ledger.claim_next(connections, now)
    assert claim is not None
    claim.owner, claim.since = object(), now
    return claim


def test_a_claim_is_asked_for_with_the_seams_of_its_held_neighbours() -> None:
    ledger = ledger_of(10 * BLOCK, 0, 5)
    ledger.demand = [ByteRange(0, 10 * BLOCK)]
    claim = taken(ledger, connections=1)
    assert (claim.origin, claim.stop) == (BLOCK, 5 * BLOCK)
    assert ledger.range_to_ask(claim) == ByteRange(BLOCK - SEAM, 5 * BLOCK + SEAM)


def test_what_lies_behind_a_claim_is_in_doubt_until_its_seam_was_compared() -> None:
    """A claim's connection goes on into its right neighbour's first bytes; those are not read before they agree."""
    ledger = ledger_of(64 * MIB)
    ledger.demand = [ByteRange(0, 64 * MIB)]
    claim = taken(ledger)
    ledger.note_written(claim, claim.stop)
    end = claim.stop
    assert not ledger.is_in_doubt(ByteRange(0, end))
    assert ledger.is_in_doubt(ByteRange(end - 1, end + 1))
    assert ledger.is_in_doubt(ByteRange(end + SEAM - 1, end + SEAM))
    assert not ledger.is_in_doubt(ByteRange(end + SEAM, end + SEAM + 1))
    ledger.release(claim)
    assert not ledger.is_in_doubt(ByteRange(end - 1, end + 1))


def test_samples_come_first_and_alone() -> None:
    ledger = ledger_of(10 * BLOCK, 0)
    ledger.demand = [ByteRange(0, 10 * BLOCK)]
    ledger.samples = [ByteRange(0, BLOCK)]
    sample = taken(ledger)
    assert sample.sample
    assert ledger.claim_next(8, 0.0) is None
    ledger.note_written(sample, BLOCK)
    ledger.release(sample)
    assert not taken(ledger).sample


@pytest.mark.parametrize(
    ("start", "stop", "doubtful"),
    [
        (0, 4 * BLOCK, False),
        (0, 4 * BLOCK + 1, True),
        (4 * BLOCK - 1, 4 * BLOCK + 1, True),
        (4 * BLOCK, 4 * BLOCK + 1, True),
        (4 * BLOCK + SEAM - 1, 5 * BLOCK, True),
        (4 * BLOCK + SEAM, 5 * BLOCK, False),
    ],
)
def test_the_end_of_a_claim_and_the_seam_behind_it_are_in_doubt_until_it_is_released(
    start: int, stop: int, doubtful: bool
) -> None:
    """The bytes of the neighbour that are still to be compared are those of the seam, and no reader gets them."""
    ledger = ledger_of(10 * BLOCK, *range(4, 10))
    ledger.demand = [ByteRange(0, 10 * BLOCK)]
    claim, wanted = taken(ledger, connections=1), ByteRange(start, stop)
    assert claim.stop == 4 * BLOCK
    assert not ledger.is_in_doubt(wanted), "its own bytes are still missing"
    ledger.note_written(claim, claim.stop)
    assert ledger.is_in_doubt(wanted) == doubtful
    ledger.release(claim)
    assert not ledger.is_in_doubt(wanted)


def test_a_sample_that_is_done_puts_nothing_in_doubt() -> None:
    ledger = ledger_of(10 * BLOCK, *range(4, 10))
    ledger.samples = [ByteRange(4 * BLOCK, 5 * BLOCK)]
    sample = taken(ledger)
    ledger.note_written(sample, sample.stop)
    assert not ledger.is_in_doubt(ByteRange(4 * BLOCK, 6 * BLOCK))


def test_what_is_slow_is_shared_and_what_is_hopeless_is_taken_over() -> None:
    ledger = ledger_of(64 * MIB)
    ledger.demand = [ByteRange(0, 64 * MIB)]
    first = taken(ledger, connections=1)
    ledger.note_written(first, MIB)
    first.received = MIB
    thief = taken(ledger, now=1.0)
    assert first.stop == thief.origin > first.position
    ledger.note_written(thief, thief.stop)
    thief.received = thief.stop - thief.origin
    ledger.release(thief, now=1.5)
    ledger.note_head(first, 1.0)
    heir = taken(ledger, now=600.0)
    assert ledger.evicted == [first]
    assert heir.origin == first.stop and heir.inherited == 1


def test_a_request_without_an_answer_gives_up_its_work_after_a_while() -> None:
    ledger = ledger_of(8 * MIB)
    ledger.demand = [ByteRange(0, 8 * MIB)]
    quick = taken(ledger)
    ledger.note_head(quick, 0.1)
    silent = taken(ledger)
    ledger.note_written(quick, quick.stop)
    quick.received = quick.stop - quick.origin
    ledger.release(quick, now=0.3)
    while (claim := ledger.claim_next(8, 0.4)) is not None and claim.inherited == 0:
        claim.owner, claim.since = object(), 0.4
        ledger.note_written(claim, claim.stop)
        claim.received = claim.stop - claim.origin
        ledger.release(claim, now=0.5)
    assert not ledger.evicted, "half a second is not long"
    heir = taken(ledger, now=30.0)
    assert ledger.evicted == [silent]
    assert heir.inherited == 1


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), max_size=6), st.sets(st.integers(0, 40)))
def test_what_several_readers_request_is_missing_once(spans: list[tuple[int, int]], held: set[int]) -> None:
    ledger = Ledger(BlockMap(41 * BLOCK, BitMap(held)))
    ledger.demand = [ByteRange(first * BLOCK, (first + count) * BLOCK) for first, count in spans]
    wanted = {block for first, count in spans for block in range(first, min(first + count, 41))}
    assert ledger.missing_demand() == len(wanted - held) * BLOCK


def test_a_claim_that_begins_within_the_first_block_has_that_block_for_its_neighbour() -> None:
    """The first answer to a resumed download begins with a seam. Its claim is asked for again where it broke."""
    ledger = ledger_of(3 * BLOCK, 0)
    claim = Claim(BLOCK - SEAM, 3 * BLOCK)
    ledger.claims.append(claim)
    assert ledger.range_to_ask(claim) == ByteRange(BLOCK - 2 * SEAM, 3 * BLOCK)
