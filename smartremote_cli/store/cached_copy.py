"""CachedCopy: the copy in an entry of the cache, which other processes use too; memory where the entry takes no more.

Trouble with the entry (a full disk, the limit, a failed sync) costs reuse, and never the bytes: what is written from
then on goes to memory. What another run or process has left is held against its sums before it is read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from pyroaring import BitMap

from ..core.blocks import BLOCK, EVERY_BYTE, MAX_BLOCKS, MAX_SIZE, BlockMap
from ..core.ranges import ByteRange
from ..errors import BusyError, LocalError, SmartRemoteError
from ..protocol.identity import Identity
from .budget import CHARGE_PER_BLOCK, Budget, NoBudget
from .copies import RecordDraft
from .data_file import DataFile
from .local_copy import LocalCopy
from .memory_copy import MAX_IN_MEMORY, MemoryCopy
from .part import Record

# Room is taken and used for this many bytes at a time, so that a small cache takes what has room in it. By judgement:
# small beside the caches in use, and large beside a system call.
_WRITTEN_BYTES = 16 * BLOCK


class CachedCopy(LocalCopy):
    """A shared `LocalCopy` that goes on in memory. *budget* grants room, *told* hears once of what was in the way."""

    def __init__(
        self,
        path: str,
        url: str,
        identity: Identity,
        blocks: BlockMap,
        file: DataFile,
        *,
        sync: bool = True,
        shared: bool = True,
    ) -> None:
        super().__init__(path, url, identity, blocks, file, sync=sync, shared=True)
        self.budget: Budget = NoBudget()
        self.told: Callable[[SmartRemoteError], None] = lambda error: None
        self._memory = MemoryCopy(identity)
        self._guard = threading.Lock()  # guards what follows; nothing is read or written with it held
        self._spills = False  # the entry takes no more
        self._abandoned = False  # nor is it recorded
        self._in_memory = BitMap()
        self._charged = blocks.bits  # blocks that have room on the disk
        self._unchecked = blocks.bits  # held blocks that were not compared with their sums
        self._damaged = BitMap()

    # Writing

    def write(self, offset: int, data: memoryview) -> None:
        """Write all of *data* at *offset*: to the entry, or to memory once the entry takes no more."""
        while data:
            count = _WRITTEN_BYTES - offset % _WRITTEN_BYTES
            self._write(offset, data[:count])
            offset, data = offset + count, data[count:]

    def _write(self, offset: int, data: memoryview) -> None:
        touched = BitMap(range(offset // BLOCK, -(-(offset + len(data)) // BLOCK)))
        with self._guard:
            self._unchecked -= touched
            self._damaged -= touched
            spills, new = self._spills, touched - self._charged
            self._charged |= new
        if not spills:
            try:
                self._write_entry(offset, data, len(new) * CHARGE_PER_BLOCK)
                return
            except (LocalError, BusyError) as error:
                self._spill(error)
        self._write_memory(offset, data)

    def _write_entry(self, offset: int, data: memoryview, charge: int) -> None:
        if charge:
            self.budget.take(charge)
        try:
            super().write(offset, data)
        finally:
            if charge:
                self.budget.wrote(charge)

    def _write_memory(self, offset: int, data: memoryview) -> None:
        while data:
            block, start = divmod(offset, BLOCK)
            count = min(BLOCK - start, len(data))
            with self._guard:
                is_new = block not in self._in_memory
            if is_new and start:
                self._memory.write(block * BLOCK, memoryview(self._beginning(block, offset)))
            self._memory.write(offset, data[:count])
            with self._guard:
                self._in_memory.add(block)
            offset, data = offset + count, data[count:]

    def _beginning(self, block: int, stop: int) -> bytes:
        """Return the bytes of *block* up to *stop*, which were written to the entry."""
        data = self._keeper.sums.written_beginning(block, self._file.read)
        count = stop - block * BLOCK
        if len(data) < count:
            raise LocalError(
                self.path, "the cache has lost what was just written", hint="run with --no-cache"
            )
        return data[:count]

    def _spill(self, error: SmartRemoteError, *, abandon: bool = False) -> None:
        """Write to memory from now on. With *abandon* the entry is not believed any more, nor recorded."""
        with self._guard:
            first = not self._spills
            self._spills = True
            self._abandoned = self._abandoned or abandon
            self.max_bytes = MAX_IN_MEMORY
        if first:
            self.told(error)

    @property
    def bytes_in_memory(self) -> int:
        with self._guard:
            return len(self._in_memory) * BLOCK

    def forget(self, part: ByteRange) -> BitMap:
        """Free the blocks of *part* that are in memory; the others cost none."""
        blocks = BitMap(range(part.start // BLOCK, -(-part.stop // BLOCK)))
        with self._guard:
            freed = self._in_memory & blocks
            self._in_memory -= freed
        for run in BlockMap.fitting(MAX_SIZE, freed).present():
            self._memory.forget(run)
        return freed

    # Reading

    def read(self, wanted: ByteRange) -> bytes:
        """Return the bytes of *wanted*, fewer where they are damaged, or were let go of meanwhile."""
        self._check(wanted)
        with self._guard:
            damaged, in_memory = self._damaged.copy(), self._in_memory.copy()
        parts, offset = list[bytes](), wanted.start
        while offset < wanted.stop and offset // BLOCK not in damaged:
            stop = min(_end_of_run(offset // BLOCK, in_memory, damaged) * BLOCK, wanted.stop)
            part = ByteRange(offset, stop)
            data = self._memory.read(part) if offset // BLOCK in in_memory else self._read_entry(part)
            parts.append(data)
            offset += len(data)
            if offset < stop:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_entry(self, part: ByteRange) -> bytes:
        try:
            data = self._file.read(part)
        except LocalError:
            data = b""
        end = part.start + len(data)
        if self.identity.size is not None and end < min(part.stop, self.identity.size):
            with self._guard:  # the file was cut, or cannot be read
                self._damaged |= BitMap(range(end // BLOCK, -(-part.stop // BLOCK)))
        return data

    def _check(self, wanted: ByteRange) -> None:
        """Compare the blocks that *wanted* touches with their sums, once for each of them."""
        touched = BitMap()
        touched.add_range(wanted.start // BLOCK, -(-wanted.stop // BLOCK))
        with self._guard:
            blocks = self._unchecked & touched
        if not blocks:
            return
        size = MAX_SIZE if self.identity.size is None else self.identity.size
        try:
            with self._file.using() as descriptor:
                wrong, unknown = self._keeper.sums.check(descriptor, BlockMap.fitting(size, blocks))
        except LocalError:
            wrong, unknown = blocks, BitMap()
        with self._guard:
            self._damaged |= (wrong | unknown) & self._unchecked
            self._unchecked -= blocks

    def damaged(self, *, everything: bool = False) -> BitMap:
        if everything:
            self._check(EVERY_BYTE)
        with self._guard:  # they stay damaged until they are written again
            return self._damaged.copy()

    def _verify_blocks(self, record: Record, tell: Callable[[str], None]) -> None:
        """Leave the comparison for when a block is read, and have the record say what is here."""
        if self.blocks.bits != record.bits:
            self._keeper.write(self.blocks.bits, record.identity, self.descriptor, record.url)

    # The record

    def settle(self, identity: Identity) -> None:
        """Take *identity*, as far as it is true of the blocks that are held already.

        Weak validators do not become strong for blocks that were fetched under them.
        """
        if self.blocks.held:
            identity = _of_both(self.identity, identity)
        try:
            super().settle(identity)
        except LocalError as error:
            self._spill(error)

    def draft_record(self) -> RecordDraft:
        draft = super().draft_record()
        with self._guard:
            return draft._replace(bits=draft.bits - self._in_memory)

    def checkpoint(self, draft: RecordDraft) -> None:
        """Make *draft* survive a crash, where that is possible."""
        if self._abandoned:
            return
        try:
            super().checkpoint(draft)
        except BusyError:
            pass  # another process does not let go of the lock: the next checkpoint may have it
        except LocalError as error:
            self._distrust_entry(error)

    def _distrust_entry(self, error: LocalError) -> None:
        """Hold every block against its sum again: after a failed sync the system may have lost some."""
        self._spill(error, abandon=True)
        with self._guard:
            blocks = self.blocks.bits - self._in_memory
        try:
            with self._file.using() as descriptor:
                size = MAX_SIZE if self.identity.size is None else self.identity.size
                self._keeper.sums.save(descriptor, size, blocks, BitMap())
        except LocalError:
            pass
        with self._guard:
            self._unchecked |= blocks

    def reset(self, draft: RecordDraft) -> None:
        """Record *draft*, in which nothing is held, in a new file; in memory where that cannot be."""
        with self._guard:
            in_memory, self._in_memory = self._in_memory, BitMap()
            self._charged, self._unchecked, self._damaged = BitMap(), BitMap(), BitMap()
        for run in BlockMap.fitting(MAX_SIZE, in_memory).present():
            self._memory.forget(run)
        if self._abandoned:
            return
        try:
            super().reset(draft)
        except (
            LocalError,
            BusyError,
        ) as error:  # what the record says is true of the entry, which stays as it is
            self._spill(error, abandon=True)

    def finish(self, keep: str | None = None) -> None:
        if self._abandoned:
            return
        try:
            super().finish(keep)
        except BusyError:
            pass  # the part record says the same
        except LocalError as error:
            self._distrust_entry(error)

    def reopen_record(self) -> None:
        if self._abandoned:
            return
        try:
            super().reopen_record()
        except (BusyError, LocalError) as error:
            self._spill(error, abandon=True)

    def after_fork_in_child(self) -> None:
        super().after_fork_in_child()
        self._guard = threading.Lock()
        self._memory.after_fork_in_child()
        self.budget.after_fork_in_child()


def _end_of_run(block: int, in_memory: BitMap, damaged: BitMap) -> int:
    """Return the first block after *block* that is kept elsewhere, or is damaged."""
    stop = block + 1
    if block in in_memory:
        while stop in in_memory and stop not in damaged:
            stop += 1
        return stop
    return min(_next(in_memory, stop), _next(damaged, stop))


def _next(bits: BitMap, block: int) -> int:
    try:
        return bits.next_set_bit(block)
    except ValueError:  # pyroaring raises it when no bit follows
        return MAX_BLOCKS


def _of_both(held: Identity, now: Identity) -> Identity:
    """Return what is true of *held* blocks and of those that come *now*."""
    size = held.size if now.size is None else now.size
    etag = now.etag if held.etag == now.etag else None
    modified = now.last_modified if held.last_modified == now.last_modified else None
    return replace(now, size=size, etag=etag, last_modified=modified, settled=held.settled and now.settled)
