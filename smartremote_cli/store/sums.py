"""Sums: a checksum of each block of a partial data file, in a file beside its record.

They tell which blocks were edited, replaced or lost between two runs. The file is an array of uint32 LE, one for
each block, 0 where none is known, and as sparse as the data file. It is never synced: a block whose sum is lost is
compared with the server's, and a wrong sum costs a second download of its block.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import stat
import struct
import threading
from collections.abc import Callable, Iterator

import xxhash
from pyroaring import BitMap

from ..core.blocks import BLOCK, BlockMap
from ..core.ranges import ByteRange
from .files import beside

# Bytes of one sum: the lower half of XXH3, which takes 1.3 µs a block where zlib's CRC-32 takes 13 (measured).
_SUM_BYTES = 4
_SUM_MASK = 0xFFFFFFFF

# Bytes of data that are checked with one read. By judgement: 1 MiB makes a system call cheap beside its XXH3.
_CHECKED_BYTES = 16 * BLOCK

# Sums that are digested with one read: 256 KiB of them speak of 4 GiB.
_DIGESTED_SUMS = 65_536

log = logging.getLogger("smartremote")


class Sums:
    """The sums of the data file *path*. `note_written` may be called from any number of threads."""

    def __init__(self, path: str) -> None:
        self.path = sums_path(path)
        self._lock = threading.Lock()  # guards _whole and _begun: sums that are not saved yet
        self._whole: dict[int, int] = {}  # block -> its sum
        self._begun: dict[int, tuple[int, xxhash.xxh3_64]] = {}  # block -> (offset of the next byte, hasher)

    def note_written(self, offset: int, data: memoryview) -> None:
        """Sum up *data*, written at *offset*. A block that is not written in order gets no sum here."""
        first, at = divmod(offset, BLOCK)
        if at:
            self._note_part(offset, data[: BLOCK - at])
            first, data = first + 1, data[BLOCK - at :]
        whole = len(data) // BLOCK
        if whole:
            sums = [_sum(data[start : start + BLOCK]) for start in range(0, whole * BLOCK, BLOCK)]
            with self._lock:
                self._whole.update(enumerate(sums, first))
                for block in [begun for begun in self._begun if first <= begun < first + whole]:
                    del self._begun[block]
        if whole * BLOCK < len(data):
            self._note_part((first + whole) * BLOCK, data[whole * BLOCK :])

    def _note_part(self, offset: int, data: memoryview) -> None:
        """Take note of *data* within one block."""
        block, stop = offset // BLOCK, offset + len(data)
        with self._lock:
            self._whole.pop(block, None)
            upto, known = self._begun.pop(block, (-1, None))
        if offset % BLOCK == 0:
            upto, known = offset, xxhash.xxh3_64()
        if upto != offset or known is None:
            return
        known.update(data)
        with self._lock:
            if stop % BLOCK:
                self._begun[block] = stop, known
            else:
                self._whole[block] = known.intdigest() & _SUM_MASK

    def collect(self, descriptor: int, size: int, held: BitMap, new: BitMap) -> dict[int, int]:
        """Return the sums of the blocks of *held* that were written. Blocks of *new* without a sum are read again.

        *descriptor* is the data file's, *size* the resource's.
        """
        with self._lock:
            fresh = {block: value for block, value in self._whole.items() if block in held}
            for block in fresh:
                del self._whole[block]
            for block, (upto, known) in list(self._begun.items()):
                if block in held and upto == min((block + 1) * BLOCK, size):
                    fresh[block] = known.intdigest() & _SUM_MASK
                    del self._begun[block]
        for block in new - BitMap(fresh):
            fresh[block] = _sum(os.pread(descriptor, min(BLOCK, size - block * BLOCK), block * BLOCK))
        return fresh

    def save(self, descriptor: int, size: int, held: BitMap, new: BitMap) -> None:
        """Save what `collect` returns of these."""
        self.put(self.collect(descriptor, size, held, new))

    def put(self, fresh: dict[int, int]) -> None:
        """Save what `collect` has returned. A failure to save is logged, not raised."""
        if not fresh:
            return
        try:
            self._write(fresh)
        except OSError as error:
            log.info("%s: the sums of %d blocks were not saved: %s", self.path, len(fresh), error.strerror)

    def written_beginning(self, block: int, read: Callable[[ByteRange], bytes]) -> bytes:
        """Return what was written of *block* in order, as *read* returns it; empty where it returns something else."""
        start = block * BLOCK
        with self._lock:
            upto, known = self._begun.get(block, (start + BLOCK, None))
            total = self._whole.get(block) if known is None else known.intdigest() & _SUM_MASK
        if total is None:
            return b""
        data = read(ByteRange(start, upto))
        return data if len(data) == upto - start and _sum(data) == total else b""

    def check(self, descriptor: int, blocks: BlockMap) -> tuple[BitMap, BitMap]:
        """Read the *blocks* of the data file; return those that differ from their sum, and those without a sum."""
        wrong, unknown = BitMap(), BitMap()
        with contextlib.ExitStack() as stack:
            sums = self._open(os.O_RDONLY)
            if sums is None:
                return wrong, blocks.bits
            stack.callback(os.close, sums)
            for run in blocks.present():
                for start in range(run.start, run.stop, _CHECKED_BYTES):
                    part = ByteRange(start, min(start + _CHECKED_BYTES, run.stop))
                    for block, known, here in _compared(descriptor, sums, part):
                        if not known:
                            unknown.add(block)
                        elif known != here:
                            wrong.add(block)
        return wrong, unknown

    def digest(self, count: int) -> str | None:
        """Return the SHA-256 of the sums of *count* blocks as they are saved; None where one is not known."""
        sums = self._open(os.O_RDONLY)
        if sums is None:
            return None
        hasher = hashlib.sha256()
        try:
            for first in range(0, count, _DIGESTED_SUMS):
                length = min(_DIGESTED_SUMS, count - first) * _SUM_BYTES
                data = os.pread(sums, length, first * _SUM_BYTES)
                if len(data) < length or 0 in memoryview(data).cast("I"):
                    return None
                hasher.update(data)
        except OSError:
            return None
        finally:
            os.close(sums)
        return hasher.hexdigest()

    def after_fork_in_child(self) -> None:
        """Go on in a child process, where a thread that held the lock does not exist."""
        self._lock = threading.Lock()

    def remove(self) -> None:
        """Remove the file; one that stays costs a second download at most."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)

    def _write(self, fresh: dict[int, int]) -> None:
        sums = self._open(os.O_RDWR | os.O_CREAT)
        if sums is None:
            return
        try:
            for first, values in _runs(sorted(fresh.items())):
                data = struct.pack(f"<{len(values)}I", *values)
                if os.pwrite(sums, data, first * _SUM_BYTES) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(sums)

    def _open(self, flags: int) -> int | None:
        """Return a descriptor of the sums' file; None when there is none, or something else has its name."""
        try:
            descriptor = os.open(self.path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        return None


def sums_path(path: str) -> str:
    """Return the path of the sums of the data file *path*."""
    return beside(path, ".part.sums", ".part.sums")


def digest_of_file(path: str | int) -> str | None:
    """Return what `Sums.digest` returned of the file when it was whole; None when it cannot be read."""
    hasher = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0, closefd=not isinstance(path, int)) as file:
            at = 0
            while data := memoryview(os.pread(file.fileno(), _CHECKED_BYTES, at)):
                for start in range(0, len(data), BLOCK):
                    hasher.update(struct.pack("<I", _sum(data[start : start + BLOCK])))
                at += len(data)
    except OSError:
        return None
    return hasher.hexdigest()


def _sum(data: bytes | memoryview) -> int:
    return xxhash.xxh3_64_intdigest(data) & _SUM_MASK


def _compared(descriptor: int, sums: int, part: ByteRange) -> Iterator[tuple[int, int, int]]:
    """Yield (block, its sum as it was saved, its sum now) of *part*, which is whole blocks."""
    first, count = part.start // BLOCK, -(-len(part) // BLOCK)
    saved = os.pread(sums, count * _SUM_BYTES, first * _SUM_BYTES)
    values = struct.unpack(f"<{count}I", saved.ljust(count * _SUM_BYTES, b"\0"))
    data = memoryview(os.pread(descriptor, len(part), part.start))
    for index, value in enumerate(values):
        yield first + index, value, _sum(data[index * BLOCK : (index + 1) * BLOCK])


def _runs(items: list[tuple[int, int]]) -> Iterator[tuple[int, list[int]]]:
    """Yield (first block, sums) of each stretch of neighbouring blocks in *items*, which are sorted."""
    first, values = 0, list[int]()
    for block, value in items:
        if values and block != first + len(values):
            yield first, values
            values = []
        if not values:
            first = block
        values.append(value)
    if values:
        yield first, values
