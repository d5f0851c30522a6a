"""Reaper: closes what was forgotten without being closed, in a thread of its own.

The garbage collector runs in any thread, at any line, also at one that holds a lock of the engine. So `__del__` takes
no lock and does no I/O: it only puts the closing into a queue whose `put` may interrupt itself
(`queue.SimpleQueue.put` is reentrant, unlike that of `queue.Queue`).
"""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import weakref
from collections.abc import Callable

from ..errors import SmartRemoteError
from ..threads import start

# How long a program that ends waits for forgotten files to be closed. By judgement: as long as for the filler, enough
# for a sync on a slow disk.
EXIT_TIMEOUT_SECONDS = 5.0

log = logging.getLogger("smartremote")

_reapers: weakref.WeakSet[Reaper] = weakref.WeakSet()


class Reaper:
    """A thread that does what it is handed, in order, from `start` on until `stop`."""

    def __init__(self, kept: tuple[object, ...] = ()) -> None:
        """Keep what closing needs, *kept*, alive while the thread runs.

        Else the collector would end a part of it, a socket, before the whole that it belongs to.
        """
        self._kept = kept
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()  # None: the end
        self._lock = threading.Lock()  # guards _thread and _stopped; `hand_over` does not take it
        self._thread: threading.Thread | None = None
        self._stopped = False
        _reapers.add(self)

    def hand_over(self, work: Callable[[], None]) -> None:
        """Have *work* done soon. The collector may call it anywhere: it takes no lock and starts no thread."""
        self._orders.put(work)

    def start(self) -> None:
        """Begin, unless that was done. Where the system allows no thread, the next `start` tries again."""
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None and not self._stopped:
                work = (self._orders, self._kept)
                thread = threading.Thread(target=_serve, args=work, name="smartremote-reaper", daemon=True)
                self._thread = thread if start(thread) else None

    def stop(self, seconds: float = 0.0) -> None:
        """Do what is left, and end; wait up to *seconds* for that."""
        with self._lock:
            self._stopped = True
            thread = self._thread
        self._orders.put(None)
        if thread is None:
            _serve(self._orders)
        elif thread is not threading.current_thread() and seconds:
            thread.join(seconds)


def _serve(orders: queue.SimpleQueue[Callable[[], None] | None], kept: tuple[object, ...] = ()) -> None:
    work: Callable[[], None] | None
    while (work := orders.get()) is not None:
        try:
            work()
        except (OSError, SmartRemoteError) as error:  # no caller is left to hear of it
            log.info("a forgotten file: %s", error)
        except Exception:  # a bug: the next ones are closed all the same
            log.exception("smartremote: a bug while closing a forgotten file")
        del work  # or what it closed could not be collected while this thread waits


@atexit.register
def _finish() -> None:
    """Close what was forgotten just before the program ends."""
    for reaper in list(_reapers):
        reaper.stop(EXIT_TIMEOUT_SECONDS)
