"""Digester: computes a digest of the whole resource while its blocks arrive, from the first byte on."""

from __future__ import annotations

import hashlib
import threading

from ..core.ranges import ByteRange
from ..errors import SmartRemoteError
from ..plan.planner import MIB
from ..threads import start
from .transfer import Transfer

# How often to look whether more has arrived. 100 MB/s bring 5 MB in that time, which SHA-256 takes in 10 ms.
_POLL_INTERVAL_SECONDS = 0.05


class Digester:
    """A thread that digests the bytes that one transfer holds from 0 on. Use it as a context manager.

    It begins again when held bytes are dropped because another version or a damaged answer was among them.
    """

    def __init__(self, transfer: Transfer, algorithm: str) -> None:
        """Follow *transfer*, which has opened its copy; *algorithm* is as hashlib names it."""
        self.algorithm = algorithm
        self._transfer = transfer
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="smartremote-digest", daemon=True)
        self._follows = False
        self._begin(None)

    def __enter__(self) -> Digester:
        self._follows = start(self._thread)  # otherwise `hexdigest` does all of it
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @property
    def done(self) -> int:
        """How many bytes, from the first on, are in the digest so far."""
        return self._done

    def hexdigest(self) -> str:
        """Return the digest of the whole copy, every byte of which is held; what was not reached yet is read now."""
        self._stop()
        while self._step():
            pass
        return self._hasher.hexdigest()

    def _stop(self) -> None:
        self._ended.set()
        if self._follows:
            self._thread.join()

    def _begin(self, mark: object) -> None:
        self._mark = mark
        self._done = 0
        self._hasher = hashlib.new(self.algorithm)

    def _follow(self) -> None:
        try:
            while not self._ended.is_set():
                if not self._step():
                    self._ended.wait(_POLL_INTERVAL_SECONDS)
        except SmartRemoteError:
            pass  # `hexdigest` meets it again

    def _step(self) -> bool:
        """Take some of what is held and not yet digested; return False when there is none."""
        mark, reach = self._transfer.reach(self._done)
        if mark != self._mark:
            self._begin(mark)
            return True
        if reach <= self._done:
            return False
        data = self._transfer.copy.read(ByteRange(self._done, min(reach, self._done + MIB)))
        if not data and self._transfer.drop_damaged():
            return True
        if self._transfer.reach(0)[0] == mark:  # else these may be bytes of two versions
            self._hasher.update(data)
            self._done += len(data)
        return True
