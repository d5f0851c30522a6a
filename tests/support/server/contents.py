"""What the server holds: contents of any size, and the resource at a path."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol


class Content(Protocol):
    """Bytes that may be too many to hold: read() returns exactly *length* of them, or fewer at the end."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> memoryview: ...

    def __hash__(self) -> int: ...  # what is made of a content (its gzip form, a digest) is made once


@dataclass(frozen=True)
class Held:
    """Content that is in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> memoryview:
        return memoryview(self.data)[offset : offset + length]


# A prime above 1 MiB: the pattern repeats after it, so that two blocks of 64 KiB are equal only when they lie
# a multiple of 64 GiB apart.
_PERIOD = 1_048_583


@lru_cache(maxsize=8)
def _pool(seed: int) -> memoryview:
    once = random.Random(seed).randbytes(_PERIOD)
    return memoryview(once + once)


@dataclass(frozen=True)
class Patterned:
    """Content of any size, up to many TiB, that costs nothing and shows every wrong offset."""

    size: int
    seed: int = 0

    def read(self, offset: int, length: int) -> memoryview:
        length = max(0, min(length, self.size - offset))
        pool, start = _pool(self.seed), offset % _PERIOD
        if length <= _PERIOD:
            return pool[start : start + length]
        times = (start + length) // _PERIOD + 1
        return memoryview(bytes(pool[:_PERIOD]) * times)[start : start + length]


@dataclass(frozen=True)
class Patched:
    """Another content with some bytes replaced: *patches* maps offsets to bytes."""

    content: Content
    patches: dict[int, bytes] = field(hash=False)

    @property
    def size(self) -> int:
        return self.content.size

    def read(self, offset: int, length: int) -> memoryview:
        data = bytearray(self.content.read(offset, length))
        for at, patch in self.patches.items():
            first, last = max(at, offset), min(at + len(patch), offset + len(data))
            if first < last:
                data[first - offset : last - offset] = patch[first - at : last - at]
        return memoryview(data)


def pattern(size: int, seed: int = 0) -> bytes:
    """Return the first *size* bytes of the pattern of *seed*, as `Patterned` serves them."""
    return bytes(Patterned(size, seed).read(0, size))


@dataclass
class Resource:
    """What a path of the server holds. None leaves the header out."""

    content: bytes | Content
    etag: str | None = '"one"'
    last_modified: str | None = "Wed, 01 Jan 2025 00:00:00 GMT"
    headers: list[tuple[str, str]] = field(default_factory=list)
    ranges: bool = True
    content_type: str | None = "application/octet-stream"
    content_disposition: str | None = None

    @property
    def data(self) -> Content:
        return Held(self.content) if isinstance(self.content, bytes) else self.content
