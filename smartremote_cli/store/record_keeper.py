"""RecordKeeper: the part record of one open data file, and the order in which both reach the disk.

The record exists before the data file and goes last, so that a data file without a record is complete. A block is
recorded only after its bytes were synced. An unfinished file carries a mark (an extended attribute), so that losing
its record does not make it look complete. tests/store/test_crash.py cuts the power after every step.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from functools import partial

from pyroaring import BitMap

from ..core.blocks import MAX_SIZE, blocks_in
from ..errors import BusyError, DamagedError
from ..protocol.identity import Identity, Match
from .cache_names import clear_data, is_given_up
from .copies import RecordDraft
from .creation import create_files, remove_files
from .data_file import DataFile
from .files import (
    folder_of,
    interruptibly,
    is_at,
    local,
    mark,
    open_nameless,
    replace,
    scratch_of,
    sync_folder,
    synced_folder,
    unmark,
)
from .leftovers import load_record, record_path
from .locks import folder_lock
from .part import Record, encode
from .stamp import stamp, unstamp
from .sums import Sums

log = logging.getLogger("smartremote")


class RecordKeeper:
    """Keeps the record of the data file *file*, at *path*, in which the blocks *bits* are recorded already.

    Other processes record into a `shared` file (the cache) too: a checkpoint keeps what they have recorded. Its data
    is synced before it is recorded as well, but the record is not: losing it costs a second download.
    """

    def __init__(
        self, file: DataFile, path: str, url: str, bits: BitMap, *, sync: bool, shared: bool
    ) -> None:
        self.file = file
        self.url = url
        self.sums = Sums(path)
        self.unverified = BitMap()  # held blocks that may have been changed since they were recorded
        self._path = path
        self._folder = folder_of(path)
        self._sync = sync
        self._shared = shared
        self._saving = threading.Lock()  # one checkpoint at a time; guards the record's path and what follows
        self._has_record = True
        self._saved = 0  # the number of the newest draft that the record knows
        self._mine = bits  # what this process had recorded
        self._recorded: Record | None = None  # whose facts the record keeps until blocks were compared

    def note_written(self, offset: int, data: memoryview) -> None:
        """Sum up *data*, which was written at *offset*."""
        if self._has_record or self._shared:  # an entry that was replaced is read on
            self.sums.note_written(offset, data)

    def keep_facts(self, record: Record) -> None:
        """Let the record say what *record* says of URL and validators until the blocks were compared, or `agree`.

        A mistaken URL must not get into a record that it does not belong to.
        """
        self._recorded = record

    def agree(self) -> None:
        """The blocks are the resource's: from now on the record names its URL and its validators."""
        self._recorded = None

    @property
    def is_agreed(self) -> bool:
        return self._recorded is None

    def allows(self, size: int) -> bool:
        """Return whether the file may be cut to *size* bytes: the record says so, or the blocks were compared."""
        kept = self._recorded
        return kept is None or (kept.identity is not None and kept.identity.size == size)

    def checkpoint(self, draft: RecordDraft) -> None:
        """Make *draft* survive a crash. One that is older than what the record says already is passed over.

        The data of the blocks in it is flushed before the record replaces the old one. A crash at any point costs a
        second download, never a hole taken for data. After a failed sync the old record stands for good.
        """
        with self._saving, self.file.using() as descriptor:
            if not self._has_record or draft.number <= self._saved:
                return
            if draft.compared:
                self.unverified = BitMap()
                self.agree()
            elif not self.is_agreed and draft.bits == self._mine:
                return  # nothing is agreed, and nothing is new
            self._flush()
            self.file.check_length()
            if not self._shared:
                self.file.check_place()
            size = MAX_SIZE if draft.identity.size is None else draft.identity.size
            fresh = self.sums.collect(descriptor, size, draft.bits, draft.bits - self._mine)
            with self._merging(draft) as bits:
                if bits is None:
                    self._has_record = False
                    log.info("%s: the cached copy was replaced by another process", self._path)
                    return
                self.sums.put(fresh)
                kept = self._recorded
                if kept is None:
                    self.write(bits, draft.identity, descriptor)
                else:
                    self.write(bits, kept.identity, descriptor, kept.url)
            self._saved, self._mine = draft.number, draft.bits

    def reset(self, draft: RecordDraft) -> None:
        """Record *draft*, in which nothing is held: every byte will be written anew.

        A shared copy begins a new file, because other processes may be reading the old one.
        """
        if not self._shared:
            self.checkpoint(draft)
            return
        with self._saving, local(self._path):
            file = None
            if self._has_record and self._give_up_names():
                sync_folder(self._folder, self._sync)  # see `Cache.create`
                file = self._begin_anew(draft.identity)
            if file is None:
                self._has_record = False
                file = DataFile(open_nameless(self._folder), self._path)
                if draft.identity.size is not None:
                    file.resize(draft.identity.size)
            old, self.file = self.file, file
            old.close()
            self._saved, self._mine = draft.number, draft.bits

    def _give_up_names(self) -> bool:
        """Remove the names of the shared file, and have the record say so; False where they are another's by now."""
        with folder_lock(self._folder):
            if not is_at(self.file.descriptor, self._path):
                return False
            clear_data(self._path)
            self.write(BitMap(), Identity(None), self.file.descriptor)
            return True

    def _begin_anew(self, identity: Identity) -> DataFile | None:
        """Begin the shared file once more; None where another process was faster."""
        with folder_lock(self._folder):
            if not is_given_up(self._path):
                return None
            return create_files(self._path, self.url, identity, sync=self._sync, shared=True)

    def finish(self, bits: BitMap, identity: Identity, keep: str | None) -> None:
        """Make the whole file durable and remove the mark, then the record: the file is complete.

        A record of *bits* and *identity* may be kept as *keep*. Raises `LocalError`, and leaves all as it is, when
        the file at the path is not the one that was filled.
        """
        with self._saving, self.file.using() as descriptor:
            if not self._has_record:
                return
            interruptibly(partial(self._flush, names=True))
            self.file.check_whole(identity.size)
            digest = None if keep else self._digest_of_sums(descriptor, bits, identity)
            if keep is None:
                # Before the mark goes: what has neither mark nor stamp is compared, at the least.
                stamp(descriptor, self.url, identity, digest, attempts=1)
            unmark(descriptor)
            self._flush(names=True)
            record = record_path(self._path)
            with self._exclusively(), synced_folder(self._folder, self._sync and not self._shared):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(scratch_of(record))
                if keep is None:
                    self.sums.remove()
                else:
                    self.write(bits, identity, descriptor)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(record) if keep is None else os.replace(record, keep)
                self._has_record = False
            if keep is None:  # once more: to take the mark away has changed the file since
                stamp(descriptor, self.url, identity, digest)

    def reopen(self, bits: BitMap, identity: Identity) -> None:
        """Write the record of a finished file again, so that blocks of it may be forgotten."""
        with self._saving, self.file.using() as descriptor, self._exclusively():
            if not self._has_record:
                # The record comes before the mark, and once more after it: marking changes the time that it notes.
                self.write(bits, identity, descriptor)
                unstamp(descriptor)
                mark(descriptor)
                self.write(bits, identity, descriptor)
                self._has_record, self._mine = True, bits

    def write(self, bits: BitMap, identity: Identity | None, descriptor: int, url: str | None = None) -> None:
        """Replace the part record. It says what the data file holds now.

        Where locks do nothing, another process may be replacing that of a shared copy: then its record is as good.
        """
        unchanged_since = None if self.unverified else os.fstat(descriptor).st_ctime_ns
        record = Record(bits, identity, url or self.url, unchanged_since)
        try:
            replace(record_path(self._path), encode(record), sync=self._sync and not self._shared)
        except BusyError:
            if not self._shared:
                raise

    def discard(self) -> None:
        """Remove the data file, then the record: as if it had never been begun."""
        with self._saving:
            remove_files(self.file, self._path, sync=self._sync, with_record=self._has_record)
            self._has_record = False

    def after_fork_in_child(self) -> None:
        """Go on in a child process, where threads that held locks do not exist. The record is the parent's to keep.

        Every process keeps that of a shared copy.
        """
        self.file.after_fork_in_child()
        self._saving = threading.Lock()
        self.sums.after_fork_in_child()
        self._has_record = self._has_record and self._shared

    def _exclusively(self) -> contextlib.AbstractContextManager[None]:
        """Hold other processes off what they share with this one: the last lock to be taken."""
        return folder_lock(self._folder) if self._shared else contextlib.nullcontext()

    def _digest_of_sums(self, descriptor: int, bits: BitMap, identity: Identity) -> str | None:
        """Return the digest over the sums of all blocks; None where some cannot be had."""
        if identity.size is None:
            return None
        self.sums.save(descriptor, identity.size, bits, bits - self._mine)
        return self.sums.digest(blocks_in(identity.size))

    def _flush(self, *, names: bool = False) -> None:
        if self._sync:
            self.file.sync(names=names)

    @contextlib.contextmanager
    def _merging(self, draft: RecordDraft) -> Iterator[BitMap | None]:
        """Yield the blocks to record, while other processes' checkpoints of a shared copy are held off.

        What others have recorded is kept, save what this process has found damaged. None when another process found
        the resource changed and began anew: there is nothing to record.
        """
        if not self._shared:
            yield draft.bits
            return
        with folder_lock(self._folder):
            try:
                record = load_record(self._path)
            except DamagedError:
                record = None
            known = None if record is None else record.identity
            other = known is not None and known.compare(draft.identity) is Match.DIFFERENT
            if other or not is_at(self.file.descriptor, self._path):
                yield None
            elif record is None:
                yield draft.bits
            else:
                yield (record.bits - (self._mine - draft.bits)) | draft.bits
