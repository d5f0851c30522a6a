"""Tries: how often in a row one worker's attempts at one claim have failed, and what follows from that."""

from __future__ import annotations

from ..core.blocks import BLOCK
from ..errors import AttemptFailed, ChecksumError
from ..plan.patience import Patience
from ..protocol.verdict import MAX_IMPLAUSIBLE


class Tries:
    """The attempts at one claim, None being that of the first answer. Any new byte of the transfer renews them.

    *failures* in a row are held against the patience. Two things end sooner: an answer whose content has not the
    digest that came with it is asked for once more, and believed answers that bring less than a block may come
    `MAX_IMPLAUSIBLE` times in a row, as implausible ones may.
    """

    def __init__(self, patience: Patience) -> None:
        self.failures = 0
        self._patience = patience
        self._seen = patience.arrived
        self._fruitless = 0
        self._was_corrupt = False

    def note_failure(self, error: AttemptFailed, now: float) -> None:
        """Count one more failure, the first one again where bytes have arrived since the last."""
        if self._patience.take_stock(self._seen, error, now):
            self.failures = 0
        self._seen = self._patience.arrived
        self.failures += 1

    @property
    def are_exhausted(self) -> bool:
        """Whether the next failure is the last: time to ask in another way."""
        return self.failures >= self._patience.retries

    def note_corrupt(self, error: ChecksumError) -> None:
        """Note that an answer was not what its digest says; raise *error* when it is the second one."""
        if self._was_corrupt:
            raise error
        self._was_corrupt = True

    def note_body(self, count: int, *, done: bool) -> None:
        """Note that a believed answer brought *count* bytes of the claim, which is *done* by now or not."""
        self._fruitless = 0 if done or count >= BLOCK else self._fruitless + 1

    @property
    def are_fruitless(self) -> bool:
        """Whether too many believed answers in a row have brought less than a block."""
        return self._fruitless >= MAX_IMPLAUSIBLE
