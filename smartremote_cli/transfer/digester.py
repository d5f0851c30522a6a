"""Digester: computes a digest of the whole resource while its blocks arrive, from the first byte on."""

from __future__ import annotations

import hashlib
import threading

from ..core.ranges import ByteRange
from ..errors import SmartRemoteError
from ..plan.planner import MIB
from ..threads import start
from .transfer import Transfer

_NAP = 0.05  # seconds between looks whether more is here


class Digester:
    """A thread that follows one transfer as far as all bytes from 0 are held. Use it as a context manager.

    When held bytes are dropped, because another version or a damaged answer was among them, it begins again.
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
        self._follows = start(self._thread)  # else it has all to do in the end
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
                    self._ended.wait(_NAP)
        except SmartRemoteError:
            pass  # whoever asks for the digest meets it again

    def _step(self) -> bool:
        """Take some of what is held and not yet digested; return False when there is none."""
        mark, reach = self._transfer.reach(self._done)
        if mark != self._mark:
            self._begin(mark)
            return True
        if reach <= self._done:
            return False
        data = self._transfer.copy.read(ByteRange(self._done, min(reach, self._done + MIB)))
        if self._transfer.reach(0)[0] == mark:  # else these may be bytes of two versions
            self._hasher.update(data)
            self._done += len(data)
        return True
