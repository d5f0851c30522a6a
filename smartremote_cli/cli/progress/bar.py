"""The bar on a terminal: a line of numbers, the map of the blocks, and the reason for a pause.

The bar never moves the cursor above the row where it finds it: it draws its rows, then goes back to the start of the
first. So it never overwrites what was there before, neither after Ctrl-Z and fg nor when a narrower window folds the
rows. It never hides the cursor, so that a process that is killed leaves nothing to restore.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ...core.sizes import speed_text
from ...events import Event, Retrying, Snapshot
from .lines import Figures, amounts, fitting, resampled, retry_text
from .renderers import Renderer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Room = Callable[[], tuple[int, int] | None]  # columns and rows; None while nothing may be drawn


class BarRenderer(Renderer):
    """Three rows at most, redrawn in place: name and numbers, the map of held blocks, the reason for a pause."""

    delay = 0.15  # seconds: a shorter download shows no bar, which would only flash
    interval = 0.2  # seconds: five drawings a second look steady; Rich itself draws ten

    # For a cell with nothing, up to half, more than half, all. Of the 256 fixed colours, these have a contrast of
    # at least 3.5 on white, black and both Solarized backgrounds, and stay apart for the colour-blind.
    GLYPHS, ASCII_GLYPHS = "░▒▓█", ".-=#"
    COLOURS = ("color(244)", "color(166)", "color(166)", "color(32)")

    def __init__(self, name: str, verb: str, verbose: bool, now: float, room: Room, encoding: str) -> None:
        super().__init__(name, verb, verbose, now)
        self._room = room
        self._console: Console | None = None
        self._picture = ""  # what is drawn on the screen, below the cursor
        self._retry: tuple[Retrying, float, int] | None = None  # when it came, and the bytes present then
        self._glyphs = self.GLYPHS
        try:
            self.GLYPHS.encode(encoding)
        except (UnicodeEncodeError, LookupError):
            self._glyphs = self.ASCII_GLYPHS

    def event(self, event: Event, snapshot: Snapshot, now: float) -> str:
        if isinstance(event, Retrying):
            self._retry = event, now, snapshot.bytes_present
        return self._above(super().event(event, snapshot, now))

    def tick(self, snapshot: Snapshot, now: float) -> str:
        figures = self._read(snapshot, now)
        room = self._room()
        if room is None:
            self._picture = ""
            return ""
        columns, rows = room
        width = max(columns - 1, 1)  # a full row makes some terminals wrap
        self._picture = self._in_place(self._lines(figures, snapshot.cells, now, width)[: max(rows - 1, 1)])
        return self._picture

    def done(self, snapshot: Snapshot, now: float) -> str:
        return self.clear() + super().done(snapshot, now)

    def failed(self, error: BaseException, snapshot: Snapshot, now: float) -> str:
        return self.clear() + super().failed(error, snapshot, now)

    def clear(self) -> str:
        shown, self._picture = self._picture, ""
        return "\r\x1b[J" if shown and self._room() else ""

    def _retrying(self, event: Retrying, now: float) -> str:
        return super()._retrying(event, now) if self._verbose else ""

    def _above(self, text: str) -> str:
        """Return *text* printed in place of the picture, and the picture again below it."""
        if not text or not self._picture or not self._room():
            return text
        return f"\r\x1b[J{text}{self._picture}"

    def _lines(self, figures: Figures, cells: tuple[float, ...], now: float, width: int) -> list[Text]:
        from rich.cells import cell_len
        from rich.text import Text

        heard = self._started or figures.bytes_present
        fields = self._fields(figures) if heard else [(0, "connecting")]
        texts = fitting(fields, width - min(cell_len(self._name), 12))
        name = Text(self._name, style="bold")
        name.truncate(max(width - sum(2 + len(text) for text in texts), 0), overflow="ellipsis")
        lines = [Text("  ").join([name, *map(Text, texts)] if name else map(Text, texts))]
        if figures.size:
            lines.append(self._map(cells or self._one_bar(figures, width), width))
        if self._retry and figures.bytes_present <= self._retry[2]:
            # No other connection has brought bytes since.
            event, since, _ = self._retry
            lines.append(Text(retry_text(event, max(0.0, since + event.pause - now))))
        else:
            self._retry = None
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        return lines

    def _fields(self, figures: Figures) -> list[tuple[int, str]]:
        """Return the numbers that are known, each with its rank: the highest gives way first where room is short."""
        percent = "" if figures.percent is None else f"{figures.percent:3d}%"
        speed = "" if figures.speed is None else f"{speed_text(figures.speed):>10}"
        total = (0 if figures.size is None else 11) + 8
        fields = [
            (0, percent),
            (3 if percent else 1, f"{amounts(figures):>{total}}"),
            (2 if percent else 3, speed),
            (4, f"{figures.connections} conn" if figures.connections else ""),
            (1, figures.time_left or ""),
        ]
        return [(rank, text) for rank, text in fields if text]

    @staticmethod
    def _one_bar(figures: Figures, width: int) -> list[float]:
        assert figures.size
        edge = width * figures.bytes_present / figures.size
        return [min(max(edge - cell, 0.0), 1.0) for cell in range(width)]

    def _map(self, cells: Sequence[float], width: int) -> Text:
        from rich.text import Text

        drawn = Text()
        levels = (3 if cell >= 1 else math.ceil(cell * 2) for cell in resampled(cells, width))
        for level, run in groupby(levels):
            drawn.append(self._glyphs[level] * len(list(run)), style=self.COLOURS[level])
        return drawn

    def _in_place(self, lines: list[Text]) -> str:
        """Return *lines* drawn from the cursor's row down, and the cursor moved back to their start."""
        from rich.console import Console  # here: a download shorter than the delay need not load it

        # Rich knows styles, NO_COLOR and the number of colours; it only renders, and never writes.
        self._console = self._console or Console(stderr=True)
        with self._console.capture() as drawn:
            self._console.print(*lines, sep="\n", soft_wrap=True, end="")
        rows = drawn.get().split("\n")
        back = f"\x1b[{len(rows) - 1}A" if len(rows) > 1 else ""
        # For this one write, have rows cut rather than wrapped: tmux reports a new width 0.25 s late.
        return "\x1b[?7l\r" + "\x1b[K\r\n".join(rows) + f"\x1b[J{back}\r\x1b[?7h"
