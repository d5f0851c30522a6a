"""BlockMap: which 64 KiB blocks of a resource of known size are held, over a Roaring bitmap.

Memory and time follow the number of runs, not the number of blocks: nothing here iterates over blocks.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator

from pyroaring import BitMap

from .ranges import ByteRange

BLOCK = 65_536  # bytes; the block size of the part records that Go's SmartRemote writes
MAX_BLOCKS = 2**32  # a Roaring bitmap holds 32-bit numbers: 256 TiB
MAX_SIZE = MAX_BLOCKS * BLOCK
EVERY_BYTE = ByteRange(0, MAX_SIZE)  # of a resource of any size


def blocks_in(size: int) -> int:
    """Return how many blocks a resource of *size* bytes has, the last one possibly shorter."""
    return -(-size // BLOCK)


class BlockMap:
    """The held blocks of a resource of *size* bytes. No bit lies past the end.

    Not thread-safe: the owner guards it. *losses* counts the operations that may have dropped held blocks.
    """

    __slots__ = ("_bits", "losses", "size")

    def __init__(self, size: int, bits: BitMap | None = None) -> None:
        """Take over *bits*, without a copy. Raise ValueError for a bit past the end or a *size* beyond `MAX_SIZE`."""
        size = operator.index(size)  # a numpy.uint64 would wrap around below zero
        if not 0 <= size <= MAX_SIZE:
            raise ValueError(f"a size of {size} bytes is not between 0 and {MAX_SIZE}")
        self.size = size
        self.losses = 0
        self._bits = BitMap() if bits is None else bits
        if self._bits and self._bits.max() >= self.count:
            raise ValueError(f"block {self._bits.max()} lies past the end of {self.count} blocks")

    @classmethod
    def fitting(cls, size: int, bits: BitMap) -> BlockMap:
        """Return the map of the *bits* that lie within *size* bytes, and drop the others."""
        kept = bits.copy()
        kept.remove_range(blocks_in(size), MAX_BLOCKS)
        return cls(size, kept)

    @property
    def count(self) -> int:
        """How many blocks the resource has, held or not."""
        return blocks_in(self.size)

    @property
    def held(self) -> int:
        """How many blocks are held."""
        return len(self._bits)

    @property
    def bits(self) -> BitMap:
        """A copy of the bitmap, for the record."""
        return self._bits.copy()

    @property
    def is_complete(self) -> bool:
        """Whether every block of [0, count) is held."""
        return self.count == 0 or self._bits.contains_range(0, self.count)

    @property
    def bytes_held(self) -> int:
        short = self.count * BLOCK - self.size
        return self.held * BLOCK - (short if self.count and self.count - 1 in self._bits else 0)

    def holds_block(self, block: int) -> bool:
        return block in self._bits

    def holds(self, wanted: ByteRange) -> bool:
        """Return whether every byte of *wanted* is in a held block. Bytes past the end are never held."""
        return wanted.stop <= self.size and self._bits.contains_range(
            wanted.start // BLOCK, blocks_in(wanted.stop)
        )

    def held_in(self, first: int, stop: int) -> int:
        """Return how many of the blocks [first, stop) are held."""
        return self._bits.range_cardinality(first, stop) if first < stop else 0

    def align(self, wanted: ByteRange) -> ByteRange:
        """Return the whole blocks that hold *wanted*, cut at the end of the resource."""
        start = wanted.start // BLOCK * BLOCK
        return ByteRange(start, min(blocks_in(wanted.stop) * BLOCK, self.size))

    def inside(self, arrived: ByteRange) -> range:
        """Return the numbers of the blocks that lie completely in *arrived*."""
        last = self.count if arrived.stop >= self.size else arrived.stop // BLOCK
        return range(blocks_in(arrived.start), last)

    def hold(self, arrived: ByteRange) -> int:
        """Mark every block that lies completely in *arrived* as held; return the number of bytes newly held."""
        blocks = self.inside(arrived)
        if not blocks:
            return 0
        new = len(blocks) - self.held_in(blocks.start, blocks.stop)
        ends = blocks.stop * BLOCK > self.size and blocks.stop - 1 not in self._bits
        self._bits.add_range(blocks.start, blocks.stop)
        return new * BLOCK - (blocks.stop * BLOCK - self.size if ends else 0)

    def forget(self, damaged: ByteRange) -> None:
        """Mark every block that *damaged* touches as missing."""
        self._bits.remove_range(damaged.start // BLOCK, blocks_in(damaged.stop))
        self.losses += 1

    def drop(self, bits: BitMap) -> None:
        """Mark the blocks of *bits* as missing."""
        self._bits -= bits
        self.losses += 1

    def clear(self) -> None:
        self._bits.clear()
        self.losses += 1

    def reach(self, start: int) -> int:
        """Return where the run of held bytes from *start* on ends: *start* itself when its block is missing."""
        if start >= self.size:
            return start
        stop = min(self._next_missing(start // BLOCK, self.count) * BLOCK, self.size)
        return max(start, stop)

    def missing(self, within: ByteRange | None = None) -> Iterator[ByteRange]:
        """Yield the runs of missing blocks that *within* touches, in order, cut at the end of the resource.

        The map may change between two runs; each run is right at the moment when it is yielded.
        """
        return self._runs(within, held=False)

    def present(self, within: ByteRange | None = None) -> Iterator[ByteRange]:
        """Yield the runs of held blocks that *within* touches, as `missing` does."""
        return self._runs(within, held=True)

    def _runs(self, within: ByteRange | None, *, held: bool) -> Iterator[ByteRange]:
        if within is None:
            first, end = 0, self.count
        else:
            first, end = within.start // BLOCK, min(blocks_in(within.stop), self.count)
        while first < end:
            start = self._next_held(first, end) if held else self._next_missing(first, end)
            if start >= end:
                return
            stop = self._next_missing(start, end) if held else self._next_held(start, end)
            yield ByteRange(start * BLOCK, min(stop * BLOCK, self.size))
            first = stop

    def _next_held(self, block: int, end: int) -> int:
        try:
            return min(self._bits.next_set_bit(block), end)
        except ValueError:  # pyroaring raises it when no bit follows
            return end

    def _next_missing(self, block: int, end: int) -> int:
        """Return the first missing block of [block, end), else *end*, by doubling and then halving the stride."""
        if block >= end or block not in self._bits:
            return min(block, end)
        stride = 1
        while block + stride < end and self._bits.contains_range(block, block + stride):
            stride *= 2
        low, high = block + stride // 2, min(block + stride, end)
        if self._bits.contains_range(block, high):
            return high
        while low < high - 1:
            middle = (low + high) // 2
            if self._bits.contains_range(block, middle):
                low = middle
            else:
                high = middle
        return low
