"""SIGINT, SIGTERM and SIGHUP: the first unwinds the command, which keeps its progress; a second ends it at once.

Python runs a handler in the main thread, and only after a system call there returns: a sync that takes minutes would
delay it. So a second thread is told of every signal, and ends the process if the command has not ended in time. The
last checkpoint then holds.
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

# End the process this long after a signal, whatever it is doing. People expect a Ctrl-C to work within a second; the
# rest is for the interpreter to leave.
_SHUTDOWN_SECONDS = 0.9
# Send a signal again after this: by then the destructor that swallowed it has returned.
_RERAISE_SECONDS = 0.01


class Interrupted(BaseException):
    """A signal asked to stop. Not an Exception, so that no retry treats it as a failure."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        return 128 + self.number


@contextlib.contextmanager
def catch_signals() -> Iterator[None]:
    """Raise `Interrupted` in the main thread at the first signal. A signal that was ignored before stays ignored."""
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
        # It was raised in a destructor or an import callback, which swallow exceptions: send the signal again.
        seen = False
        again = threading.Timer(_RERAISE_SECONDS, os.kill, (os.getpid(), unraised.exc_value.number))
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
    """End the process `_SHUTDOWN_SECONDS` after one of *heard*, unless it has left this context by then."""
    left = threading.Event()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def watch() -> None:
        while numbers := os.read(reading, 64):
            for number in numbers:
                if number in heard and not left.wait(_SHUTDOWN_SECONDS):
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
