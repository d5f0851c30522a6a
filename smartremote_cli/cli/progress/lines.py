"""What a progress display says: sizes, speeds, times, the estimate of what is left, log lines, JSON lines.

Pure: counts and times in, text out; no clock, no terminal. `display` decides when it is shown, and where.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ...core.sizes import duration_text, size_text, speed_text
from ...core.text import printable
from ...events import Event, Notice, Retrying, Snapshot, Started


def resampled(cells: Sequence[float], width: int) -> list[float]:
    """Return *cells* merged, or repeated, to *width* of them.

    A merged cell is 1 only when all its parts are, and 0 only when all are: no hole and no island is hidden.
    """
    merged = []
    for cell in range(width):
        first = cell * len(cells) // width
        part = cells[first : max(first + 1, -(-(cell + 1) * len(cells) // width))]
        mean = sum(part) / len(part)
        merged.append(mean if min(part) == max(part) else min(max(mean, 0.001), 0.999))
    return merged


def fitting(fields: Sequence[tuple[int, str]], width: int) -> list[str]:
    """Return the texts that fit into *width*, two spaces before each; the highest number gives way first."""
    chosen = list(fields)
    while len(chosen) > 1 and sum(2 + len(text) for _, text in chosen) > width:
        chosen.remove(max(chosen))
    return [text for _, text in chosen]


class Pace:
    """How fast bytes arrive, and when the last one will.

    The time left follows the mean of two speeds, that of the last 30 s and that of the whole run: calm where
    short windows jump, and soon true after a change. The speed that is shown is that of the last 5 s.
    """

    WINDOW = 30.0
    GLANCE = 5.0
    STEP = 0.5  # between two marks: the memory is bounded whatever the caller's rhythm

    def __init__(self, now: float, count: int) -> None:
        self._restart(now, count)

    def _restart(self, now: float, count: int) -> None:
        self._start = self._last = (now, count)
        self._marks = deque([self._start])

    def add(self, now: float, count: int) -> None:
        """Note that *count* bytes were there at *now*. A falling count (a fresh start) forgets the past."""
        if count < self._last[1]:
            self._restart(now, count)
        self._last = (now, count)
        if now - self._marks[-1][0] >= self.STEP:
            self._marks.append(self._last)
        while len(self._marks) > 1 and self._marks[1][0] <= now - self.WINDOW:
            self._marks.popleft()

    @property
    def speed(self) -> float | None:
        """Bytes per second over the last 5 s; None while there is nothing to judge from."""
        return self._since(self._last[0] - self.GLANCE)

    def seconds_left(self, remaining: int) -> float | None:
        """Return the time for *remaining* bytes; None in the first second, and after 30 s of silence."""
        if remaining <= 0:
            return 0.0
        recent = self._since(self._last[0] - self.WINDOW)
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
class Reading:
    """A snapshot with what the pace makes of it. Unknown is None."""

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


class Face:
    """One way to show a transfer: each call returns the text to write now, often none.

    *now* never goes back. `look` is called every `gap` seconds, for the first time after `delay`.
    """

    delay = gap = 1.0

    def __init__(self, name: str, verb: str, verbose: bool, now: float) -> None:
        self._name = printable(name)
        self._verb = verb
        self._verbose = verbose
        self._begun = now
        self._started: Started | None = None
        self._held_before: int | None = None
        self._pace = Pace(now, 0)

    def event(self, event: Event, snapshot: Snapshot, now: float) -> str:
        match event:
            case Started():
                self._started = event
                self._held_before = event.bytes_present
                self._pace = Pace(now, event.bytes_present)
                return ""
            case Retrying():
                return self._retrying(event, now)
            case Notice(text=text, detail=detail):
                return f"smartremote: {printable(text)}\n" if self._verbose or not detail else ""

    def look(self, snapshot: Snapshot, now: float) -> str:
        return ""

    def done(self, snapshot: Snapshot, now: float) -> str:
        return f"smartremote: {self._name}: {self._summary(snapshot, now)}\n"

    def failed(self, error: BaseException, snapshot: Snapshot, now: float) -> str:
        """Return where it stopped; the error itself is printed by whoever caught it."""
        if not self._gained(snapshot):
            return ""
        return f"smartremote: {self._name}: stopped at {amounts(self._read(snapshot, now), ' of ')}\n"

    def leave(self) -> str:
        """Return what remains to be written when there is nothing more to say."""
        return ""

    def _retrying(self, event: Retrying, now: float) -> str:
        return f"smartremote: {self._name}: {retry_text(event, event.pause)}\n"

    def _read(self, snapshot: Snapshot, now: float) -> Reading:
        self._pace.add(now, snapshot.bytes_present)
        size = snapshot.size
        left = None if size is None else self._pace.seconds_left(size - snapshot.bytes_present)
        return Reading(snapshot.bytes_present, size, snapshot.connections, self._pace.speed, left)

    def _gained(self, snapshot: Snapshot) -> int:
        return max(0, snapshot.bytes_present - (self._held_before or 0))

    def _average(self, snapshot: Snapshot, now: float) -> float:
        return self._gained(snapshot) / max(now - self._begun, 0.001)

    def _summary(self, snapshot: Snapshot, now: float) -> str:
        gained, all_in_all = self._gained(snapshot), size_text(snapshot.bytes_present)
        if not self._started or not gained:
            return f"complete, {all_in_all}"
        took, speed = duration_text(now - self._begun), speed_text(self._average(snapshot, now))
        text = f"{self._verb} {size_text(gained)} in {took} ({speed})"
        return text if gained == snapshot.bytes_present else f"{text}, {all_in_all} in all"


def amounts(reading: Reading, between: str = " / ") -> str:
    present = size_text(reading.bytes_present)
    return present if reading.size is None else f"{present}{between}{size_text(reading.size)}"


def retry_text(event: Retrying, pause: float) -> str:
    when = "trying again" if pause < 0.5 else f"next attempt in {duration_text(math.ceil(pause))}"
    return f"{printable(event.why)}; {when}"


class PlainFace(Face):
    """Log lines at growing gaps: a short run says much, a long one does not drown its log.

    Some build services kill a job that is silent for 10 minutes: the gap never grows beyond half of that.
    """

    FIRST_GAP, GROWTH, LAST_GAP = 5.0, 1.2, 300.0
    RETRY_GAP = 10.0  # eight connections that fail together are one piece of news

    def __init__(self, name: str, verb: str, verbose: bool, now: float) -> None:
        super().__init__(name, verb, verbose, now)
        self._line_gap = self.FIRST_GAP
        self._line_due = now + self._line_gap
        self._retry_due = now

    def look(self, snapshot: Snapshot, now: float) -> str:
        reading = self._read(snapshot, now)
        if now < self._line_due:
            return ""
        self._line_gap = min(self._line_gap * self.GROWTH, self.LAST_GAP)
        self._line_due = now + self._line_gap
        if not self._started and not reading.bytes_present:
            return f"smartremote: {self._name}: waiting for the server\n"
        percent = None if reading.percent is None else f"{reading.percent}%"
        speed = None if reading.speed is None else speed_text(reading.speed)
        parts = (percent, amounts(reading, " of "), speed, reading.time_left)
        return f"smartremote: {self._name}: {', '.join(part for part in parts if part)}\n"

    def _retrying(self, event: Retrying, now: float) -> str:
        if now < self._retry_due and not self._verbose:
            return ""
        self._retry_due = now + self.RETRY_GAP
        return super()._retrying(event, now)


class JsonFace(Face):
    """One JSON object a line, for programs. Every object has every field; unknown is null."""

    delay, gap = 0.2, 0.5

    def event(self, event: Event, snapshot: Snapshot, now: float) -> str:
        super().event(event, snapshot, now)
        match event:
            case Started(name=name, size=size, bytes_present=present):
                reading = Reading(present, size, snapshot.connections, None, None)
                return self._line("start", reading, name=name)
            case Retrying(why=why, pause=pause):
                return self._line("retry", self._read(snapshot, now), message=why, pause=round(pause, 1))
            case _:
                return ""

    def look(self, snapshot: Snapshot, now: float) -> str:
        return self._line("progress", self._read(snapshot, now)) if self._started else ""

    def done(self, snapshot: Snapshot, now: float) -> str:
        average = self._average(snapshot, now)
        present, size, connections = snapshot.bytes_present, snapshot.size, snapshot.connections
        return self._line("done", Reading(present, size, connections, average, 0.0))

    def failed(self, error: BaseException, snapshot: Snapshot, now: float) -> str:
        code = getattr(error, "exit_code", 130 if isinstance(error, KeyboardInterrupt) else 1)
        message = str(error) or type(error).__name__
        return self._line("error", self._read(snapshot, now), exit_code=code, message=message)

    def _line(self, event: str, reading: Reading, **more: str | float) -> str:
        fields = {
            "event": event,
            "bytes_present": reading.bytes_present,
            "size": reading.size,
            "speed": None if reading.speed is None else round(reading.speed),
            "eta": None if reading.seconds_left is None else round(reading.seconds_left, 1),
            "connections": reading.connections,
        }
        return json.dumps(fields | more) + "\n"
