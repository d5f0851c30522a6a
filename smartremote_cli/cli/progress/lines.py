"""The texts of a progress display: amounts, speeds, the time left, and the cells of the block map.

Pure: counts and times in, values and text out; no clock, no terminal.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ...core.sizes import duration_text, size_text
from ...core.text import printable
from ...events import Retrying


def resampled(cells: Sequence[float], width: int) -> list[float]:
    """Return *cells* merged, or repeated, to *width* of them.

    A merged cell is 1 only when all its parts are 1, and 0 only when all are 0: one missing block shows, and one held
    block does too.
    """
    merged = []
    for cell in range(width):
        first = cell * len(cells) // width
        part = cells[first : max(first + 1, -(-(cell + 1) * len(cells) // width))]
        mean = sum(part) / len(part)
        merged.append(mean if min(part) == max(part) else min(max(mean, 0.001), 0.999))
    return merged


def fitting(fields: Sequence[tuple[int, str]], width: int) -> list[str]:
    """Return the texts that fit into *width*, with two spaces before each; drop the highest number first."""
    chosen = list(fields)
    while len(chosen) > 1 and sum(2 + len(text) for _, text in chosen) > width:
        chosen.remove(max(chosen))
    return [text for _, text in chosen]


class Pace:
    """How fast bytes arrive, and when the last one will.

    The time left is computed from the mean of two speeds, that of the last 30 s and that of the whole run: the long
    run keeps it steady, the window corrects it soon after the speed changes. The speed shown is that of the last 5 s.
    """

    # In seconds, chosen by eye: shorter windows jump from one drawing to the next, longer ones show a change late.
    ESTIMATE_WINDOW = 30.0
    SPEED_WINDOW = 5.0
    MARK_INTERVAL = 0.5  # seconds between two marks: bounds the memory however often `add` is called

    def __init__(self, now: float, count: int) -> None:
        self._restart(now, count)

    def _restart(self, now: float, count: int) -> None:
        self._start = self._last = (now, count)
        self._marks = deque([self._start])

    def add(self, now: float, count: int) -> None:
        """Note that *count* bytes were there at *now*. When the count falls (a fresh start), forget the past."""
        if count < self._last[1]:
            self._restart(now, count)
        self._last = (now, count)
        if now - self._marks[-1][0] >= self.MARK_INTERVAL:
            self._marks.append(self._last)
        while len(self._marks) > 1 and self._marks[1][0] <= now - self.ESTIMATE_WINDOW:
            self._marks.popleft()

    @property
    def speed(self) -> float | None:
        """Bytes per second over the last 5 s; None before the first interval."""
        return self._since(self._last[0] - self.SPEED_WINDOW)

    def seconds_left(self, remaining: int) -> float | None:
        """Return the time for *remaining* bytes; None in the first second, and after 30 s of silence."""
        if remaining <= 0:
            return 0.0
        recent = self._since(self._last[0] - self.ESTIMATE_WINDOW)
        elapsed = self._last[0] - self._start[0]
        if not recent or elapsed < 1.0:
            return None
        average = (self._last[1] - self._start[1]) / elapsed
        return remaining / ((recent + average) / 2)

    def _since(self, moment: float) -> float | None:
        mark = next((mark for mark in reversed(self._marks) if mark[0] <= moment), self._marks[0])
        seconds = self._last[0] - mark[0]
        return (self._last[1] - mark[1]) / seconds if seconds > 0 else None


@dataclass(frozen=True, slots=True)
class Figures:
    """The numbers to show: a snapshot, its speed in bytes per second and its time left. Unknown is None."""

    bytes_present: int
    size: int | None
    connections: int
    speed: float | None
    seconds_left: float | None

    @property
    def percent(self) -> int | None:
        """Rounded down: 100 means all."""
        if self.size is None:
            return None
        return min(100 * self.bytes_present // self.size, 100) if self.size else 100

    @property
    def time_left(self) -> str | None:
        return duration_text(math.ceil(self.seconds_left)) + " left" if self.seconds_left else None


def amounts(figures: Figures, between: str = " / ") -> str:
    present = size_text(figures.bytes_present)
    return present if figures.size is None else f"{present}{between}{size_text(figures.size)}"


def retry_text(event: Retrying, pause: float) -> str:
    when = "trying again" if pause < 0.5 else f"next attempt in {duration_text(math.ceil(pause))}"
    return f"{printable(event.why)}; {when}"
