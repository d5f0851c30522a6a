"""Checkpointer: makes progress durable every second or 64 MiB, apart from the threads that fetch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ..errors import SmartRemoteError
from ..threads import start
from .state import EVERY_BYTES, State

EVERY_SECONDS = 1.0


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
        """Make the last checkpoint, in so many *seconds*; one that takes longer is abandoned, and the record stands."""
        with self._state.cond:
            self._ending = True
            self._state.saving.notify_all()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        state = self._state
        last = time.monotonic()
        while True:
            with state.cond:
                while not self._ending and not self._is_due(last):
                    state.saving.wait(EVERY_SECONDS if state.dirty else None)
                ending = self._ending
                dirty, state.dirty = state.dirty, 0
                touched = state.touched
                draft = state.draft_record()
            try:
                if dirty or (ending and touched):  # the last record is to fit the file as it is left
                    state.copy.checkpoint(draft)
            except SmartRemoteError as error:
                self._fail(error)
                return
            except Exception as error:  # a defect: it must not end the saving in silence
                failure = SmartRemoteError("a defect of smartremote", f"{type(error).__name__}: {error}")
                failure.__cause__ = error
                self._fail(failure)
                return
            last = time.monotonic()
            if ending:
                return

    def _is_due(self, last: float) -> bool:
        dirty = self._state.dirty
        return dirty >= EVERY_BYTES or (dirty > 0 and time.monotonic() - last >= EVERY_SECONDS)
