"""Reader: bytes of a URL in order or at any offset, through the cache folder or through memory.

A view of `Session`. What the cache holds is validated against the server before any of it is used: by the very
request that brings what is missing, or, when nothing is, by a conditional one whose answer has no body.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..core.ranges import ByteRange
from ..events import Listener, ignore
from ..store.cache import Cache
from ..store.cache_destination import CacheDestination
from ..store.destinations import Destination, MemoryDestination
from ..transfer.state import Policy
from ..transfer.transfer import Transfer
from ..transport.limiter import Limiter
from ..transport.remote import Remote
from .checksum import Checksum
from .options import DownloadOptions
from .session import Session


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
        checksum: Checksum | None = None,
        restart_on_change: bool = False,
    ) -> None:
        """Keep blocks in *cache*, or a bounded part of them in memory where that is None."""
        self.remote = remote
        destination: Destination = MemoryDestination(remote.name)
        if cache is not None:
            destination = CacheDestination(
                cache.for_variant(remote.variant), remote.url, remote.name, listener
            )
        options = DownloadOptions(
            policy or Policy(), checksum, restart_on_change, limiter=limiter, offline=offline
        )
        self._session = Session(remote, destination, options, listener)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, offset: int, length: int | None) -> int | None:
        """Ask for what is wanted first and return the resource's size in bytes, None when the server never says.

        A negative *offset* counts from the end. Raises `OffsetError` (with the size, where the server names it)
        for one past the end, `NotCachedError` when offline.
        """
        return self._session.open(offset, length)

    def size_at_last(self) -> int:
        """Read everything of a resource whose size is not announced, and return its size in bytes."""
        return self._session.ask_size()

    def read(self, wanted: ByteRange) -> bytes:
        """Return the bytes of *wanted*, waiting for those that are missing; fewer only at the resource's end."""
        return self._session.read(wanted)

    def stream(self, start: int, stop: int | None) -> Iterator[bytes]:
        """Yield the bytes [start, stop) in order, *stop* None meaning the end, with connections running ahead.

        After the last byte of a whole resource comes `ChecksumError` when it has not the digest that is expected.
        """
        return self._session.stream(start, stop)

    @property
    def transfer(self) -> Transfer | None:
        """The latest transfer, for a display; None when offline."""
        return self._session.last_transfer

    def close(self) -> None:
        """Stop fetching, save what was fetched, and trim the cache."""
        self._session.close()
