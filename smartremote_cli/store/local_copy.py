"""LocalCopy: a sparse data file and its part record, locked: created, reopened and verified, read and written.

What makes its progress durable, and in which order, is in `record_keeper`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Self

from pyroaring import BitMap

from ..core.blocks import BLOCK, MAX_SIZE, BlockMap
from ..core.ranges import ByteRange
from ..errors import LocalError
from ..protocol.identity import Identity
from .copies import RecordDraft
from .creation import create_files
from .data_file import DataFile
from .files import local, mark
from .leftovers import blocks_in_file, record_path
from .locks import is_alone, open_locked
from .part import Record
from .record_keeper import RecordKeeper
from .stamp import unstamp

# Tell the user before reading more than this many bytes again. By judgement: a disk that reads 200 MB/s is silent
# for five seconds then.
_SILENT_CHECK_BYTES = 1 << 30

log = logging.getLogger("smartremote")


class LocalCopy:
    """One data file with its record, open and locked. *path* and *url* are as the user knows them.

    The owner guards `blocks`; `write` and `read` are positional and need no lock. `shared` copies (the cache) are
    locked for use, not for ownership, and other processes record their blocks too.
    """

    is_durable = True
    is_foreign = False
    max_bytes: int | None = None

    def __init__(
        self,
        path: str,
        url: str,
        identity: Identity,
        blocks: BlockMap,
        file: DataFile,
        *,
        sync: bool = True,
        shared: bool = False,
    ) -> None:
        self.path = path
        self.identity = identity
        self.blocks = blocks
        self.shared = shared
        self._drafts = 0  # guarded as `blocks` is
        self._keeper = RecordKeeper(file, path, url, blocks.bits, sync=sync, shared=shared)

    @classmethod
    def create(
        cls,
        path: str,
        url: str,
        identity: Identity,
        *,
        sync: bool = True,
        shared: bool = False,
        overwrite: bool = False,
    ) -> Self:
        """Make the record, then the data file, marked and locked. Raises what `create_files` does."""
        blocks = BlockMap(MAX_SIZE if identity.size is None else identity.size)
        file = create_files(path, url, identity, sync=sync, shared=shared, overwrite=overwrite)
        return cls(path, url, identity, blocks, file, sync=sync, shared=shared)

    @classmethod
    def reopen(
        cls,
        path: str,
        url: str,
        record: Record,
        *,
        sync: bool = True,
        shared: bool = False,
        tell: Callable[[str], None] = log.info,
    ) -> Self:
        """Open the data file that *record* speaks of, making it where it is missing.

        Blocks that do not fit the file, blocks that lie in holes, and blocks that are not what they were, are not
        held any more, and the record says so before the file may grow again; *tell* gets a word for the user. A
        record without a size takes the data file's until the server states one. Raises as `create` does.
        """
        with local(path):
            descriptor = open_locked(path, os.O_CREAT, shared=shared)
            try:
                blocks = blocks_in_file(descriptor, record)
                identity = record.identity or Identity(None)
                file = DataFile(descriptor, path)
                copy = cls(path, url, identity, blocks, file, sync=sync, shared=shared)
                if not shared:
                    copy._keeper.keep_facts(record)
                copy._verify_blocks(record, tell)
            except BaseException:
                os.close(descriptor)
                raise
        return copy

    @property
    def url(self) -> str:
        return self._keeper.url

    @url.setter
    def url(self, url: str) -> None:
        self._keeper.url = url

    @property
    def is_agreed(self) -> bool:
        """Whether the blocks are known to be the resource's. Until then the record says what it said."""
        return self._keeper.is_agreed

    def agree(self) -> None:
        """The blocks are the resource's: let the record say so, and cut what the file has too much."""
        self._keeper.agree()
        size = self.identity.size
        if size is not None and os.fstat(self.descriptor).st_size > size:
            self._file.resize(size)

    @property
    def record(self) -> str:
        return record_path(self.path)

    @property
    def descriptor(self) -> int:
        return self._file.descriptor

    @property
    def unverified(self) -> BitMap:
        """Held blocks that may have been changed since they were recorded: no sum tells."""
        return self._keeper.unverified

    @property
    def _file(self) -> DataFile:
        return self._keeper.file

    def stat(self) -> os.stat_result:
        """Return the stat result of the data file, also when it has lost its name; `ClosedError` when it is closed."""
        with self._file.using() as descriptor:
            return os.fstat(descriptor)

    def settle(self, identity: Identity) -> None:
        """Take *identity* as what the held blocks are of. The file gets its size; the map loses what lies past it.

        The map also loses what was cut off the file meanwhile. The owner holds the guard of `blocks`.
        """
        self.identity = identity
        if identity.size is None:
            return
        if identity.size != self.blocks.size:
            self.blocks = BlockMap.fitting(identity.size, self.blocks.bits)
        with self._file.using():
            # Else it may be another file's descriptor, where this one was closed meanwhile.
            left = self._file.cut_to
        if left is not None:
            self.blocks.forget(ByteRange(left // BLOCK * BLOCK, MAX_SIZE))
        if self._keeper.allows(identity.size) or os.fstat(self.descriptor).st_size <= identity.size:
            self._file.resize(identity.size)  # else it is cut once the blocks are known to be the resource's

    def write(self, offset: int, data: memoryview) -> None:
        """Write all of *data* at *offset*; `LocalError` when the disk is full, or the file was cut meanwhile."""
        self._file.write(offset, data, self._keeper.note_written)

    def read(self, wanted: ByteRange) -> bytes:
        """Return the bytes of *wanted*; fewer only where a resource of unknown size ends.

        Raises `LocalError` when the file is shorter than the resource: another program has cut it.
        """
        data = self._file.read(wanted)
        stop = wanted.start + len(data)
        if self.identity.size is not None and stop < min(wanted.stop, self.identity.size):
            raise LocalError(
                self.path, f"the file was cut at {stop} bytes", hint="run the same command again"
            )
        return data

    def draft_record(self) -> RecordDraft:
        """Return which blocks are written now. The owner holds the guard of `blocks`."""
        self._drafts += 1
        return RecordDraft(self._drafts, self.blocks.bits, self.identity)

    def checkpoint(self, draft: RecordDraft) -> None:
        """Make *draft* survive a crash: sync the data, then replace the record."""
        if draft.compared and not self.is_agreed:
            self.agree()
        self._keeper.checkpoint(draft)

    def reset(self, draft: RecordDraft) -> None:
        """Record *draft*, in which nothing is held: every byte will be written anew."""
        self._keeper.reset(draft)

    @property
    def bytes_in_memory(self) -> int:
        return 0

    def forget(self, part: ByteRange) -> BitMap:
        """Do nothing: what is missing is written over."""
        return BitMap()

    def damaged(self, *, everything: bool = False) -> BitMap:
        """Return none: what was changed since the last run was found when this was opened."""
        return BitMap()

    def finish(self, keep: str | None = None) -> None:
        """Make the whole file durable and remove the mark, then the record, which may be kept as *keep*.

        Raises `LocalError`, and leaves all as it is, when the file at `path` is not the one that was filled.
        """
        if not self.is_agreed:
            self.agree()
        self._keeper.finish(self.blocks.bits, self.identity, keep)

    def reopen_record(self) -> None:
        """Write the record of a finished copy again, so that blocks of it may be forgotten."""
        self._keeper.reopen(self.blocks.bits, self.identity)

    def close(self) -> None:
        """Close the file and let go of the lock, when the last write or sync under way is over. Never waits."""
        self._file.close()

    def after_fork_in_child(self) -> None:
        """Go on in a child process, where threads that held locks do not exist. The record is the parent's to keep."""
        self._keeper.after_fork_in_child()

    def discard(self) -> None:
        """Remove the data file, then the record, and close: as if it had never been begun."""
        self._keeper.discard()
        self.close()

    def check_room(self, missing: int) -> None:
        """Raise `LocalError` when the file system has visibly less than *missing* bytes of room."""
        self._file.check_room(missing, self.blocks.bytes_held)

    def _verify_blocks(self, record: Record, tell: Callable[[str], None]) -> None:
        """Find out which recorded blocks are what they were: all, when the file was not touched since *record*.

        A block that differs from its sum is not held; nor is one of the cache without a known sum. While other
        processes use the cached copy it changes all the time, and they have checked it.
        """
        descriptor, blocks, keeper = self.descriptor, self.blocks, self._keeper
        known = record.stamp == os.fstat(descriptor).st_ctime_ns or (self.shared and not is_alone(descriptor))
        unstamp(descriptor)
        mark(descriptor)
        if blocks.held and not known:
            if blocks.bytes_held > _SILENT_CHECK_BYTES:
                tell(f"{self.path}: checking the {blocks.bytes_held} bytes that are here")
            wrong, unknown = keeper.sums.check(descriptor, blocks)
            if wrong:
                tell(f"{self.path}: was changed since the last run: {_count(wrong)} to be fetched again")
            blocks.drop(wrong | unknown if self.shared else wrong)
            keeper.unverified = BitMap() if self.shared else unknown
        stamped = record.identity is None or record.stamp == os.fstat(descriptor).st_ctime_ns
        if not stamped or blocks.bits != record.bits or not os.path.lexists(self.record):
            keeper.write(blocks.bits, record.identity, descriptor, record.url)


def _count(blocks: BitMap) -> str:
    return "one block is" if len(blocks) == 1 else f"{len(blocks)} blocks are"
