"""Comparisons: which held blocks of a download of ours to compare before what it holds is trusted."""

from __future__ import annotations

from ..core.blocks import BLOCK, BlockMap
from ..core.ranges import ByteRange
from ..plan import planner
from .local_copy import LocalCopy

# Compare this many held blocks where no validator proves that they are of this resource. By judgement: a request
# each, against the chance that two versions differ and agree in all of them.
SAMPLE_BLOCKS = 8

# Compare a seam's length of this many blocks where the resource is proven, and only the data file is in doubt.
UNVERIFIED_SAMPLES = 4


def samples_of(copy: LocalCopy) -> list[ByteRange]:
    """Return held blocks to compare where nothing proves that they are of the resource."""
    blocks = copy.blocks
    if copy.identity.size is None:  # where the last block ends is not known: leave it out
        last = blocks.bits.max() if blocks.held else 0
        inner = [block for block in planner.samples(blocks, SAMPLE_BLOCKS) if block.start // BLOCK < last]
        return inner or planner.samples(blocks, 1)
    return planner.samples(blocks, SAMPLE_BLOCKS)


def unverified_samples(copy: LocalCopy) -> list[ByteRange]:
    """Return parts of the unverified blocks, to be compared where the resource is known to be the same."""
    doubtful = planner.samples(BlockMap.fitting(copy.blocks.size, copy.unverified), UNVERIFIED_SAMPLES)
    return [ByteRange(block.start, min(block.start + planner.SEAM, block.stop)) for block in doubtful]


def count_text(samples: tuple[ByteRange, ...]) -> str:
    return "1 sample block" if len(samples) == 1 else f"{len(samples)} sample blocks"
