"""ByteRange, half-open: how the whole package names a run of bytes."""

from __future__ import annotations

import operator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class ByteRange:
    """A run of bytes: *start* is in it, *stop* is not. Never empty. Both may be anything with `__index__`."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if type(self.start) is not int or type(self.stop) is not int:
            # A numpy.uint64 would wrap around below zero.
            object.__setattr__(self, "start", operator.index(self.start))
            object.__setattr__(self, "stop", operator.index(self.stop))
        if not 0 <= self.start < self.stop:
            raise ValueError(f"empty or backward range: [{self.start}, {self.stop})")

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def header(self) -> str:
        """The value of a Range header asking for exactly these bytes (RFC 9110, 14.2)."""
        return f"bytes={self.start}-{self.stop - 1}"

    def contains(self, other: ByteRange) -> bool:
        return self.start <= other.start and other.stop <= self.stop

    def overlaps(self, other: ByteRange) -> bool:
        return self.start < other.stop and other.start < self.stop

    def clip(self, other: ByteRange) -> ByteRange | None:
        """Return the bytes that are in both ranges, or None when they have none in common."""
        start, stop = max(self.start, other.start), min(self.stop, other.stop)
        return ByteRange(start, stop) if start < stop else None

    def minus(self, other: ByteRange) -> list[ByteRange]:
        """Return this range without the bytes of *other*: zero, one or two ranges, in order."""
        if not self.overlaps(other):
            return [self]
        left = [ByteRange(self.start, other.start)] if self.start < other.start else []
        right = [ByteRange(other.stop, self.stop)] if other.stop < self.stop else []
        return left + right
