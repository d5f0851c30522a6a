"""LocalCopy: a sparse data file, its part record, the lock, and the checkpoint that makes progress durable.

Order on disk is the whole point. The record exists before the data file and goes last, so that a data file
without a record is complete; a block is recorded only after its bytes were synced; an unfinished file carries a
mark (an extended attribute), so that losing its record does not make it look complete. tests/store/test_crash.py cuts
the power after every step.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator
from functools import partial

from pyroaring import BitMap

from ..core.blocks import BLOCK, MAX_SIZE, BlockMap
from ..core.ranges import ByteRange
from ..errors import BusyError, DamagedError, LocalError
from ..protocol.identity import Identity, Match
from .copies import RecordDraft
from .data_file import DataFile
from .files import (
    MAX_NAME,
    folder_lock,
    folder_of,
    interruptibly,
    is_alone,
    is_at,
    is_marked,
    local,
    mark,
    open_locked,
    open_nameless,
    remove,
    replace,
    scratch_of,
    sync_folder,
    synced_folder,
    unmark,
)
from .leftovers import blocks_in_file, load_record, record_path
from .part import Record, encode
from .sums import Sums

_LONG = 1 << 30  # bytes: who has to wait until so many are read again is told why

log = logging.getLogger("smartremote")


class LocalCopy:
    """One data file with its record, open and locked. *path* and *url* are as the user knows them.

    The owner guards `blocks`; `write` and `read` are positional and need no lock. `shared` copies (the cache)
    are locked for use, not for ownership: their checkpoints take over what other processes recorded. Their data is
    synced before it is recorded as well, but the record is not: losing it costs a second download.
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
        descriptor: int,
        *,
        sync: bool = True,
        shared: bool = False,
    ) -> None:
        self.path = path
        self.url = url
        self.identity = identity
        self.blocks = blocks
        self.sync = sync
        self.shared = shared
        self._file = DataFile(descriptor, path)
        self._folder = folder_of(path)
        self._snapshots = 0  # guarded as `blocks` is
        self._saving = threading.Lock()  # one checkpoint at a time; guards the record's path and what follows
        self._has_record = True
        self._saved = 0  # the number of the newest draft that the record knows
        self._mine = blocks.bits  # what this copy had recorded
        self._sums = Sums(path)
        self.unverified = BitMap()  # held blocks that may have been changed since they were recorded

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
    ) -> LocalCopy:
        """Make the record, then the data file, marked and locked.

        Raises `BusyError` when another process got there first, `LocalError` for a full disk or no permission.
        With *overwrite* a file of that name is replaced by a new one, of the same mode: its other names keep the
        old bytes, and so does a process that has it open.
        """
        _check_name(path)
        size = identity.size
        blocks = BlockMap(MAX_SIZE if size is None else size)
        target = os.path.realpath(path) if overwrite else path
        with local(path), contextlib.ExitStack() as stack:
            old = stack.enter_context(_standing(target)) if overwrite else None
            old_stands = old is not None
            empty = encode(Record(BitMap(), identity, url))
            mine = not os.path.lexists(record_path(path))
            replace(record_path(path), empty, sync=sync and not shared, new=not overwrite)
            try:
                if old is not None:
                    os.unlink(target)
                    old_stands = False
                descriptor = open_locked(target, os.O_CREAT | os.O_EXCL, shared=shared)
            except BaseException as error:
                # The record is ours, unless another process has found it and begun the data file. A file that could
                # not be replaced must not have one beside it.
                if mine and (old_stands if overwrite else not is_marked(path)):
                    with contextlib.suppress(OSError):
                        os.unlink(record_path(path))
                if isinstance(error, FileExistsError):
                    raise BusyError(path, "another process has just begun this file") from error
                raise
        copy = cls(path, url, identity, blocks, descriptor, sync=sync, shared=shared)
        try:
            copy._begin(None if old is None else stat.S_IMODE(old.st_mode))
        except BaseException:
            copy.discard()
            raise
        return copy

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
    ) -> LocalCopy:
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
                copy = cls(path, url, identity, blocks, descriptor, sync=sync, shared=shared)
                copy._verify_blocks(record, tell)
            except BaseException:
                os.close(descriptor)
                raise
        return copy

    @property
    def record(self) -> str:
        return record_path(self.path)

    @property
    def descriptor(self) -> int:
        return self._file.descriptor

    def stat(self) -> os.stat_result:
        return os.fstat(self.descriptor)

    def settle(self, identity: Identity) -> None:
        """Take *identity* as what the held blocks are of; the file gets the size, and the map loses what lies past it.

        So it does with what somebody has cut off meanwhile. The owner holds the guard of `blocks`.
        """
        self.identity = identity
        if identity.size is None:
            return
        if identity.size != self.blocks.size:
            self.blocks = BlockMap.fitting(identity.size, self.blocks.bits)
        left = self._file.cut_to
        if left is not None:
            self.blocks.forget(ByteRange(left // BLOCK * BLOCK, MAX_SIZE))
        self._file.resize(identity.size)

    def write(self, offset: int, data: memoryview) -> None:
        """Write all of *data* at *offset*; `LocalError` when the disk is full, or somebody has cut the file."""
        self._file.write(offset, data, self._note)

    def _note(self, offset: int, data: memoryview) -> None:
        if self._has_record:
            self._sums.wrote(offset, data)

    def read(self, wanted: ByteRange) -> bytes:
        """Return the bytes of *wanted*; fewer only where a resource of unknown size ends.

        Raises `LocalError` when the file is shorter than the resource: somebody has cut it.
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
        self._snapshots += 1
        return RecordDraft(self._snapshots, self.blocks.bits, self.identity)

    def checkpoint(self, draft: RecordDraft) -> None:
        """Make *draft* survive a crash. One that is older than what the record says already is passed over.

        The data it vouches for is flushed before the record replaces the old one. A crash at any point costs a
        second download, never a hole taken for data. After a failed sync the old record stands for good.
        """
        with self._saving, self._file.using() as descriptor:
            if not self._has_record or draft.number <= self._saved:
                return
            if draft.compared:
                self.unverified = BitMap()
            self._flush()
            self._file.check_length()
            if not self.shared:
                self._file.check_place()
            with self._merging(draft) as bits:
                if bits is None:
                    self._has_record = False
                    log.info("%s: the cached copy was replaced by another process", self.path)
                    return
                size = MAX_SIZE if draft.identity.size is None else draft.identity.size
                self._sums.save(descriptor, size, draft.bits, draft.bits - self._mine)
                self._record(bits, draft.identity, descriptor)
            self._saved, self._mine = draft.number, draft.bits

    def reset(self, draft: RecordDraft) -> None:
        """Record *draft*, in which nothing is held: every byte will be written anew.

        A shared copy begins a new file, for other processes may be reading the old one.
        """
        if not self.shared:
            self.checkpoint(draft)
            return
        with self._saving, local(self.path), folder_lock(self._folder):
            old = self._file
            if self._has_record and is_at(old.descriptor, self.path):
                remove(self.path, self.record)
                new = LocalCopy.create(self.path, self.url, draft.identity, sync=self.sync, shared=True)
                self._file = new._file
            else:
                self._has_record = False
                self._file = DataFile(open_nameless(self._folder), self.path)
                if draft.identity.size is not None:
                    self._file.resize(draft.identity.size)
            old.close()
            self._saved, self._mine = draft.number, draft.bits

    def forget(self, part: ByteRange) -> None:
        """Do nothing: what is missing is written over."""

    def finish(self, keep: str | None = None) -> None:
        """Make the whole file durable and remove the mark, then the record: the file is complete.

        The record may be kept as *keep*. Raises `LocalError`, and leaves all as it is, when the file at `path` is
        not the one that was filled.
        """
        with self._saving, self._file.using() as descriptor:
            if not self._has_record:
                return
            interruptibly(partial(self._flush, names=True))
            self._file.check_whole(self.identity.size)
            unmark(descriptor)
            self._flush(names=True)
            with synced_folder(self._folder, self.sync):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(scratch_of(self.record))
                if keep is None:
                    self._sums.remove()
                else:
                    self._record(self.blocks.bits, self.identity, descriptor)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.record) if keep is None else os.replace(self.record, keep)
                self._has_record = False

    def reopen_record(self) -> None:
        """Write the record of a finished copy again, so that blocks of it may be forgotten."""
        with self._saving, self._file.using() as descriptor:
            if not self._has_record:
                held = self.blocks.bits
                self._record(held, self.identity, descriptor)
                mark(descriptor)
                self._record(held, self.identity, descriptor)
                self._has_record, self._mine = True, held

    def close(self) -> None:
        """Close the file and let go of the lock, when the last write or sync under way is over. Never waits."""
        self._file.close()

    def after_fork_in_child(self) -> None:
        """Go on in a child process: locks may be held by threads that are not here, and the record is the parent's.

        A shared copy's record is everybody's.
        """
        self._file.after_fork_in_child()
        self._saving = threading.Lock()
        self._sums.after_fork_in_child()
        self._has_record = self._has_record and self.shared

    def discard(self) -> None:
        """Remove the data file, then the record, and close: as if it had never been begun."""
        with self._saving, contextlib.suppress(OSError):
            if is_at(self.descriptor, self.path):
                os.unlink(os.path.realpath(self.path))
                sync_folder(self._folder, self.sync)
            if self._has_record:
                self._has_record = False
                self._sums.remove()
                os.unlink(self.record)
        self.close()

    def check_room(self, missing: int) -> None:
        """Raise `LocalError` when the file system has visibly less than *missing* bytes of room."""
        self._file.check_room(missing, self.blocks.bytes_held)

    @property
    def _syncs_names(self) -> bool:
        return self.sync and not self.shared

    def _record(
        self, bits: BitMap, identity: Identity | None, descriptor: int, url: str | None = None
    ) -> None:
        """Replace the part record. It vouches for the data file as that is now.

        Where locks do nothing, another process may be replacing that of a shared copy: then its record is as good.
        """
        stamp = None if self.unverified else os.fstat(descriptor).st_ctime_ns
        record = Record(bits, identity, url or self.url, stamp)
        try:
            replace(self.record, encode(record), sync=self._syncs_names)
        except BusyError:
            if not self.shared:
                raise

    def _verify_blocks(self, record: Record, tell: Callable[[str], None]) -> None:
        """Find out which recorded blocks are what they were: all when nobody has touched the file since *record*.

        A block that differs from its sum is not held; nor is one of the cache without a known sum. While other
        processes use the cached copy it changes all the time, and they have checked it.
        """
        descriptor, blocks = self.descriptor, self.blocks
        known = record.stamp == os.fstat(descriptor).st_ctime_ns or (self.shared and not is_alone(descriptor))
        mark(descriptor)
        if blocks.held and not known:
            if blocks.bytes_held > _LONG:
                tell(f"{self.path}: checking the {blocks.bytes_held} bytes that are here")
            wrong, unknown = self._sums.check(descriptor, blocks)
            if wrong:
                tell(f"{self.path}: was changed since the last run: {_count(wrong)} to be fetched again")
            blocks.drop(wrong | unknown if self.shared else wrong)
            self.unverified = BitMap() if self.shared else unknown
        stamped = record.identity is None or record.stamp == os.fstat(descriptor).st_ctime_ns
        if not stamped or blocks.bits != record.bits or not os.path.lexists(self.record):
            self._record(blocks.bits, record.identity, descriptor, record.url)

    def _begin(self, mode: int | None) -> None:
        with self._file.using() as descriptor:
            self._sums.remove()
            if mode is not None:
                with contextlib.suppress(OSError):
                    os.fchmod(descriptor, mode)
            mark(descriptor)
            if self.identity.size is not None:
                self._file.resize(self.identity.size)
            sync_folder(self._folder, self._syncs_names)

    def _flush(self, *, names: bool = False) -> None:
        if self.sync:
            self._file.sync(names=names)

    @contextlib.contextmanager
    def _merging(self, draft: RecordDraft) -> Iterator[BitMap | None]:
        """Yield the blocks to record, while other processes' checkpoints of a shared copy are held off.

        What others have recorded is kept, save what this copy has found damaged. None when another process found
        the resource changed and began anew: there is nothing to record.
        """
        if not self.shared:
            yield draft.bits
            return
        with folder_lock(self._folder):
            try:
                record = load_record(self.path)
            except DamagedError:
                record = None
            known = None if record is None else record.identity
            other = known is not None and known.compare(draft.identity) is Match.DIFFERENT
            if other or not is_at(self.descriptor, self.path):
                yield None
            elif record is None:
                yield draft.bits
            else:
                yield (record.bits - (self._mine - draft.bits)) | draft.bits


@contextlib.contextmanager
def _standing(path: str) -> Iterator[os.stat_result | None]:
    """Lock the file that is to be replaced, and yield its stat result; None when there is none."""
    try:
        descriptor = open_locked(path, 0)
    except FileNotFoundError:
        yield None
        return
    try:
        yield os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _count(blocks: BitMap) -> str:
    return "one block is" if len(blocks) == 1 else f"{len(blocks)} blocks are"


def _check_name(path: str) -> None:
    if len(os.fsencode(os.path.basename(record_path(path)))) > MAX_NAME:
        raise LocalError(path, "the name is too long for a part record beside it (250 bytes)")
