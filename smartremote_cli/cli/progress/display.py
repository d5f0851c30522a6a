"""Progress on stderr: when it is shown, and where.

A daemon thread does all the drawing. Engine threads only leave it word, so that a terminal that takes nothing
(Ctrl-S, a full pipe) slows no transfer; and the way out waits half a second for it at most.

The bar never moves the cursor above the row where it finds it: it draws its rows, then goes back to the start
of the first. So nothing that was there before is ever overwritten, not after Ctrl-Z and fg, not when a
narrower window folds the rows. The cursor is never hidden, so that nothing need be restored after kill -9.
"""

from __future__ import annotations

import math
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from ...core.sizes import speed_text
from ...events import Event, Retrying, Snapshot
from ...threads import start
from .lines import Face, JsonFace, PlainFace, Reading, amounts, fitting, resampled, retry_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Room = Callable[[], tuple[int, int] | None]  # columns and rows; None while nothing may be drawn

MODES = ("auto", "bar", "plain", "json", "none")
PARTING = 0.5  # how long the way out waits for a last line to be taken


class Progress:
    """The progress of one transfer, and the listener of its events. This one shows nothing.

    Leaving the context by an exception tells `failed`; leaving it without a word takes the display away.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __call__(self, event: Event) -> None:
        pass

    def done(self) -> None:
        """Say that the transfer is whole."""

    def failed(self, error: BaseException) -> None:
        """Say where the transfer stopped. The error itself is not printed, save as a JSON event."""


class ShownProgress(Progress):
    """A face, and the thread that shows it."""

    def __init__(
        self, face: Face, out: Output, watch: Callable[[], Snapshot], clock: Callable[[], float]
    ) -> None:
        self._face = face  # touched by the drawing thread only
        self._out = out
        self._watch = watch
        self._clock = clock
        self._over = False
        self._inbox: SimpleQueue[Callable[[], str] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._draw, name="smartremote-display", daemon=True)

    def __enter__(self) -> Self:
        self._draws = start(self._thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A broken pipe is the reader's way to say "enough" (`| head`): no failure.
        if error is not None and not isinstance(error, (BrokenPipeError, SystemExit)):
            self.failed(error)
        self._inbox.put(None)
        if self._draws:
            self._thread.join(PARTING)

    def __call__(self, event: Event) -> None:
        now = self._clock()
        self._inbox.put(lambda: self._face.event(event, self._watch(), now))

    def done(self) -> None:
        self._finish(lambda snapshot, now: self._face.done(snapshot, now))

    def failed(self, error: BaseException) -> None:
        self._finish(lambda snapshot, now: self._face.failed(error, snapshot, now))

    def _finish(self, last_words: Callable[[Snapshot, float], str]) -> None:
        if not self._over:
            self._over = True
            snapshot, now = self._watch(), self._clock()
            self._inbox.put(lambda: last_words(snapshot, now))

    def _draw(self) -> None:
        try:
            self._draw_until_told()
        except Exception:  # a defect of the picture must not cost the download, nor show a traceback
            import logging

            logging.getLogger("smartremote").debug("the progress display failed", exc_info=True)

    def _draw_until_told(self) -> None:
        due = self._clock() + self._face.delay
        while not self._out.gone:
            try:
                word = self._inbox.get(timeout=max(0.0, due - self._clock()))
            except Empty:
                now = self._clock()
                due = now + self._face.gap
                self._out.write(self._face.look(self._watch(), now))
                continue
            self._out.write(self._face.leave() if word is None else word())
            if word is None:
                return


class Output:
    """A stream such as stderr, written to past its buffer: a thread stuck in there would hold up the exit.

    Nothing is ever raised: what is closed, hung up or broken is `gone`, and takes no more.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._fd = -1  # none: a stream in memory
        self.gone = stream is None or stream.closed  # `2>&-` leaves None
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        if stream is not None and not self.gone:
            with suppress(OSError, ValueError):
                self._fd = stream.fileno()

    @property
    def is_terminal(self) -> bool:
        return self._fd >= 0 and os.isatty(self._fd)

    def room(self) -> tuple[int, int] | None:
        """Return the terminal's columns and rows; None while it is another job's."""
        with suppress(OSError):  # not the terminal that controls this process: no jobs take turns
            if os.tcgetpgrp(self._fd) != os.getpgrp():
                return None
        columns = rows = 0
        with suppress(OSError):
            columns, rows = os.get_terminal_size(self._fd)  # not COLUMNS: exported, it freezes the width
        return columns or 80, rows or 24

    def write(self, text: str) -> None:
        if not text or self.gone:
            return
        try:
            if self._stream is not None and self._fd < 0:
                self._stream.write(text)
                self._stream.flush()
            else:
                self._write_all(text.encode(self.encoding, "replace"))
        except (OSError, ValueError):
            self.gone = True

    def _write_all(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # whoever shares the descriptor may have made it non-blocking
                select.select([], [self._fd], [])


class BarFace(Face):
    """Three rows at most, redrawn in place: what and how fast, which blocks are held, what is waited for."""

    delay, gap = 0.15, 0.2  # a download that is over sooner does not flash

    # Nothing, less than half, more than half, all. The colours are legible on white, black and Solarized.
    GLYPHS, ASCII_GLYPHS = "░▒▓█", ".-=#"
    COLOURS = ("color(244)", "color(166)", "color(166)", "color(32)")

    def __init__(self, name: str, verb: str, verbose: bool, now: float, room: Room, encoding: str) -> None:
        super().__init__(name, verb, verbose, now)
        self._room = room
        self._console: Console | None = None
        self._picture = ""  # what is on the screen, from the cursor on
        self._retry: tuple[Retrying, float, int] | None = None  # with its time, and the bytes present then
        self._glyphs = self.GLYPHS
        try:
            self.GLYPHS.encode(encoding)
        except (UnicodeEncodeError, LookupError):
            self._glyphs = self.ASCII_GLYPHS

    def event(self, event: Event, snapshot: Snapshot, now: float) -> str:
        if isinstance(event, Retrying):
            self._retry = event, now, snapshot.bytes_present
        return self._above(super().event(event, snapshot, now))

    def look(self, snapshot: Snapshot, now: float) -> str:
        reading = self._read(snapshot, now)
        room = self._room()
        if room is None:
            self._picture = ""
            return ""
        columns, rows = room
        width = max(columns - 1, 1)  # a full row makes some terminals wrap
        self._picture = self._in_place(self._lines(reading, snapshot.cells, now, width)[: max(rows - 1, 1)])
        return self._picture

    def done(self, snapshot: Snapshot, now: float) -> str:
        return self.leave() + super().done(snapshot, now)

    def failed(self, error: BaseException, snapshot: Snapshot, now: float) -> str:
        return self.leave() + super().failed(error, snapshot, now)

    def leave(self) -> str:
        shown, self._picture = self._picture, ""
        return "\r\x1b[J" if shown and self._room() else ""

    def _retrying(self, event: Retrying, now: float) -> str:
        return super()._retrying(event, now) if self._verbose else ""

    def _above(self, text: str) -> str:
        """Return *text* printed where the picture is, and the picture below it."""
        if not text or not self._picture or not self._room():
            return text
        return f"\r\x1b[J{text}{self._picture}"

    def _lines(self, reading: Reading, cells: tuple[float, ...], now: float, width: int) -> list[Text]:
        from rich.text import Text

        heard = self._started or reading.bytes_present
        fields = self._fields(reading) if heard else [(0, "connecting")]
        texts = fitting(fields, width - min(len(self._name), 12))
        name = Text(self._name, style="bold")
        name.truncate(max(width - sum(2 + len(text) for text in texts), 0), overflow="ellipsis")
        lines = [Text("  ").join([name, *map(Text, texts)] if name else map(Text, texts))]
        if reading.size:
            lines.append(self._map(cells or self._one_bar(reading, width), width))
        if self._retry and reading.bytes_present <= self._retry[2]:  # others may go on meanwhile
            event, since, _ = self._retry
            lines.append(Text(retry_text(event, max(0.0, since + event.pause - now))))
        else:
            self._retry = None
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        return lines

    def _fields(self, reading: Reading) -> list[tuple[int, str]]:
        """Return what is known, each with the order in which it gives way where there is little room."""
        percent = "" if reading.percent is None else f"{reading.percent:3d}%"
        speed = "" if reading.speed is None else f"{speed_text(reading.speed):>10}"
        total = (0 if reading.size is None else 11) + 8
        fields = [
            (0, percent),
            (3 if percent else 1, f"{amounts(reading):>{total}}"),
            (2 if percent else 3, speed),
            (4, f"{reading.connections} conn" if reading.connections else ""),
            (1, reading.time_left or ""),
        ]
        return [(rank, text) for rank, text in fields if text]

    @staticmethod
    def _one_bar(reading: Reading, width: int) -> list[float]:
        assert reading.size
        edge = width * reading.bytes_present / reading.size
        return [min(max(edge - cell, 0.0), 1.0) for cell in range(width)]

    def _map(self, cells: Sequence[float], width: int) -> Text:
        from rich.text import Text

        drawn = Text()
        levels = (3 if cell >= 1 else math.ceil(cell * 2) for cell in resampled(cells, width))
        for level, run in groupby(levels):
            drawn.append(self._glyphs[level] * len(list(run)), style=self.COLOURS[level])
        return drawn

    def _in_place(self, lines: list[Text]) -> str:
        """Return *lines* drawn from the cursor's row on; the cursor ends where they start."""
        from rich.console import Console  # here: a download shorter than the delay never pays for it

        # Rich knows styles, NO_COLOR and how many colours there are; it never writes itself.
        self._console = self._console or Console(stderr=True)
        with self._console.capture() as drawn:
            self._console.print(*lines, sep="\n", soft_wrap=True, end="")
        rows = drawn.get().split("\n")
        back = f"\x1b[{len(rows) - 1}A" if len(rows) > 1 else ""
        # Within this one write rows are cut rather than wrapped: tmux tells a new width 0.25 s late.
        return "\x1b[?7l\r" + "\x1b[K\r\n".join(rows) + f"\x1b[J{back}\r\x1b[?7h"


def make_progress(
    mode: str,
    *,
    quiet: bool,
    verbose: bool,
    watch: Callable[[], Snapshot],
    name: str,
    verb: str = "downloaded",
    clock: Callable[[], float] = time.monotonic,
) -> Progress:
    """Return the display that *mode*, one of `MODES`, asks for.

    `auto` is a bar on a terminal that can move its cursor, else plain lines. `bar` overrules a TERM of
    `dumb`, but neither that nor FORCE_COLOR animates a file. *watch* is called about five times a second,
    from the drawing thread; *verb* is what the last line says was done with the bytes.
    """
    if mode not in MODES:
        raise ValueError(f"{mode!r} is not one of {', '.join(MODES)}")
    out = Output(sys.stderr)
    if quiet or mode == "none" or out.gone:
        return Progress()
    now = clock()
    face: Face
    if mode == "json":
        face = JsonFace(name, verb, verbose, now)
    elif out.is_terminal and (mode == "bar" or (mode == "auto" and os.environ.get("TERM", "dumb") != "dumb")):
        face = BarFace(name, verb, verbose, now, out.room, out.encoding)
    else:
        face = PlainFace(name, verb, verbose, now)
    return ShownProgress(face, out, watch, clock)
