"""SIGINT, SIGTERM and SIGHUP: the first unwinds the command, which keeps its progress; a second ends it at once.

Python runs a handler in the main thread, once the system call that this thread may be in is over: a sync that
takes minutes would hold it up. So a thread of its own hears of every signal, and ends the process when that has
not happened by itself in time. What was recorded last then stands.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from ..threads import start

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# After so many seconds the process ends, whatever it is doing. The contract says a second.
GRACE = 0.9
_SOON = 0.01


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

    def unraisable(unraised: sys.UnraisableHookArgs) -> None:
        nonlocal seen
        if not isinstance(unraised.exc_value, Interrupted):
            hook(unraised)
            return
        # It came inside a destructor, or a callback of the import system, which pass nothing on: once more, later.
        seen = False
        again = threading.Timer(_SOON, os.kill, (os.getpid(), unraised.exc_value.number))
        again.daemon = True
        start(again)

    heard = [number for number in HANDLED if signal.getsignal(number) is not signal.SIG_IGN]
    with _end_in_time(heard):
        before = {number: signal.signal(number, handle) for number in heard}
        hook, sys.unraisablehook = sys.unraisablehook, unraisable
        try:
            yield
        finally:
            sys.unraisablehook = hook
            if not seen:
                for number, handler in before.items():
                    signal.signal(number, handler)


@contextlib.contextmanager
def _end_in_time(heard: list[signal.Signals]) -> Iterator[None]:
    """End the process `GRACE` seconds after one of *heard*, unless it has left this context by then."""
    left = threading.Event()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def watch() -> None:
        while numbers := os.read(reading, 64):
            for number in numbers:
                if number in heard and not left.wait(GRACE):
                    os._exit(128 + number)
        os.close(reading)

    watches = start(threading.Thread(target=watch, name="smartremote-signals", daemon=True))
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(before)
        os.close(writing)
        if not watches:
            os.close(reading)
