"""Progress on stderr: which renderer shows it, and the thread that draws.

A daemon thread does all the drawing. Engine threads only put events into its queue, so a terminal that accepts no
output (Ctrl-S, a full pipe) slows no transfer, and the exit waits at most `SHUTDOWN_SECONDS` for the last line.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from ...core.text import printable
from ...events import Event, Notice, Snapshot
from ...threads import start
from .bar import BarRenderer
from .renderers import JsonRenderer, PlainRenderer, Renderer
from .terminal import StderrWriter

MODES = ("auto", "bar", "plain", "json", "none")

# Wait this long, in seconds, for the last line to be written. An interrupted run has to end within a second, and
# saving its progress comes first; a pipe or terminal that accepts output takes a line in milliseconds.
SHUTDOWN_SECONDS = 0.5


class Progress:
    """The progress of one transfer, and the listener of its events. This class shows nothing.

    An exception that leaves the context calls `failed`; leaving it after neither `done` nor `failed` clears the
    display.
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
        """Say where the transfer stopped. Only the JSON event holds the error itself."""


class Warnings(Progress):
    """No progress, but what a person should hear of all the same; with *serious*, only trouble on this machine."""

    def __init__(self, out: StderrWriter, *, serious: bool = False) -> None:
        self._out = out
        self._serious = serious

    def __call__(self, event: Event) -> None:
        if isinstance(event, Notice) and (event.warning if self._serious else not event.detail):
            self._out.write(f"smartremote: {printable(event.text)}\n")


class ShownProgress(Progress):
    """A renderer, and the thread that writes what it returns."""

    def __init__(
        self, renderer: Renderer, out: StderrWriter, watch: Callable[[], Snapshot], clock: Callable[[], float]
    ) -> None:
        self._renderer = renderer  # used by the drawing thread only
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
        # `| head` closes the pipe when it has enough: that is not a failure.
        if error is not None and not isinstance(error, (BrokenPipeError, SystemExit)):
            self.failed(error)
        self._inbox.put(None)
        if self._draws:
            self._thread.join(SHUTDOWN_SECONDS)

    def __call__(self, event: Event) -> None:
        now = self._clock()
        self._inbox.put(lambda: self._renderer.event(event, self._watch(), now))

    def done(self) -> None:
        self._finish(lambda snapshot, now: self._renderer.done(snapshot, now))

    def failed(self, error: BaseException) -> None:
        self._finish(lambda snapshot, now: self._renderer.failed(error, snapshot, now))

    def _finish(self, render: Callable[[Snapshot, float], str]) -> None:
        if not self._over:
            self._over = True
            snapshot, now = self._watch(), self._clock()
            self._inbox.put(lambda: render(snapshot, now))

    def _draw(self) -> None:
        try:
            self._draw_until_closed()
        except Exception:  # a bug in the display must neither end the download nor show a traceback
            import logging

            logging.getLogger("smartremote").debug("the progress display failed", exc_info=True)

    def _draw_until_closed(self) -> None:
        due = self._clock() + self._renderer.delay
        while not self._out.gone:
            try:
                render = self._inbox.get(timeout=max(0.0, due - self._clock()))
            except Empty:
                now = self._clock()
                due = now + self._renderer.interval
                self._out.write(self._renderer.tick(self._watch(), now))
                continue
            self._out.write(self._renderer.clear() if render is None else render())
            if render is None:
                return


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
    """Return the display for *mode*, one of `MODES`, or `warnings` for a command that shows nothing else.

    `auto` is a bar on a terminal that can move its cursor, else plain lines. `bar` draws even where TERM is `dumb`;
    neither it nor FORCE_COLOR draws a bar into a file. The drawing thread calls *watch* about five times a second.
    *verb* is what the last line says was done with the bytes.
    """
    if mode not in (*MODES, "warnings"):
        raise ValueError(f"{mode!r} is not one of {', '.join(MODES)}")
    out = StderrWriter(sys.stderr)
    if quiet or out.gone:
        return Progress()
    if mode in ("none", "warnings"):
        return Warnings(out, serious=mode == "none")
    now = clock()
    renderer: Renderer
    if mode == "json":
        renderer = JsonRenderer(name, verb, verbose, now)
    elif out.is_terminal and (mode == "bar" or (mode == "auto" and os.environ.get("TERM", "dumb") != "dumb")):
        renderer = BarRenderer(name, verb, verbose, now, out.room, out.encoding)
    else:
        renderer = PlainRenderer(name, verb, verbose, now)
    return ShownProgress(renderer, out, watch, clock)
