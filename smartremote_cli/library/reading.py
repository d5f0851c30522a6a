"""Reader: bytes of a URL in order or at any offset, through the cache folder or through memory.

What the cache holds is validated against the server before any of it is used: by the very request that brings
what is missing, or, when nothing is, by a conditional one whose answer has no body.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..core.blocks import BLOCK
from ..core.ranges import ByteRange
from ..errors import NotCachedError, OffsetError
from ..events import Listener, ignore
from ..store.cache import Cache
from ..store.copies import Copy
from ..store.destinations import CacheDestination, Destination, MemoryDestination
from ..transfer.state import Policy
from ..transfer.transfer import Transfer
from ..transport.limiter import Limiter
from ..transport.remote import Remote

# How far connections run ahead of a reader in order, and how much is handed on at a time.
AHEAD = 32 * 1024 * 1024
AHEAD_IN_MEMORY = 16 * 1024 * 1024
PIECE = 256 * 1024


class Reader:
    """Reads one resource. Close it, or use it as a context manager: that saves what was fetched."""

    def __init__(
        self,
        remote: Remote,
        cache: Cache | None,
        *,
        policy: Policy | None = None,
        listener: Listener = ignore,
        limiter: Limiter | None = None,
        offline: bool = False,
    ) -> None:
        self.remote = remote
        self._policy = policy
        self._listener = listener
        self._limiter = limiter
        self._offline = offline
        self._destination: Destination = MemoryDestination(remote.name)
        if cache is not None:
            self._destination = CacheDestination(cache, remote.url, remote.name)
        self._transfer: Transfer | None = None
        self._unasked: Copy | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, offset: int, length: int | None) -> int | None:
        """Ask for what is wanted first and return the resource's size in bytes, None when the server never says.

        A negative *offset* counts from the end. Raises `OffsetError` (with the size, where the server names it)
        for one past the end, `NotCachedError` when offline.
        """
        if self._offline:
            return self._open_offline()
        first, condition = self._destination.first(offset, length)
        self._transfer = Transfer(
            self.remote, self._destination.open, first, self._policy, self._listener, self._limiter, condition
        )
        return self._transfer.open().size

    def size_at_last(self) -> int:
        """Read everything of a resource whose size is not announced, and return its size in bytes."""
        if self._transfer is None:
            return 0
        self._transfer.ensure()
        return self._transfer.size or 0

    def read(self, wanted: ByteRange) -> bytes:
        """Return the bytes of *wanted*, waiting for those that are missing; fewer only at the resource's end."""
        if self._transfer is not None:
            return self._transfer.read(wanted)
        return self._read_offline(wanted)

    def stream(self, start: int, stop: int | None) -> Iterator[bytes]:
        """Yield the bytes [start, stop) in order, *stop* None meaning the end, with connections running ahead."""
        position, edge = start, start
        ahead = AHEAD_IN_MEMORY if isinstance(self._destination, MemoryDestination) else AHEAD
        want: ByteRange | None = None
        try:
            while stop is None or position < stop:
                if edge - position < ahead // 2 and (stop is None or edge < stop):
                    edge = position + ahead if stop is None else min(position + ahead, stop)
                want = self._want_instead(want, position, edge)
                end = min(position // BLOCK * BLOCK + PIECE, edge)
                piece = ByteRange(position, end)
                data = self.read(piece)
                if data:
                    yield data
                position += len(data)
                want = self._want_instead(want, position, edge)
                if self._transfer is not None:
                    self._transfer.let_go(piece)
                if len(data) < len(piece):
                    return
        finally:
            self._want_instead(want, 0, 0)

    def _want_instead(self, before: ByteRange | None, start: int, stop: int) -> ByteRange | None:
        """Have connections run ahead over [start, stop), and not over what was wanted *before*."""
        if self._transfer is None:
            return None
        if before is not None:
            self._transfer.cancel(before)
        if start >= stop:
            return None
        want = ByteRange(start, stop)
        self._transfer.request(want)
        return want

    @property
    def transfer(self) -> Transfer | None:
        return self._transfer

    def close(self) -> None:
        """Stop fetching, save what was fetched, and trim the cache."""
        if self._transfer is not None:
            self._transfer.stop()
        self._destination.close()

    def _open_offline(self) -> int | None:
        if isinstance(self._destination, CacheDestination):
            self._unasked = self._destination.open_unasked()
        if self._unasked is None:
            raise NotCachedError(
                self.remote.name, "nothing of it is in the cache, and --offline was asked for"
            )
        return self._unasked.identity.size

    def _read_offline(self, wanted: ByteRange) -> bytes:
        assert self._unasked is not None
        size = self._unasked.identity.size
        if size is not None:
            if wanted.start > size:
                raise OffsetError(self.remote.name, f"the offset lies past the end, at {size} bytes")
            clipped = wanted.clip(ByteRange(0, size)) if size else None
            if clipped is None:
                return b""
            wanted = clipped
        gap = next(self._unasked.blocks.missing(wanted), None)
        if gap is not None:
            first, last = max(gap.start, wanted.start), min(gap.stop, wanted.stop) - 1
            why = f"bytes {first} to {last} are not in the cache, and --offline was asked for"
            raise NotCachedError(self.remote.name, why)
        return self._unasked.read(wanted)
