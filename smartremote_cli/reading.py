"""Reader: bytes of a URL in order or at any offset, through the cache folder or through memory.

What the cache holds is validated against the server before any of it is used: by the very request that brings
what is missing, or, when nothing is, by a conditional one whose answer has no body.
"""

from __future__ import annotations

from collections.abc import Iterator

from .blocks import BLOCK, BlockMap
from .cache import Cache
from .engine import Transfer
from .errors import NotCachedError, OffsetError
from .events import Listener, ignore
from .headers import Asked, Identity, Match
from .limiter import Limiter
from .part import Record
from .ranges import ByteRange
from .state import Opened, Policy
from .storage import Copy, LocalCopy, MemoryCopy
from .transport import Remote, Response

# How far connections run ahead of a reader in order, and how much is handed on at a time.
AHEAD = 32 * 1024 * 1024
PIECE = 256 * 1024

# The first request of a read without end: enough to learn the rest while it comes.
FIRST = 4 * 1024 * 1024


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
        self._cache = cache
        self._policy = policy
        self._listener = listener
        self._limiter = limiter
        self._offline = offline
        self._record = cache.find(remote.url) if cache is not None else None
        self._transfer: Transfer | None = None
        self._copy: Copy | None = None

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
        first, condition = self._first_request(offset, length)
        self._transfer = Transfer(
            self.remote, self._open_copy, first, self._policy, self._listener, self._limiter, condition
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
        want: ByteRange | None = None
        try:
            while stop is None or position < stop:
                if edge - position < AHEAD // 2 and (stop is None or edge < stop):
                    edge = position + AHEAD if stop is None else min(position + AHEAD, stop)
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
            self._transfer.unwant(before)
        if start >= stop:
            return None
        want = ByteRange(start, stop)
        self._transfer.want(want)
        return want

    @property
    def transfer(self) -> Transfer | None:
        return self._transfer

    def close(self) -> None:
        """Stop fetching, save what was fetched, and trim the cache."""
        if self._transfer is not None:
            self._transfer.stop()
        if isinstance(self._copy, LocalCopy):
            self._copy.close()
            self._copy = None
            if self._cache is not None:
                self._cache.touch(self.remote.url)

    def _first_request(self, offset: int, length: int | None) -> tuple[Asked, dict[str, str]]:
        known = self._record.identity if self._record is not None else None
        if self._record is not None and known is not None and known.size is not None and known.is_strong:
            first = self._first_of_cached(self._record, known, known.size, offset, length)
            if first is not None:
                return first
        self._record = None
        if offset < 0:
            return Asked(suffix=-offset), {}
        start = offset // BLOCK * BLOCK
        most = FIRST if length is None else min(length, FIRST)
        return Asked(range=ByteRange(start, -(-(offset + max(most, 1)) // BLOCK) * BLOCK)), {}

    def _first_of_cached(
        self, record: Record, known: Identity, size: int, offset: int, length: int | None
    ) -> tuple[Asked, dict[str, str]] | None:
        start = max(0, size + offset) if offset < 0 else offset
        if start >= size:
            start = max(0, size - 1)  # whether that is still the end, the server must say
        stop = size if length is None else min(start + max(length, 1), size)
        if not size:
            return Asked(conditional=True), known.condition()
        blocks = BlockMap.fitting(size, record.bits)
        wanted = ByteRange(start, stop)
        run = next(blocks.missing(wanted), None)
        if run is None:
            block = blocks.align(ByteRange(start, start + 1))
            return Asked(range=block, conditional=True), known.condition()
        return Asked(range=ByteRange(run.start, min(run.stop, run.start + FIRST))), known.precondition()

    def _open_copy(self, identity: Identity, response: Response) -> Opened:
        if self._cache is None:
            self._copy = MemoryCopy(identity)
            return Opened(self._copy)
        record = self._record
        if record is not None and record.identity is not None:
            confirmed = response.status == 304
            same_size = confirmed or identity.size == record.identity.size
            if same_size and (confirmed or record.identity.compare(identity) is Match.SAME):
                self._copy = self._cache.open(self.remote.url, record)
                return Opened(self._copy)
        self._copy = self._cache.create(self.remote.url, identity)
        return Opened(self._copy)

    def _open_offline(self) -> int | None:
        if self._record is None or self._record.identity is None or self._cache is None:
            raise NotCachedError(
                self.remote.name, "nothing of it is in the cache, and --offline was asked for"
            )
        self._copy = self._cache.open(self.remote.url, self._record)
        return self._copy.identity.size

    def _read_offline(self, wanted: ByteRange) -> bytes:
        assert isinstance(self._copy, LocalCopy)
        size = self._copy.identity.size
        if size is not None:
            if wanted.start > size:
                raise OffsetError(self.remote.name, f"the offset lies past the end, at {size} bytes")
            clipped = wanted.clip(ByteRange(0, size)) if size else None
            if clipped is None:
                return b""
            wanted = clipped
        gap = next(self._copy.blocks.missing(wanted), None)
        if gap is not None:
            why = f"bytes {max(gap.start, wanted.start)} to {min(gap.stop, wanted.stop) - 1} are not in the cache"
            raise NotCachedError(self.remote.name, f"{why}, and --offline was asked for")
        return self._copy.read(wanted)
