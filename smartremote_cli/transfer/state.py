"""State: what the threads of one transfer share, and the condition that guards it. No I/O happens here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from pyroaring import BitMap

from ..core.blocks import MAX_SIZE, BlockMap
from ..core.ranges import ByteRange
from ..errors import IncompleteError, SmartRemoteError
from ..plan import planner
from ..plan.claims import Claim
from ..plan.ledger import Ledger
from ..plan.patience import Patience
from ..protocol.approach import Approach
from ..protocol.digests import Digest
from ..protocol.identity import Identity, Match
from ..store.copies import Copy, Opened, RecordDraft
from ..transport.remote import Remote
from ..transport.response import Response
from .phase import (
    Draining,
    Failed,
    Mode,
    Phase,
    Probing,
    SingleStream,
    Stopped,
    drained,
    draining_of,
    interrupted,
    may_follow,
    mode_of,
    with_mode,
)
from .provenance import Provenance
from .unsaved import Unsaved


class Policy(NamedTuple):
    """How hard to try. *retries* are failures in a row without progress; *digest_decides* allows to start over.

    Without *share*, each request of a reader goes to one connection.
    """

    connections: int = 8
    retries: int = 5
    digest_decides: bool = False
    share: bool = True
    pause: Callable[[int, float], float] = planner.pause


@dataclass(slots=True)
class Source:
    """Where the bytes come from: one URL, how its server is asked, and how patient the transfer is with it.

    `Transfer` makes it, `Worker` names it to `Attempts.make`, and an attempt asks no other. A second URL of the
    resource is a second source with workers of its own; the README of this folder says what else it needs.
    """

    remote: Remote
    approach: Approach
    patience: Patience


class State:
    """Everything below is guarded by `cond`, which is notified when any of it changes for others."""

    def __init__(self, source: Source, policy: Policy) -> None:
        guard = threading.RLock()
        self.cond = threading.Condition(guard)
        self.source = source
        self.policy = policy
        self.phase: Phase = Probing()
        self.workers: dict[threading.Thread, Response | None] = {}
        # What threads wait for: they are woken when it is here, not before.
        self.awaited: list[ByteRange] = []
        self.early_demand: list[ByteRange] = []  # from before there was a ledger
        self.opened: Opened | None = None
        self.identity: Identity | None = None
        self.ledger: Ledger | None = None
        # The first answer's, which is compared with what was held before.
        self.first_claim: Claim | None = None
        self.provenance = Provenance()
        self.unsaved = Unsaved(guard)
        self.digests: set[Digest] = set()  # of the whole resource, as answers gave them
        self.carried_response: Response | None = None  # an answer that turned out to be the whole resource
        self.restarts = 0

    # Questions

    @property
    def name(self) -> str:
        """The resource's URL without its secrets, for messages."""
        return self.source.remote.name

    @property
    def patience(self) -> Patience:
        return self.source.patience

    @property
    def mode(self) -> Mode:
        return mode_of(self.phase)

    @property
    def stream(self) -> SingleStream | None:
        """The single stream that everything is read from, None where ranges are fetched."""
        mode = self.mode
        return mode if isinstance(mode, SingleStream) else None

    @property
    def is_streaming(self) -> bool:
        """Whether requests ask for everything in one piece."""
        mode = self.mode
        return mode.whole if isinstance(mode, Probing) else isinstance(mode, SingleStream)

    @property
    def is_over(self) -> bool:
        return isinstance(self.phase, Stopped | Failed)

    @property
    def is_stopped(self) -> bool:
        """Whether someone has ended it; a worker that holds arrived bytes still writes them."""
        return isinstance(self.phase, Stopped)

    @property
    def is_leaving(self) -> bool:
        """Whether workers are to leave: the transfer is over, or about to go on in another way."""
        return isinstance(self.phase, Draining | Stopped | Failed)

    @property
    def error(self) -> SmartRemoteError | None:
        return self.phase.error if isinstance(self.phase, Failed) else None

    @property
    def is_strict(self) -> bool:
        """Whether held bytes must not change: they are an earlier download's, or a reader has seen them."""
        resumed = self.provenance.resumed and not self.policy.digest_decides
        return resumed or self.provenance.exposed

    @property
    def copy(self) -> Copy:
        assert self.opened is not None, "no answer yet"
        return self.opened.copy

    @property
    def todo(self) -> int:
        """How many bytes there are to fetch or compare, roughly."""
        if self.ledger is None:
            return 1
        if self.ledger.samples:
            return len(self.ledger.samples) * planner.MIN_STEAL
        return self.ledger.missing_demand()

    @property
    def demand(self) -> list[ByteRange]:
        return self.early_demand if self.ledger is None else self.ledger.demand

    def is_satisfied(self, wanted: ByteRange) -> bool:
        """Return whether every byte of *wanted* can be read, and everything that had to be compared was."""
        ledger, first = self.ledger, self.first_claim
        if ledger is None or draining_of(self.phase) is not None or ledger.samples or ledger.samples_open:
            return False
        if self.identity is not None and self.identity.size is None and wanted.stop >= MAX_SIZE:
            return False
        if first is not None and first in ledger.claims and first.position == first.origin:
            return False
        return ledger.satisfied(wanted) and not ledger.is_in_doubt(wanted)

    @property
    def _is_compared(self) -> bool:
        """Whether what an earlier run held was compared as far as it had to be: a stream compares all of it."""
        if self.ledger is None or self.ledger.samples or self.ledger.samples_open:
            return False
        if not (self.is_streaming and self.provenance.at_start):
            return True
        return self.copy.blocks.is_complete and not self.ledger.claims

    # From phase to phase

    def go_on_in(self, mode: Mode) -> None:
        """Fetch in *mode* from here on. A transfer that is over, or draining, stays so."""
        _check_transition(self.mode, mode)
        self.phase = with_mode(self.phase, mode)

    def drain(self, then: Mode, *, forgets: bool = False) -> None:
        """Have the workers leave, and the last one go on in *then*; with *forgets*, every held block is dropped."""
        draining = Draining(self.mode, then, forgets)
        _check_transition(self.mode, draining)
        self.phase = interrupted(self.phase, draining)
        self.cond.notify_all()

    def finish_draining(self) -> None:
        """Do what the last worker has to do when all of them were to leave; nothing where they were not."""
        draining = draining_of(self.phase)
        if draining is None:
            return
        _check_transition(draining, draining.then)
        self.phase = drained(self.phase)
        if draining.forgets:
            self.forget_all()
        if self.ledger is not None and isinstance(draining.then, SingleStream):
            self.ledger.switch_to_single_stream()

    def raise_error(self) -> None:
        """Raise what has ended the transfer, if anything has. Its hint speaks of what is kept where a copy keeps it."""
        error = self.error
        if error is None:
            return
        if isinstance(error, IncompleteError) and error.hint == IncompleteError.hint and self._keeps_any:
            error.hint = error.hint_if_kept
        raise error

    @property
    def _keeps_any(self) -> bool:
        """Whether a later run goes on from blocks that are held; where there are no ranges it begins at byte 0."""
        copy = None if self.opened is None else self.opened.copy
        return copy is not None and copy.is_durable and copy.blocks.held > 0 and not self.is_streaming

    def end(self, error: SmartRemoteError | None = None) -> None:
        """Stop, or fail with *error*. A transfer that is over already stays as it is."""
        phase = self.phase
        if not isinstance(phase, Stopped | Failed):
            self.phase = Stopped(phase) if error is None else Failed(error, phase)
            _check_transition(phase, self.phase)
        self.cond.notify_all()

    def read_from_start(self) -> None:
        """Ask for a stream that breaks from byte 0, never for how it goes on."""
        stream = self.stream
        if stream is not None:
            self.go_on_in(stream._replace(resumes=False))

    def fresh_stream(self) -> SingleStream:
        """Return the stream that reads everything once more; it resumes in the middle where this one may."""
        stream = self.stream
        return SingleStream(resumes=stream is None or stream.resumes)

    # What is held

    def begin(self, opened: Opened, identity: Identity, mode: Mode) -> Ledger:
        """Take the first answer's copy and identity as what this transfer is about, and go on in *mode*."""
        self.opened = opened
        self.identity = identity
        self.provenance = Provenance(opened.copy.blocks.bits, opened.resumed, opened.exposed)
        self.ledger = Ledger(opened.copy.blocks, self.policy.share)
        self.ledger.demand, self.early_demand = self.early_demand, []
        self.go_on_in(mode)
        self.patience.arrived += 1
        self.patience.welcome()
        return self.ledger

    def begin_whole(self, identity: Identity, framed: bool, claim: Claim) -> None:
        """Read the stream whose answer gave *identity*; *claim* is all of it, and *framed* tells its end apart."""
        stream = self.stream or SingleStream()
        self.go_on_in(stream._replace(identity=identity, framed=framed))
        assert self.identity is not None
        if not self.is_strict or self.identity.size is None:
            self.adopt(identity, claim)

    def adopt(self, identity: Identity, claim: Claim) -> None:
        """Take the stream's *identity* as the resource's; *claim* is the whole of it."""
        assert self.ledger is not None and self.identity is not None
        if self.identity.compare(identity) is Match.DIFFERENT:
            self.copy.blocks.clear()  # what is held must not be recorded as of this version
            self.provenance.record_is_stale = True
        self.identity = identity.sized(self.identity.size if identity.size is None else identity.size)
        self.copy.settle(self.identity)
        self.ledger.blocks = self.copy.blocks
        claim.stop = self.copy.blocks.size

    def share_among(self, connections: int) -> None:
        """Divide what is wanted among up to *connections* connections."""
        self.policy = self.policy._replace(share=True, connections=connections)
        self.patience.most = self.patience.limit = connections
        if self.ledger is not None:
            self.ledger.share = True

    def note_progress(self, claim: Claim, before: int) -> None:
        """Renew the patience by the bytes of *claim* from *before* on; a stream's only beyond what it reached once."""
        stream, position = self.stream, claim.position
        if claim.sample:
            return
        if stream is None:
            self.patience.arrived += position - before
        elif position > stream.furthest:
            self.patience.arrived += position - stream.furthest
            self.go_on_in(stream._replace(furthest=position))

    def dispute(self) -> None:
        """Hold nothing that came in this run: two answers disagree, with each other or with an earlier run."""
        self.provenance.disputed = True
        blocks = self.copy.blocks
        for gap in BlockMap.fitting(blocks.size, blocks.bits & self.provenance.at_start).missing():
            blocks.forget(gap)
        self.unsaved.add(1)

    def forget(self, part: ByteRange) -> None:
        """Mark every block that *part* touches as missing."""
        self.copy.blocks.forget(part)
        self.provenance.at_start = self.provenance.at_start & self.copy.blocks.bits

    def forget_all(self) -> None:
        """Forget every block, claim and digest; the record on disk is reset before anything is written anew."""
        assert self.ledger is not None
        self.ledger.drop_all()
        self.digests.clear()
        self.provenance.at_start = BitMap()
        self.provenance.record_is_stale = True

    def draft_record(self) -> RecordDraft:
        """Return what is written by now, for the caller to record."""
        self.unsaved.was_written = False
        return self.copy.draft_record()._replace(compared=self._is_compared)


def _check_transition(now: Phase, then: Phase) -> None:
    if not may_follow(now, then):
        raise AssertionError(f"no transition leads from {now} to {then}")
