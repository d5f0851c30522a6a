"""Patience: how often to fail, how long to wait, how many connections to keep. The engine guards it.

Failures are counted in a row and any new byte sets the count to zero; bytes that come below `SLOWEST` for two
timeouts on end do not count. Refusals for crowding lower the number of connections, and time raises it again,
more and more cautiously. Connections make the most of a network; where the processor is the limit, more of them
than there are cores only get in each other's way.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from ..errors import AttemptFailed, IncompleteError, StalledError, UnbelievableError
from . import planner

MAX_WAIT = 300.0  # a server that asks to be left alone for longer is not waited for
SLOWEST = 1024  # bytes per second of all connections together; less is no progress
_BUSY = 0.9  # of one core's time: a process that takes that much has the processor for its limit
_LOOK = 0.02  # seconds between two looks at that
_FIRST_CAUTION, _MAX_CAUTION = 2.0, 60.0


class Patience:
    """The patience of one transfer. Times are monotonic seconds, given by the caller, who has so many *cores*."""

    def __init__(
        self,
        connections: int,
        retries: int,
        timeout: float,
        now: float,
        pause: Callable[[int, float], float] = planner.pause,
        cores: int = 1,
    ) -> None:
        self.most = connections
        self.retries = retries
        self.timeout = timeout
        self.allowed = 1  # two for every answer: 1, 2, 4, 8 …
        self.limit = connections  # falls when the server is crowded
        self.useful = connections  # falls to those that there are while the processor is the limit
        self.not_before = 0.0  # the server's wish, for all connections together
        self.arrived = 0  # bytes that are new, and one for the first answer: never falls
        self.answered = False
        self.one_only = False  # a 403 after successes was answered by going on alone
        self._pause = pause
        self._enough = cores + 1
        self._looked: tuple[float, float] | None = None
        self._window = (now, 0)
        self._slow_rounds = 0
        self._raise_at: float | None = None
        self._caution = _FIRST_CAUTION

    @property
    def connections(self) -> int:
        """How many connections may be used by now."""
        return max(1, min(self.allowed, self.limit, self.useful))

    def welcome(self) -> None:
        """One more believed answer came: whoever got it, and one more, may go on."""
        self.allowed = min(self.allowed + 2 if self.answered else 2, self.most)
        self.answered = True

    def look(self, now: float, work: float, workers: int) -> None:
        """Tell from *work*, the processor seconds that this process took so far, whether more *workers* are of use."""
        since, before = self._looked or (now, work)
        if self._looked is None or now - since >= _LOOK:
            self._looked = now, work
            busy = work - before >= _BUSY * (now - since) > 0
            self.useful = max(self._enough, workers) if busy else self.most

    def try_more(self, now: float) -> None:
        """Raise the limit by one when it has held for long enough."""
        if self._raise_at is not None and now >= self._raise_at and not self.one_only:
            self.limit = min(self.limit + 1, self.most)
            self._raise_at = now + self._caution if self.limit < self.most else None

    def crowded(self, error: AttemptFailed, workers: int, now: float) -> None:
        """Go on with one connection fewer than the *workers* that there are. Raises as `wait` does."""
        self._refuse_long_waits(error)
        self.limit = max(1, min(self.limit, workers) - 1)
        self._caution = min(2 * self._caution, _MAX_CAUTION)
        self._raise_at = now + self._caution
        self._heed(error, now)

    def go_on_alone(self) -> bool:
        """Use one connection from here on; return False, and change nothing, where no answer ever came.

        After successes a 403 often means too many connections, before any it means what it says.
        """
        if self.answered:
            self.one_only, self.limit = True, 1
        return self.answered

    def is_progress(self, seen: int, error: AttemptFailed, now: float) -> bool:
        """Return whether what came since *seen* bytes had arrived renews the patience."""
        since, had = self._window
        slow = False
        if now - since >= 2 * self.timeout:
            slow = self.arrived - had < SLOWEST * (now - since)
            self._slow_rounds = self._slow_rounds + 1 if slow else 0
            self._window = (now, self.arrived)
        return self.arrived > seen and not (slow and error.stalled)

    def wait(self, failures: int, error: AttemptFailed, now: float) -> float:
        """Return the seconds to wait after *failures* in a row.

        Raises `IncompleteError` when it was one too many, `UnbelievableError` when what comes is no HTTP.
        """
        self._refuse_long_waits(error)
        allowed = self.retries
        hopeless = error.garbled and not self.answered
        if hopeless or (error.refused and not self.answered):
            allowed = min(allowed, 1)
        if failures > allowed or self._slow_rounds > self.retries:
            if hopeless:
                raise UnbelievableError(error.what, error.why)
            raise (StalledError if error.stalled else IncompleteError)(error.what, error.why)
        self._heed(error, now)
        return max(self._pause(failures, random.random()), error.retry_after or 0.0)

    def _refuse_long_waits(self, error: AttemptFailed) -> None:
        if error.retry_after is not None and error.retry_after > MAX_WAIT:
            shown = f"{error.retry_after:.0f} s" if error.retry_after < 1e9 else "ages"
            raise IncompleteError(error.what, f"{error.why}, and to be asked again only after {shown}")

    def _heed(self, error: AttemptFailed, now: float) -> None:
        if error.retry_after is not None and error.retry_after <= MAX_WAIT:
            self.not_before = max(self.not_before, now + error.retry_after)
