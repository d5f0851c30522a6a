"""Position: where a `RemoteFile` reads on, shared by all threads that read it.

A read *reserves* its bytes: the position moves at once, and the bytes are fetched afterwards, without the lock. So no
seek of another thread waits for the network, or lands between a read and the seek before it. What a read turns out
not to get (the end comes first, or an error) it gives back, unless another thread has moved the position meanwhile.
"""

from __future__ import annotations

import os
import threading
from typing import NamedTuple


class Reservation(NamedTuple):
    """The bytes [start, stop) are one reader's; *seeks* tells whether the position was set since."""

    start: int
    stop: int
    seeks: int


class Position:
    """Thread-safe; the lock is held for a few lines and never over I/O."""

    def __init__(self) -> None:
        self._at = 0
        self._floor = 0  # where the last seek went: reads that meet the end do not move back past it
        self._seeks = 0
        self.after_fork_in_child()

    def after_fork_in_child(self) -> None:
        """Go on in a child process: the lock may be held by a thread that is not here."""
        self._lock = threading.Lock()  # guards all fields

    def tell(self) -> int:
        return self._at

    def seek(self, distance: int, whence: int, size: int = 0) -> int:
        """Move as `io.IOBase.seek` says, *size* being where the resource ends; return the new position."""
        with self._lock:
            match whence:
                case os.SEEK_SET if distance < 0:
                    raise ValueError(f"negative seek value {distance}")
                case os.SEEK_SET:
                    origin = 0
                case os.SEEK_CUR:
                    if not distance:  # it asks where we are
                        return self._at
                    origin = self._at
                case os.SEEK_END:
                    origin = size
                case _:
                    raise ValueError(f"invalid whence ({whence}, should be 0, 1 or 2)")
            self._at = self._floor = max(0, origin + distance)
            self._seeks += 1
            return self._at

    def look(self) -> Reservation:
        """Return where the next read begins, reserving nothing."""
        with self._lock:
            return Reservation(self._at, self._at, self._seeks)

    def reserve(self, length: int) -> Reservation:
        """Move on by *length* bytes, and return what was passed."""
        with self._lock:
            start = self._at
            self._at += length
            return Reservation(start, self._at, self._seeks)

    def give_back(self, reserved: Reservation) -> None:
        """Return to where *reserved* began: nothing of it was read."""
        with self._lock:
            if (self._seeks, self._at) == (reserved.seeks, reserved.stop):
                self._at = reserved.start

    def stop_at(self, end: int, reserved: Reservation) -> None:
        """Return to *end*, where the resource turned out to end within *reserved*."""
        with self._lock:
            if self._seeks == reserved.seeks:
                self._at = min(self._at, max(end, self._floor))

    def try_move(self, seen: Reservation, stop: int) -> Reservation | None:
        """Move on from where `look` has *seen* it to *stop*; None where another thread has read on from there.

        A seek came after the read, and its position stands.
        """
        with self._lock:
            if self._seeks == seen.seeks:
                if self._at != seen.start:
                    return None
                self._at = stop
            return seen._replace(stop=stop)
