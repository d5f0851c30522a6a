"""SIGINT, SIGTERM and SIGHUP: the first unwinds the command, which keeps its progress; a second ends it at once."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked to stop. Not an Exception: nothing may take it for a failure to be mended."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        return 128 + self.number


@contextlib.contextmanager
def catch_signals() -> Iterator[None]:
    """Raise `Interrupted` in the main thread at the first signal. One that was ignored at the start stays ignored."""
    seen = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        if seen:
            os._exit(128 + number)
        seen = True
        raise Interrupted(number)

    before = {}
    for number in HANDLED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        if not seen:
            for number, handler in before.items():
                signal.signal(number, handler)
