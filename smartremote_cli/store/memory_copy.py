"""MemoryCopy: the blocks of a resource in memory."""

from __future__ import annotations

import os
import threading

from pyroaring import BitMap

from ..core.blocks import BLOCK, MAX_SIZE, BlockMap
from ..core.ranges import ByteRange
from ..protocol.identity import Identity
from .copies import RecordDraft

# Bytes that a copy in memory may hold. By judgement: two read-ahead windows of 16 MiB fit in, and the process stays
# within 100 MiB, the bound of docs/performance.md. What goes beyond is fetched again when it is read again.
MAX_IN_MEMORY = 32 * 1024 * 1024


class MemoryCopy:
    """The blocks of a resource in memory: nothing on disk, no record. Its owner keeps it below `max_bytes`."""

    is_durable = False
    is_foreign = False
    max_bytes: int | None = MAX_IN_MEMORY

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.blocks = BlockMap(MAX_SIZE if identity.size is None else identity.size)
        self._lock = threading.Lock()  # guards _blocks
        self._blocks: dict[int, bytearray] = {}

    def settle(self, identity: Identity) -> None:
        self.identity = identity
        if identity.size is not None and identity.size != self.blocks.size:
            self.blocks = BlockMap.fitting(identity.size, self.blocks.bits)

    def draft_record(self) -> RecordDraft:
        return RecordDraft(0, self.blocks.bits, self.identity)

    def checkpoint(self, draft: RecordDraft) -> None:
        """Do nothing: memory survives no crash."""

    def reset(self, draft: RecordDraft) -> None:
        """Drop everything."""
        with self._lock:
            self._blocks.clear()

    def write(self, offset: int, data: memoryview) -> None:
        while data:
            block, start = divmod(offset, BLOCK)
            count = min(BLOCK - start, len(data))
            with self._lock:
                content = self._blocks.setdefault(block, bytearray())
                if len(content) < start + count:
                    content.extend(bytes(start + count - len(content)))
                content[start : start + count] = data[:count]
            data, offset = data[count:], offset + count

    def read(self, wanted: ByteRange) -> bytes:
        """Return the bytes of *wanted* up to the first that is missing."""
        parts = []
        offset = wanted.start
        while offset < wanted.stop:
            block, start = divmod(offset, BLOCK)
            count = min(BLOCK - start, wanted.stop - offset)
            with self._lock:
                part = bytes(memoryview(self._blocks.get(block, b""))[start : start + count])
            parts.append(part)
            if len(part) < count:
                break
            offset += count
        return b"".join(parts)

    def stat(self) -> os.stat_result | None:
        """Return None: there is no file."""
        return None

    def after_fork_in_child(self) -> None:
        """Go on in a child process, where a thread that held the lock does not exist."""
        self._lock = threading.Lock()

    @property
    def bytes_in_memory(self) -> int:
        return self.blocks.held * BLOCK

    def damaged(self, *, everything: bool = False) -> BitMap:
        """Return none: memory keeps what it was given."""
        return BitMap()

    def forget(self, part: ByteRange) -> BitMap:
        """Drop the blocks that *part* touches; the owner drops them in `blocks`."""
        first, stop = part.start // BLOCK, -(-part.stop // BLOCK)
        with self._lock:
            for block in range(first, stop):
                self._blocks.pop(block, None)
        return BitMap(range(first, stop))
