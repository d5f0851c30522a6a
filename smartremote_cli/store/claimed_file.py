"""ClaimedFile: what another program has left unfinished, and which blocks of it may be believed once samples agree."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

from pyroaring import BitMap

from ..core.blocks import BLOCK, BlockMap
from ..core.ranges import ByteRange
from ..errors import DamagedError, ForeignFileError
from ..events import Listener
from .controls import MAX_CONTROL_BYTES, Claims, parse_aria2, parse_axel, parse_lftp
from .copies import Opened
from .evidence import SAMPLE_BYTES, all_zero_runs, zero_runs
from .existing_file import ExistingFile
from .files import holes, is_marked
from .leftovers import read_record

PARSERS = {".aria2": parse_aria2, ".st": parse_axel, ".lftp-pget-status": parse_lftp}

# Runs of claimed blocks to compare, and blocks at random beside them (contract).
MAX_RUNS = 32
RANDOM_BLOCKS = 8

# Zeros that stand in data by chance, once in 2^64 places of random bytes, or were never written.
_ZEROS_IN_A_ROW = bytes(8)

_ZERO_PAGE = bytes(SAMPLE_BYTES)
_random = random.SystemRandom()


class ClaimedFile(ExistingFile):
    """The file at *path* as a copy that holds the blocks which are *claimed* of it. It is never written."""

    def __init__(self, path: str, claimed: BlockMap, url: str) -> None:
        super().__init__(path, 0, url=url)
        self.claimed = claimed
        self.blocks = claimed

    def opened(self, tell: Listener) -> Opened:
        """Return it as opened. Where no whole block is claimed, the data that it has all the same are compared."""
        samples = samples_of_claims(self.claimed)
        if samples:
            with self._file.using() as descriptor:
                zeros = zero_runs(descriptor, os.fstat(descriptor).st_size)
            samples = tuple(sorted({*samples, *samples_of_zeros(zeros, self.claimed)}))
        else:
            with self._file.using() as descriptor:
                samples = samples_of_data(descriptor, self.claimed.size)
            touched = BitMap([sample.start // BLOCK for sample in samples])
            self.blocks = BlockMap(self.claimed.size, touched)
        return Opened(self, samples=samples, mismatch=self.other)

    def write(self, offset: int, data: memoryview) -> None:
        raise ForeignFileError(self.path, "what came is not what was compared")

    def other(self, why: str) -> ForeignFileError:
        return ForeignFileError(self.path, f"it is not of this resource: {why}", hint="it was left as it is")


def samples_of_claims(blocks: BlockMap) -> tuple[ByteRange, ...]:
    """Return what to compare: the beginning, a middle block and the end of runs, and other blocks at random."""
    runs = list(blocks.present())
    if len(runs) > MAX_RUNS:
        runs = [*_random.sample(runs[1:-1], MAX_RUNS - 2), runs[0], runs[-1]]
    samples = set()
    for run in runs:
        middle = run.start + (len(run) // 2) // BLOCK * BLOCK
        samples |= {
            ByteRange(run.start, min(run.start + SAMPLE_BYTES, run.stop)),
            ByteRange(middle, min(middle + SAMPLE_BYTES, run.stop)),
            ByteRange(max(run.start, run.stop - SAMPLE_BYTES), run.stop),
        }
    held = blocks.bits
    for index in _random.sample(range(len(held)), min(RANDOM_BLOCKS, len(held))):
        start = held[index] * BLOCK + _random.randrange(BLOCK // SAMPLE_BYTES) * SAMPLE_BYTES
        if start < blocks.size:
            samples.add(ByteRange(start, min(start + SAMPLE_BYTES, blocks.size)))
    return tuple(sorted(samples))


def samples_of_zeros(zeros: list[ByteRange], blocks: BlockMap) -> Iterator[ByteRange]:
    """Yield the end of each run of *zeros*, where it is claimed: a damaged control file may claim reserved space."""
    for run in zeros:
        for part in blocks.present(run):
            start, stop = max(part.start, run.start), min(part.stop, run.stop)
            yield ByteRange(max(start, stop - SAMPLE_BYTES), stop)


def samples_of_data(descriptor: int, size: int) -> tuple[ByteRange, ...]:
    """Return data of the open file to compare: the first, and some at random. Zeros may never have been written."""
    samples: list[ByteRange] = []
    seen = 0
    for start in range(0, min(os.fstat(descriptor).st_size, size), BLOCK):
        data = os.pread(descriptor, min(BLOCK, size - start), start)
        if data.count(0) == len(data):
            continue
        if len(samples) <= RANDOM_BLOCKS:
            samples.append(_data_in(data, start, anywhere=bool(samples)))
            continue
        seen += 1  # reservoir sampling: each block after the first is kept with the same chance
        index = _random.randrange(RANDOM_BLOCKS + seen)
        if index < RANDOM_BLOCKS:
            samples[index + 1] = _data_in(data, start, anywhere=True)
    return tuple(sorted(samples))


def _data_in(block: bytes, start: int, *, anywhere: bool) -> ByteRange:
    """Return where data is in the *block* at *start*: in its first page that has some, or in one *anywhere*.

    It ends before the first zeros in a row: a connection may have stopped there.
    """
    pages = [at for at in range(0, len(block), SAMPLE_BYTES) if any(block[at : at + SAMPLE_BYTES])]
    at = _random.choice(pages) if anywhere else pages[0]
    page = block[at : at + SAMPLE_BYTES]
    first = len(page) - len(page.lstrip(b"\0"))
    length = len(page[first:].partition(_ZEROS_IN_A_ROW)[0])
    return ByteRange(start + at + first, start + at + first + length)


def read_claims(path: str, ending: str) -> Claims:
    """Return what the control file beside *path* claims. Raises `DamagedError`, `LocalError`."""
    name = path + ending
    parse = PARSERS.get(ending)
    if parse is None:
        raise DamagedError(name, "it does not say what is held; only the program that began it can go on")
    data = read_record(name, MAX_CONTROL_BYTES)
    if data is None:
        raise DamagedError(name, "the control file is gone")
    return parse(data, name)


def claimed_by(claims: Claims, descriptor: int, size: int, name: str) -> BlockMap:
    """Return the whole blocks of *claims* that are in the open file, of a resource of *size* bytes."""
    here = os.fstat(descriptor).st_size
    if here > size:
        raise DamagedError(name, f"the file has {here} bytes, where the control file speaks of {size}")
    blocks = BlockMap(size)
    for part in claims.held:
        if part.start < here:
            blocks.hold(ByteRange(part.start, min(part.stop, here)))
    for hole in holes(descriptor, here):
        blocks.forget(hole)
    return blocks


def claimed_without_control(descriptor: int, size: int) -> BlockMap:
    """Return the blocks that an open file without a control file may hold of a resource of *size* bytes.

    A beginning was written in order: its last block and trailing zeros may be anything. Where a file has holes, or
    our mark, several connections wrote it: each may have ended within a block, or before zeros that look like data. In
    either, long zeros are taken for space that was never written.
    """
    here = os.fstat(descriptor).st_size
    blocks = BlockMap(size)
    if here:
        blocks.hold(ByteRange(0, here))
    gaps = list(holes(descriptor, here))
    scattered = bool(gaps) or here == size or is_marked(descriptor)
    if here < size and here:
        blocks.forget(ByteRange(here - 1, size))
    for gap in [*gaps, *all_zero_runs(descriptor, here)]:
        _forget_around(blocks, gap)
    if scattered:
        for page in _zero_pages(descriptor, blocks):
            _forget_around(blocks, page)
    elif (data := _trailing_zeros(descriptor, here)) is not None:
        _forget_around(blocks, data)
    return blocks


def _forget_around(blocks: BlockMap, gap: ByteRange) -> None:
    """Forget what *gap* touches, and the block before it, which may have been left half written."""
    blocks.forget(ByteRange(max(0, gap.start - 1), gap.stop))


def _zero_pages(descriptor: int, blocks: BlockMap) -> list[ByteRange]:
    pages = []
    for run in list(blocks.present()):
        for start in range(run.start, run.stop, BLOCK):
            data = os.pread(descriptor, min(BLOCK, run.stop - start), start)
            for at in range(0, len(data), SAMPLE_BYTES):
                if not data[at] and data[at : at + SAMPLE_BYTES] == _ZERO_PAGE[: len(data) - at]:
                    pages.append(ByteRange(start + at, start + min(at + SAMPLE_BYTES, len(data))))
    return pages


def _trailing_zeros(descriptor: int, size: int) -> ByteRange | None:
    """Return the zeros at the end of the open file; longer ones than a block are found as runs of zeros."""
    tail = os.pread(descriptor, min(2 * BLOCK, size), max(0, size - 2 * BLOCK))
    zeros = len(tail) - len(tail.rstrip(b"\0"))
    return ByteRange(size - zeros, size) if zeros else None
