"""Checkpointer: makes progress durable every second or 64 MiB, apart from the threads that fetch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ..errors import SmartRemoteError, bug
from ..threads import start
from .state import State
from .unsaved import INTERVAL_SECONDS


class Checkpointer:
    """A thread that saves the record of one transfer, and once more when the transfer stops."""

    def __init__(self, state: State, fail: Callable[[SmartRemoteError], None]) -> None:
        self._state = state
        self._fail = fail
        self._ending = False  # guarded as the state is
        self._thread = threading.Thread(target=self._run, name="smartremote-checkpoint", daemon=True)

    def start(self) -> bool:
        """Begin; False when the system allows no more threads."""
        return start(self._thread)

    def finish(self, seconds: float) -> None:
        """Make the last checkpoint. One that takes longer than *seconds* is abandoned, and the old record stands."""
        with self._state.cond:
            self._ending = True
            self._state.unsaved.changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        state, unsaved = self._state, self._state.unsaved
        last = time.monotonic()
        while True:
            with state.cond:
                while not self._ending and not unsaved.is_due(time.monotonic() - last):
                    unsaved.changed.wait(INTERVAL_SECONDS if unsaved.count else None)
                ending = self._ending
                count, was_written = unsaved.take()
                draft = state.draft_record()
            try:
                if count or (ending and was_written):  # the last record is to fit the file as it is left
                    state.copy.checkpoint(draft)
            except SmartRemoteError as error:
                self._fail(error)
                return
            except Exception as error:  # a bug: it must not end the saving in silence
                self._fail(bug(error))
                return
            last = time.monotonic()
            if ending:
                return
