"""State: what the threads of one transfer share, and the condition that guards it. No I/O happens here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from pyroaring import BitMap

from ..core.blocks import BLOCK, MAX_SIZE, BlockMap
from ..core.ranges import ByteRange
from ..errors import SmartRemoteError
from ..plan import planner
from ..plan.claims import Claim
from ..plan.ledger import Ledger
from ..plan.patience import Patience
from ..protocol.answers import Asked
from ..protocol.digests import Digest
from ..protocol.identity import Identity, Match
from ..store.copies import Copy, Opened, RecordDraft
from ..transport.response import Response

# So many bytes of new blocks, and they are made durable before their time.
EVERY_BYTES = 64 * planner.MIB


class Policy(NamedTuple):
    """How hard to try. *retries* are failures in a row without progress; *digest_decides* allows to start over.

    Without *share*, each want is one request of its own.
    """

    connections: int = 8
    retries: int = 5
    digest_decides: bool = False
    share: bool = True
    pause: Callable[[int, float], float] = planner.pause


class State:
    """Everything below is guarded by `cond`, which is notified when any of it changes for others."""

    def __init__(self, first: Asked, condition: dict[str, str], patience: Patience, policy: Policy) -> None:
        guard = threading.RLock()
        self.cond = threading.Condition(guard)
        self.saving = threading.Condition(guard)  # for who makes progress durable, and nobody else
        # What threads wait for: they are woken when it is here, not before.
        self.awaited: list[ByteRange] = []
        self.first = first
        self.condition = condition
        self.patience = patience
        self.policy = policy
        self.threads: dict[threading.Thread, Response | None] = {}
        # What is known of the resource
        self.opened: Opened | None = None
        self.identity: Identity | None = None
        self.ledger: Ledger | None = None
        self.early_demand: list[ByteRange] = []  # from before there was a ledger
        self.probing = False
        self.meeting: Claim | None = None  # the first answer's, which is compared with what was held before
        self.exposed = False  # somebody has read held bytes: they must not change any more
        self.framed = True
        # How it is asked for
        self.precondition = True
        self.again = False  # the last answer was asked for once more, without a condition
        self.implausible = 0
        self.unconfirmed_size: int | None = None  # the size that a refused answer named
        self.digests: set[Digest] = set()  # of the whole resource, as answers gave them
        self.streaming = False
        self.stream_resumes = True  # a broken stream is asked for from where it broke
        self.stream_identity: Identity | None = None
        self.stash: Response | None = None  # an answer that turned out to be the whole resource
        self.furthest = 0  # where the stream has been: what it passes again is no progress
        self.before = BitMap()  # what was held before this run
        self.disputed = False  # what came in this run is not held any more
        self.renounced = False  # nothing is held any more, and the record on disk does not say so yet
        self.restarts = 0
        # How it ends
        self.barrier: Callable[[], None] | None = None  # every worker leaves, and the last one calls it
        self.error: SmartRemoteError | None = None
        self.stopping = False
        self.dirty = 0  # bytes of blocks that no checkpoint has seen
        self.touched = False  # something was written that no checkpoint has seen

    @property
    def is_leaving(self) -> bool:
        return self.stopping or self.error is not None or self.barrier is not None

    @property
    def asks_from_start(self) -> bool:
        """Whether nothing is known yet, and the first request is for the first bytes: all may as well come at once."""
        first = self.first.range
        return self.ledger is None and first is not None and not first.start and not self.first.inside

    @property
    def is_strict(self) -> bool:
        """Whether held bytes must not change: they are an earlier run's, or somebody has read them."""
        resumed = self.opened is not None and self.opened.resumed
        return (resumed and not self.policy.digest_decides) or self.exposed

    @property
    def copy(self) -> Copy:
        assert self.opened is not None, "no answer yet"
        return self.opened.copy

    @property
    def todo(self) -> int:
        """How many bytes there are to bring or compare, roughly."""
        if self.ledger is None:
            return 1
        if self.ledger.samples:
            return len(self.ledger.samples) * planner.MIN_STEAL
        return self.ledger.missing_demand()

    @property
    def demand(self) -> list[ByteRange]:
        return self.early_demand if self.ledger is None else self.ledger.demand

    def begin(self, opened: Opened, identity: Identity) -> Ledger:
        """Take the first answer's copy and identity as what this transfer is about."""
        self.opened = opened
        self.identity = identity
        self.before = opened.copy.blocks.bits
        self.ledger = Ledger(opened.copy.blocks, self.policy.share)
        self.ledger.demand, self.early_demand = self.early_demand, []
        self.patience.arrived += 1
        self.patience.welcome()
        return self.ledger

    def drop_conditions(self) -> None:
        """Ask without conditions from here on."""
        self.precondition, self.condition = False, {}
        self.first = self.first._replace(conditional=False)

    def drop_suffix(self) -> None:
        """Ask for the first bytes instead of the last, as long as nothing is known; they bring the size as well."""
        if self.ledger is None and self.first.suffix is not None:
            self.first = self.first._replace(range=ByteRange(0, BLOCK), suffix=None)

    def share_among(self, connections: int) -> None:
        """Divide what is wanted among up to so many *connections*."""
        self.policy = self.policy._replace(share=True, connections=connections)
        self.patience.most = self.patience.limit = connections
        if self.ledger is not None:
            self.ledger.share = True

    def adopt(self, identity: Identity, claim: Claim) -> None:
        """Take the stream's *identity* as the resource's; *claim* is the whole of it."""
        assert self.ledger is not None and self.identity is not None
        if (
            self.identity.compare(identity) is Match.DIFFERENT
        ):  # what is held must not be recorded as of this version
            self.copy.blocks.clear()
            self.renounced = True
        self.identity = identity.sized(self.identity.size if identity.size is None else identity.size)
        self.copy.settle(self.identity)
        self.ledger.blocks = self.copy.blocks
        claim.stop = self.copy.blocks.size

    def is_satisfied(self, wanted: ByteRange) -> bool:
        """Return whether every byte of *wanted* can be read, and whatever had to be compared was."""
        if self.ledger is None or self.barrier is not None or self.ledger.samples or self.ledger.samples_open:
            return False
        if self.identity is not None and self.identity.size is None and wanted.stop >= MAX_SIZE:
            return False
        first = self.meeting
        if first is not None and first in self.ledger.claims and first.position == first.origin:
            return False
        return self.ledger.satisfied(wanted) and not self.ledger.is_in_doubt(wanted)

    def draft_record(self) -> RecordDraft:
        """Return what is written, to be recorded."""
        self.touched = False
        return self.copy.draft_record()._replace(compared=self._is_compared)

    @property
    def _is_compared(self) -> bool:
        """Whether what an earlier run held was compared as far as it had to be: a stream compares all of it."""
        if self.ledger is None or self.ledger.samples or self.ledger.samples_open:
            return False
        return not (self.streaming and self.before) or (
            self.copy.blocks.is_complete and not self.ledger.claims
        )

    def soil(self, count: int) -> None:
        """Note that *count* bytes more are to be made durable, and wake who does that when it is time."""
        if not self.dirty or self.dirty + count >= EVERY_BYTES:
            self.saving.notify()
        self.dirty += count

    def dispute(self) -> None:
        """Hold nothing that came in this run: two of its answers are not of one version, or it and an earlier run."""
        self.disputed = True
        blocks = self.copy.blocks
        for gap in BlockMap.fitting(blocks.size, blocks.bits & self.before).missing():
            blocks.forget(gap)
        self.soil(1)

    def begin_stream(self) -> None:
        """From here on everything is one claim, from byte 0; what is held will be compared. A barrier."""
        self.streaming = True
        if self.ledger is not None:
            self.ledger.switch_to_single_stream()

    def begin_anew(self) -> None:
        """Forget every block, and fetch what is wanted anew. A barrier."""
        assert self.ledger is not None
        self.ledger.drop_all()
        self.before = BitMap()
        self.digests.clear()
        self.renounced = True

    def start_over(self) -> None:
        """Forget every block: everything is fetched anew, in one piece. A barrier."""
        self.begin_anew()
        self.streaming = True
        self.stream_identity = None
        self.furthest = 0
