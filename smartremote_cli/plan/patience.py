"""Patience: how many failures to bear, how long to pause, how many connections to keep. Its owner guards it.

Failures are counted in a row, and any new byte sets the count to zero; bytes that come slower than
`MIN_BYTES_PER_SECOND` for two timeouts on end do not. A server that has too many connections gets fewer, and more
again with time, more and more cautiously. More connections make better use of a network; where the processor is the
limit, more of them than there are cores only get in each other's way.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from ..errors import AttemptFailed, IncompleteError, StalledError, UnbelievableError
from . import planner

# Seconds. Give up instead of waiting when Retry-After asks for more. By judgement: a person at a terminal or a job
# would rather be told; some CI systems kill a job after ten silent minutes.
MAX_WAIT = 300.0

# All connections together; less is no progress. By judgement: aria2's --lowest-speed-limit and curl's --speed-limit
# are off by default; 1 KiB/s is less than a modem, and more than a server that drips bytes to keep connections open.
MIN_BYTES_PER_SECOND = 1024

# A server that only drips is tried once more with one connection, for this many timeouts at a time: a virus gateway
# sends a byte now and then while it scans, each request anew, and then everything at once. By judgement: five minutes
# with the usual timeout, about the longest that such gateways scan before they give up themselves.
PATIENT_TIMEOUTS = 10
SLOW_TIMEOUTS = 2  # otherwise: binding (contract 5)

# The processor is the limit of a process that takes this much of one core's time. Python runs one thread at a time, so
# that it cannot take much more than all of one core; the rest is for measuring errors.
_BUSY_CORES = 0.9

# Seconds over which that is measured. By judgement: twice the 10 ms in which some systems count processor time.
_MIN_MEASURED_SECONDS = 0.02

# Seconds before a connection more is tried after a server had too many, doubled with every time that it has again.
# By judgement: rate limits are counted in seconds to a minute.
_FIRST_CAUTION_SECONDS = 2.0
_MAX_CAUTION_SECONDS = 60.0


class Patience:
    """The patience of one transfer on a machine with *cores*. The caller gives the times, in monotonic seconds."""

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
        self.allowed = 1  # every answer allows two more: 1, 2, 4, 8 …, as Gopeed starts
        self.limit = connections  # falls when the server has too many
        self.useful = connections  # falls to those at work while the processor is the limit
        self.not_before = 0.0  # Retry-After, for all connections together
        self.arrived = 0  # bytes that are new, and one for the first answer: never falls
        self.answered = False
        self.one_only = False  # a 403 after successes was answered by going on alone
        self.is_patient = False  # a server that only drips is waited for, with one connection
        self._pause = pause
        self._enough = cores + 1  # one for each core, and one that waits for the network meanwhile
        self._measured: tuple[float, float] | None = None  # time and processor seconds, when last measured
        self._window = (now, 0)  # time and bytes arrived, where the slow round under way began
        self._slow_rounds = 0  # of two timeouts each, in a row
        self._raise_at: float | None = None
        self._caution = _FIRST_CAUTION_SECONDS

    @property
    def connections(self) -> int:
        """How many connections may be used by now."""
        return max(1, min(self.allowed, self.limit, self.useful))

    def welcome(self) -> None:
        """Allow one more connection for a believed answer, besides the one that got it."""
        self.allowed = min(self.allowed + 2 if self.answered else 2, self.most)
        self.answered = True

    def measure_load(self, now: float, spent: float, workers: int) -> None:
        """Set how many connections are useful, with *workers* at work and *spent* processor seconds since the start."""
        since, before = self._measured or (now, spent)
        if self._measured is None or now - since >= _MIN_MEASURED_SECONDS:
            self._measured = now, spent
            busy = spent - before >= _BUSY_CORES * (now - since) > 0
            self.useful = max(self._enough, workers) if busy else self.most

    def try_more(self, now: float) -> None:
        """Raise the limit by one when it has held for long enough."""
        if self._raise_at is not None and now >= self._raise_at and not self.one_only:
            self.limit = min(self.limit + 1, self.most)
            self._raise_at = now + self._caution if self.limit < self.most else None

    def use_one_fewer(self, error: AttemptFailed, workers: int, now: float) -> None:
        """Go on with one connection fewer than the *workers* at work. Raises as `plan_retry` does."""
        self._refuse_long_waits(error)
        self.limit = max(1, min(self.limit, workers) - 1)
        self._caution = min(2 * self._caution, _MAX_CAUTION_SECONDS)
        self._raise_at = now + self._caution
        self._heed(error, now)

    def go_on_alone(self) -> bool:
        """Use one connection from here on; return False, and change nothing, where no answer ever came.

        After successes a 403 often means too many connections, before any it means what it says.
        """
        if self.answered:
            self.one_only, self.limit = True, 1
        return self.answered

    @property
    def slow_window(self) -> float:
        """Seconds over which a body may come too slowly before its attempt counts as failed."""
        return self.timeout * (PATIENT_TIMEOUTS if self.is_patient else SLOW_TIMEOUTS)

    def take_stock(self, seen: int, error: AttemptFailed, now: float) -> bool:
        """Count a slow round where one is over; return whether what came since *seen* bytes renews the patience."""
        since, had = self._window
        slow = False
        if now - since >= 2 * self.timeout:
            slow = self.arrived - had < MIN_BYTES_PER_SECOND * (now - since)
            self._slow_rounds = self._slow_rounds + 1 if slow else 0
            self._window = (now, self.arrived)
        return self.arrived > seen and not (slow and error.stalled)

    def plan_retry(self, failures: int, error: AttemptFailed, now: float) -> float:
        """Return the seconds to pause after *failures* in a row; Retry-After holds for all connections.

        Raises `IncompleteError` when it was one too many, `UnbelievableError` when what comes is not HTTP. One more
        attempt is made, alone and patiently, when bytes kept coming, but too slowly.
        """
        self._refuse_long_waits(error)
        allowed = self.retries
        hopeless = error.garbled and not self.answered
        if hopeless or (error.refused and not self.answered):
            allowed = min(allowed, 1)
        if failures > allowed or self._slow_rounds > self.retries:
            if hopeless:
                raise UnbelievableError(error.what, error.why)
            if not error.slow or self.is_patient:
                raise self._gives_up(error)
            self.is_patient = self.one_only = True
            self.limit, self._slow_rounds = 1, 0
        self._heed(error, now)
        return max(self._pause(failures, random.random()), error.retry_after or 0.0)

    def _gives_up(self, error: AttemptFailed) -> IncompleteError:
        if not error.stalled:
            return IncompleteError(error.what, error.why)
        if error.slow or not self.arrived:  # to run it again as it is would end in the same way
            return StalledError(
                error.what, error.why, hint=f"a --timeout longer than {self.timeout:g} may help"
            )
        return StalledError(error.what, error.why)

    def _refuse_long_waits(self, error: AttemptFailed) -> None:
        if error.retry_after is not None and error.retry_after > MAX_WAIT:
            shown = f"{error.retry_after:.0f} s" if error.retry_after < 1e9 else "ages"
            why = f"{error.why}, and to be asked again only after {shown}"
            raise IncompleteError(error.what, why, hint="run the same command again then")

    def _heed(self, error: AttemptFailed, now: float) -> None:
        if error.retry_after is not None and error.retry_after <= MAX_WAIT:
            self.not_before = max(self.not_before, now + error.retry_after)
