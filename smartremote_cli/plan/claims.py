"""Claim: a stretch of bytes that one connection is to bring, and the pace at which it does."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from ..core.blocks import BLOCK
from ..core.ranges import ByteRange

# Seconds for which a request is not judged by what it has brought. By judgement: several round trips of 100 ms, in
# which TCP's slow start still tells nothing of the link.
GRACE_SECONDS = 0.5


@dataclass(eq=False, slots=True)
class Claim:
    """Bytes [origin, stop) that one connection brings; all before *position* are written or were held.

    *busy* is the end of the write under way: a thief may not cut before it. *since* and *received* give the pace.
    A *sample* is compared, never written. *inherited* counts how often it was taken over from a slow owner: each
    time it gets twice the grace.
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

    @property
    def reached(self) -> int:
        """The first byte that its owner has not begun to write."""
        return max(self.position, self.busy)

    @property
    def blocks(self) -> ByteRange:
        """The whole blocks that it touches."""
        return ByteRange(self.origin // BLOCK * BLOCK, -(-self.stop // BLOCK) * BLOCK)

    def pace(self, now: float, usual: float, head_grace: float) -> float:
        """Return bytes per second since the request was sent. A young request counts as *usual*, or as fast.

        So does one that has brought nothing yet, for as long as *head_grace* seconds.
        """
        elapsed = now - self.since
        if elapsed < (GRACE_SECONDS if self.received else head_grace) * 2**self.inherited:
            return usual or float("inf")
        return self.received / elapsed
