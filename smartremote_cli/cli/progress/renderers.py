"""Renderers without a terminal: log lines for people, JSON lines for programs; and what all renderers share.

Pure: events, snapshots and times in, the text to write out; no clock, no stream.
"""

from __future__ import annotations

import json

from ...core.sizes import duration_text, size_text, speed_text
from ...core.text import printable
from ...events import Checked, Event, Notice, Retrying, Snapshot, Started
from .lines import Figures, Pace, amounts, retry_text


class Renderer:
    """One way to show a transfer: each call returns the text to write now, often none.

    *now* never goes back. `tick` is called every `interval` seconds, for the first time after `delay` seconds.
    """

    delay = interval = 1.0  # a line that is due waits at most this long

    def __init__(self, name: str, verb: str, verbose: bool, now: float) -> None:
        self._name = printable(name)
        self._verb = verb
        self._verbose = verbose
        self._begun = now
        self._started: Started | None = None
        self._held_before: int | None = None
        self._checked: Checked | None = None
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
            case Checked():
                self._checked = event
                return ""

    def tick(self, snapshot: Snapshot, now: float) -> str:
        return ""

    def done(self, snapshot: Snapshot, now: float) -> str:
        return f"smartremote: {self._name}: {self._summary(snapshot, now)}\n"

    def failed(self, error: BaseException, snapshot: Snapshot, now: float) -> str:
        """Say where the transfer stopped; the caller prints the error itself."""
        if not self._gained(snapshot):
            return ""
        return f"smartremote: {self._name}: stopped at {amounts(self._read(snapshot, now), ' of ')}\n"

    def clear(self) -> str:
        """Remove what is drawn, before another line is printed or at the end."""
        return ""

    def _retrying(self, event: Retrying, now: float) -> str:
        return f"smartremote: {self._name}: {retry_text(event, event.pause)}\n"

    def _read(self, snapshot: Snapshot, now: float) -> Figures:
        self._pace.add(now, snapshot.bytes_present)
        size = snapshot.size
        left = None if size is None else self._pace.seconds_left(size - snapshot.bytes_present)
        return Figures(snapshot.bytes_present, size, snapshot.connections, self._pace.speed, left)

    def _gained(self, snapshot: Snapshot) -> int:
        return max(0, snapshot.bytes_present - (self._held_before or 0))

    def _average(self, snapshot: Snapshot, now: float) -> float:
        return self._gained(snapshot) / max(now - self._begun, 0.001)

    def _summary(self, snapshot: Snapshot, now: float) -> str:
        gained, all_in_all = self._gained(snapshot), size_text(snapshot.bytes_present)
        if not self._started or not gained:
            return f"complete, {all_in_all}" + (f" ({self._checked.text})" if self._checked else "")
        took, speed = duration_text(now - self._begun), speed_text(self._average(snapshot, now))
        text = f"{self._verb} {size_text(gained)} in {took} ({speed})"
        return text if gained == snapshot.bytes_present else f"{text}, {all_in_all} in all"


class PlainRenderer(Renderer):
    """Log lines at growing intervals: frequent in a short run, and few enough in a long one to keep its log readable.

    Travis CI, for one, kills a job that prints nothing for 10 minutes; the interval stops growing at half of that.
    """

    # Seconds between two lines. Growing by a fifth, an hour takes about 27 lines and a day about 300.
    FIRST_INTERVAL, GROWTH, MAX_INTERVAL = 5.0, 1.2, 300.0
    RETRY_INTERVAL = 10.0  # seconds: connections that fail together are reported once

    def __init__(self, name: str, verb: str, verbose: bool, now: float) -> None:
        super().__init__(name, verb, verbose, now)
        self._line_interval = self.FIRST_INTERVAL
        self._line_due = now + self._line_interval
        self._retry_due = now

    def tick(self, snapshot: Snapshot, now: float) -> str:
        figures = self._read(snapshot, now)
        if now < self._line_due:
            return ""
        self._line_interval = min(self._line_interval * self.GROWTH, self.MAX_INTERVAL)
        self._line_due = now + self._line_interval
        if not self._started and not figures.bytes_present:
            return f"smartremote: {self._name}: waiting for the server\n"
        percent = None if figures.percent is None else f"{figures.percent}%"
        speed = None if figures.speed is None else speed_text(figures.speed)
        parts = (percent, amounts(figures, " of "), speed, figures.time_left)
        return f"smartremote: {self._name}: {', '.join(part for part in parts if part)}\n"

    def _retrying(self, event: Retrying, now: float) -> str:
        if now < self._retry_due and not self._verbose:
            return ""
        self._retry_due = now + self.RETRY_INTERVAL
        return super()._retrying(event, now)


class JsonRenderer(Renderer):
    """One JSON object a line, for programs. Every object has every field; unknown is null."""

    delay, interval = 0.2, 0.5  # seconds: often enough for a progress bar that is drawn from it

    def event(self, event: Event, snapshot: Snapshot, now: float) -> str:
        super().event(event, snapshot, now)
        match event:
            case Started(name=name, size=size, bytes_present=present):
                figures = Figures(present, size, snapshot.connections, None, None)
                return self._line("start", figures, name=name)
            case Retrying(why=why, pause=pause):
                return self._line("retry", self._read(snapshot, now), message=why, pause=round(pause, 1))
            case _:
                return ""

    def tick(self, snapshot: Snapshot, now: float) -> str:
        return self._line("progress", self._read(snapshot, now)) if self._started else ""

    def done(self, snapshot: Snapshot, now: float) -> str:
        average = self._average(snapshot, now)
        present, size, connections = snapshot.bytes_present, snapshot.size, snapshot.connections
        checked = "none" if self._checked is None else self._checked.how
        return self._line("done", Figures(present, size, connections, average, 0.0), checked=checked)

    def failed(self, error: BaseException, snapshot: Snapshot, now: float) -> str:
        code = getattr(error, "exit_code", 130 if isinstance(error, KeyboardInterrupt) else 1)
        message = str(error) or type(error).__name__
        return self._line("error", self._read(snapshot, now), exit_code=code, message=message)

    def _line(self, event: str, figures: Figures, **more: str | float) -> str:
        fields = {
            "event": event,
            "bytes_present": figures.bytes_present,
            "size": figures.size,
            "speed": None if figures.speed is None else round(figures.speed),
            "eta": None if figures.seconds_left is None else round(figures.seconds_left, 1),
            "connections": figures.connections,
        }
        return json.dumps(fields | more) + "\n"
