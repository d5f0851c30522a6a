"""cut_pieces, Seams: what to do with the bytes of an arrived body, and what to compare later.

Bytes that are missing are written. Bytes that are held are compared: seams, samples, a stream that starts over.
Bytes just past a claim are kept until its right neighbour has written there, and then compared.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from ..core.blocks import BLOCK, BlockMap
from ..core.ranges import ByteRange
from .claims import Claim
from .planner import SEAM


class Do(enum.Enum):
    """What to do with a piece of an arrived body."""

    WRITE = enum.auto()
    COMPARE = enum.auto()
    KEEP = enum.auto()


Piece = tuple[Do, ByteRange]


def cut_pieces(
    claim: Claim, offset: int, length: int, blocks: BlockMap, claims: Sequence[Claim]
) -> list[Piece]:
    """Return what to do with the arrived bytes [offset, offset + length), in order; bytes in no piece are dropped.

    *blocks* are held, *claims* are all that are in flight.
    """
    end = offset + length
    pieces: list[Piece] = []
    if offset < claim.origin:
        pieces += _before(claim, ByteRange(offset, min(end, claim.origin)), blocks, claims)
    if max(offset, claim.origin) < min(end, claim.position):
        pieces.append((Do.COMPARE, ByteRange(max(offset, claim.origin), min(end, claim.position))))
    if max(offset, claim.position) < min(end, claim.stop):
        pieces += _within(claim, ByteRange(max(offset, claim.position), min(end, claim.stop)), blocks)
    if max(offset, claim.stop) < min(end, claim.stop + SEAM):
        seam = ByteRange(max(offset, claim.stop), min(end, claim.stop + SEAM))
        pieces += _beside(claim, seam, blocks, claims)
    return pieces


def is_written(part: ByteRange, blocks: BlockMap, claims: Sequence[Claim]) -> bool:
    """Return whether the bytes of *part*, within one block, are held or written by one of *claims*."""
    if blocks.holds_block(part.start // BLOCK):
        return True
    return any(claim.origin <= part.start and part.stop <= claim.position for claim in claims)


def _before(claim: Claim, before: ByteRange, blocks: BlockMap, claims: Sequence[Claim]) -> list[Piece]:
    held = _held_parts(before, blocks)
    near = before.clip(ByteRange(max(0, claim.origin - SEAM), claim.origin))
    return held or ([] if near is None else _beside(claim, near, blocks, claims))


def _within(claim: Claim, fresh: ByteRange, blocks: BlockMap) -> list[Piece]:
    if claim.sample:
        return [(Do.COMPARE, fresh)]
    return _with_gaps(fresh, _held_parts(fresh, blocks))


def _beside(claim: Claim, seam: ByteRange, blocks: BlockMap, claims: Sequence[Claim]) -> list[Piece]:
    """Return what to do with a *seam* that lies just before or just after *claim*."""
    if claim.sample:
        return []
    return [(Do.COMPARE if is_written(seam, blocks, claims) else Do.KEEP, seam)]


def _held_parts(part: ByteRange, blocks: BlockMap) -> list[Piece]:
    runs = (run.clip(part) for run in blocks.present(part))
    return [(Do.COMPARE, run) for run in runs if run is not None]


def _with_gaps(whole: ByteRange, held: list[Piece]) -> list[Piece]:
    """Return *held* with what lies between, before and after, up to *whole*, to be written."""
    pieces: list[Piece] = []
    start = whole.start
    for _, run in held:
        if start < run.start:
            pieces.append((Do.WRITE, ByteRange(start, run.start)))
        pieces.append((Do.COMPARE, run))
        start = run.stop
    if start < whole.stop:
        pieces.append((Do.WRITE, ByteRange(start, whole.stop)))
    return pieces


class Seams:
    """Bytes that arrived before their neighbour wrote there, by offset."""

    def __init__(self) -> None:
        self._kept: dict[int, bytes] = {}

    def keep(self, offset: int, data: bytes) -> None:
        self._kept[offset] = data

    def take_due(self, claim: Claim, upto: int) -> list[tuple[int, bytes]]:
        """Give out those that can be compared once all of *claim* before *upto* is written."""
        due = [at for at, data in self._kept.items() if claim.origin <= at and at + len(data) <= upto]
        return [(at, self._kept.pop(at)) for at in due]

    def clear(self) -> None:
        self._kept.clear()
