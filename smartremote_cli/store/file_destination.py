"""FileDestination: one named file, which may be absent, partial, complete, or somebody else's."""

from __future__ import annotations

import contextlib
import os

from ..core.blocks import BLOCK, MAX_SIZE, BlockMap
from ..core.ranges import ByteRange
from ..core.urls import file_name
from ..errors import (
    BusyError,
    DamagedError,
    ForeignFileError,
    LocalError,
    RemoteChangedError,
    SmartRemoteError,
)
from ..events import Listener, Notice, ignore
from ..plan import planner
from ..protocol.answers import Asked
from ..protocol.identity import Identity, Match
from .cache import Cache
from .copies import Copy, Head, Opened, RecordDraft
from .data_file import DataFile
from .destinations import FIRST, first_of_nothing, meet_again
from .files import folder_of, holes, local
from .leftovers import inspect, load_record
from .local_copy import LocalCopy
from .part import Record
from .resume import OnDisk, Start, decide

# How many held blocks are compared where nothing else proves that they are of this resource,
SAMPLES = 8
LOOKS = 4  # and how many are looked into where only the data file is in doubt
MAX_HOLES = 64


class ExistingFile:
    """A complete file, to be compared with a resource and not to be touched."""

    is_durable = False
    is_foreign = True
    max_bytes: int | None = None

    def __init__(self, path: str, size: int) -> None:
        self.path = path
        self.identity = Identity(size)
        self.blocks = BlockMap(size)
        if size:
            self.blocks.hold(ByteRange(0, size))
        with local(path):
            self._file = DataFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC), path)

    @property
    def descriptor(self) -> int:
        return self._file.descriptor

    def stat(self) -> os.stat_result:
        return os.fstat(self.descriptor)

    def settle(self, identity: Identity) -> None:
        """Take note of the identity; the file stays as it is."""
        self.identity = identity

    def write(self, offset: int, data: memoryview) -> None:
        raise ForeignFileError(self.path, "a file of that name exists and is not this resource")

    def read(self, wanted: ByteRange) -> bytes:
        """Return the bytes of *wanted*; `LocalError` when the file was cut meanwhile."""
        data = self._file.read(wanted)
        if len(data) < len(wanted):
            raise LocalError(self.path, f"the file was cut at {wanted.start + len(data)} bytes")
        return data

    def draft_record(self) -> RecordDraft:
        return RecordDraft(0, self.blocks.bits, self.identity)

    def checkpoint(self, draft: RecordDraft) -> None:
        """Do nothing: there is nothing to record."""

    def reset(self, draft: RecordDraft) -> None:
        """Do nothing: the file stays as it is."""

    def forget(self, part: ByteRange) -> None:
        """Do nothing: the file stays as it is."""

    def holes(self) -> list[ByteRange]:
        with self._file.using() as descriptor:
            return list(holes(descriptor, self.blocks.size))

    def after_fork_in_child(self) -> None:
        """Go on in a child process: the lock may be held by a thread that is not here."""
        self._file.after_fork_in_child()

    def close(self) -> None:
        self._file.close()


class FileDestination:
    """The file at *path*; None takes the name that the server or the URL gives, in the current folder.

    With *other_url* the record's URL was another one, whose validators prove nothing here. *cache* may hold
    blocks of the same resource, which are taken over.
    """

    is_named = True
    max_bytes: int | None = None

    def __init__(
        self,
        url: str,
        name: str,
        path: str | None,
        *,
        cache: Cache | None = None,
        listener: Listener = ignore,
        overwrite: bool = False,
        sync: bool = True,
        other_url: bool = False,
    ) -> None:
        """Look at what is there, and lock it when it is ours. Raises `LocalError`, `DamagedError`, `BusyError`."""
        self._url = url
        self._name = name
        self._named = path is not None
        self._path = path
        self._cache = cache
        self._listener = listener
        self._overwrite = overwrite
        self._sync = sync
        self._other_url = other_url
        self._record: Record | None = None
        self._restarting = False
        self.copy: LocalCopy | ExistingFile | None = None
        self._look(path or file_name(url, None))

    @property
    def path(self) -> str | None:
        return self._path

    def first(self, offset: int, length: int | None) -> tuple[Asked, dict[str, str]]:
        if isinstance(self.copy, LocalCopy) and not self._restarting:
            return self._first_of_resumed(self.copy, offset, length), {}
        if not self._overwrite and not self._restarting:
            on_disk = inspect(self._path or file_name(self._url, None))
            if on_disk is not None and on_disk.size:
                return Asked(range=ByteRange(0, BLOCK)), {}
        return first_of_nothing(offset, length), {}

    def open(self, identity: Identity, head: Head) -> Opened:
        if isinstance(self.copy, ExistingFile):  # it may have been the comparison that failed: compare again
            meet_again(self.copy, identity, self.copy.path)
            return _to_be_compared(self.copy)
        if self._restarting and self.copy is not None:
            self._restarting = False
            self._check_room(self.copy, identity)
            return Opened(self.copy)
        if self._path is None:
            self._look(file_name(self._url, head.headers.get("content-disposition")))
            self._path = file_name(self._url, head.headers.get("content-disposition"))
        on_disk = None if self._overwrite and self.copy is None else inspect(self._path)
        if on_disk is not None and self._record is None and load_record(self._path) is not None:
            raise BusyError(self._path, "another process has just begun this file")
        if (
            isinstance(self.copy, LocalCopy)
            and self._record is not None
            and self._record.identity is not None
        ):
            # Not as it was recorded: this may be the second meeting, and more is held by now.
            self._record = Record(self.copy.blocks.bits, self.copy.identity, self._url)
        match decide(self._path, on_disk, self._record, identity, other_url=self._other_url):
            case Start.FRESH:
                return self._open_fresh(self._path, identity)
            case Start.COMPARE:
                return self._open_existing(self._path, on_disk)
            case start:
                return self._open_resumed(self._path, identity, start)

    def open_unasked(self) -> Copy | None:
        if isinstance(self.copy, LocalCopy):
            known = self._record
            if known is None or known.url != self._url or self.copy.identity.size is None:
                return None
            self.copy.blocks.drop(self.copy.unverified)
        elif self.copy is None and self._path is not None:
            on_disk = inspect(self._path)
            if on_disk is not None and not on_disk.marked:
                self.copy = ExistingFile(self._path, on_disk.size)
        return self.copy

    def finish(self) -> None:
        if isinstance(self.copy, LocalCopy):
            self.copy.finish()
            self._record = None

    def reopen_record(self) -> Copy:
        assert self.copy is not None
        path, identity, blocks = self.copy.path, self.copy.identity, self.copy.blocks
        self._record = Record(blocks.bits, identity, self._url)
        if isinstance(self.copy, LocalCopy):
            self.copy.reopen_record()
            return self.copy
        self.copy.close()
        copy = self._reopen(path, self._record)
        copy.checkpoint(copy.draft_record())
        self.copy = copy
        return copy

    def close(self) -> None:
        copy, self.copy = self.copy, None
        if copy is not None:
            copy.close()

    def after_fork_in_child(self) -> None:
        if self.copy is not None:
            self.copy.after_fork_in_child()

    def give_up_held(self) -> None:
        """Forget what is held, on disk first, so that nothing of it outlives a change of the resource."""
        if isinstance(self.copy, LocalCopy):
            self.copy.identity = Identity(None)
            self.copy.blocks = BlockMap(MAX_SIZE)
            self.copy.checkpoint(self.copy.draft_record())
            self._restarting = True
        self._record = None

    def _look(self, path: str) -> None:
        on_disk = inspect(path)
        try:
            self._record = load_record(path)
        except DamagedError as error:
            if not self._overwrite:
                error.hint = "--overwrite starts over"
                raise
        if self._overwrite:
            self._record = None
        elif self._record is not None:
            copy = self._reopen(path, self._record)
            self._record = load_record(path)  # it may have changed before the lock was ours
            if self._record is None:
                copy.close()
                self._look(path)
            else:
                self.copy, self._path = copy, path
        elif on_disk is not None and on_disk.marked and self._named:
            decide(path, on_disk, None, Identity(None))

    def _reopen(self, path: str, record: Record) -> LocalCopy:
        def tell(text: str) -> None:
            self._listener(Notice(text))

        return LocalCopy.reopen(path, self._url, record, sync=self._sync, tell=tell)

    def _first_of_resumed(self, copy: LocalCopy, offset: int, length: int | None) -> Asked:
        blocks, record = copy.blocks, self._record
        if not blocks.held:
            return first_of_nothing(max(0, offset), length)
        identity = record.identity if record is not None else None
        proven = identity is not None and identity.has_validator and identity.size is not None
        wanted = ByteRange(offset, offset + length) if offset >= 0 and length else None
        gap = next(blocks.missing(wanted), None) or next(blocks.missing(), None)
        if proven and not self._other_url and copy.unverified:
            return Asked(range=_looks(copy)[0], inside=True)
        if not proven or self._other_url or gap is None:
            return Asked(range=self._samples(copy)[0], inside=True)
        run = ByteRange(gap.start, min(gap.stop, gap.start + FIRST))
        return Asked(range=planner.with_seams(run, run.start > 0, run.stop < blocks.size), inside=True)

    def _samples(self, copy: LocalCopy) -> list[ByteRange]:
        blocks = copy.blocks
        if copy.identity.size is None:  # where the last block ends is not known: leave it out
            last = blocks.bits.max() if blocks.held else 0
            inner = [block for block in planner.samples(blocks, SAMPLES) if block.start // BLOCK < last]
            return inner or planner.samples(blocks, 1)
        return planner.samples(blocks, SAMPLES)

    def _open_fresh(self, path: str, identity: Identity) -> Opened:
        if os.path.isdir(path):
            raise LocalError(path, "is a folder")
        _check_folder(path, identity.size or 0)
        copy = LocalCopy.create(path, self._url, identity, sync=self._sync, overwrite=self._overwrite)
        self.copy = copy
        self._overwrite = False
        self._record = Record(copy.blocks.bits, identity, self._url)
        self._take_over(copy, identity)
        return Opened(copy)

    def _open_existing(self, path: str, on_disk: OnDisk | None) -> Opened:
        assert on_disk is not None
        self.copy = ExistingFile(path, on_disk.size)
        return _to_be_compared(self.copy)

    def _open_resumed(self, path: str, identity: Identity, start: Start) -> Opened:
        if self.copy is None:
            assert self._record is not None
            self.copy = self._reopen(path, self._record)
        copy = self.copy
        assert isinstance(copy, LocalCopy)
        copy.url = self._url
        copy.settle(identity.sized(copy.identity.size) if identity.size is None else identity)
        self._check_room(copy, identity)
        if self._other_url:
            text = "compared by size and samples, for the validators of another URL prove nothing"
            self._listener(Notice(f"{self._name}: {text}"))
        if start is Start.RESUME:
            return Opened(copy, resumed=copy.blocks.held > 0, samples=tuple(_looks(copy)))
        return Opened(
            copy,
            resumed=copy.blocks.held > 0,
            samples=tuple(self._samples(copy)) if copy.blocks.held else (),
            mismatch=lambda why: RemoteChangedError(path, f"the resource is not the one held: {why}"),
        )

    def _check_room(self, copy: LocalCopy | ExistingFile, identity: Identity) -> None:
        if isinstance(copy, LocalCopy) and identity.size is not None:
            copy.check_room(identity.size - copy.blocks.bytes_held)

    def _take_over(self, copy: LocalCopy, identity: Identity) -> None:
        """Copy the blocks that the cache holds of this very resource."""
        record = self._cache.find(self._url) if self._cache is not None and identity.is_strong else None
        if self._cache is None or record is None or record.identity is None:
            return
        if record.identity.size != identity.size or record.identity.compare(identity) is not Match.SAME:
            return
        with contextlib.suppress(SmartRemoteError):
            cached = self._cache.open(self._url, record)
            try:
                for run in cached.blocks.present():
                    for start in range(run.start, run.stop, planner.MIB):
                        part = ByteRange(start, min(start + planner.MIB, run.stop))
                        copy.write(part.start, memoryview(cached.read(part)))
                        copy.blocks.hold(part)
            finally:
                cached.close()


def _looks(copy: LocalCopy) -> list[ByteRange]:
    """Return what of the blocks that nothing vouches for is compared, where the resource is known to be the same."""
    doubtful = planner.samples(BlockMap.fitting(copy.blocks.size, copy.unverified), LOOKS)
    return [ByteRange(block.start, min(block.start + planner.SEAM, block.stop)) for block in doubtful]


def _to_be_compared(existing: ExistingFile) -> Opened:
    """Return *existing* with what proves that it is the resource: its first and last block, and its holes."""
    size, align = existing.blocks.size, existing.blocks.align
    if not size:
        return Opened(existing)
    inside = [align(hole) for hole in existing.holes()[:MAX_HOLES]]
    parts = {align(ByteRange(0, 1)), align(ByteRange(size - 1, size))}
    parts |= {ByteRange(hole.start, min(hole.start + BLOCK, hole.stop)) for hole in inside}
    mismatch = "a file of that name exists, and it is not this resource"
    return Opened(
        existing,
        samples=tuple(sorted(parts)),
        mismatch=lambda why: ForeignFileError(existing.path, f"{mismatch}: {why}"),
    )


def _check_folder(path: str, missing: int) -> None:
    """Raise `LocalError` when there is visibly no room for *missing* bytes beside *path*."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        free = os.statvfs(folder_of(path))
        room = free.f_bavail * free.f_frsize
        if missing > room:
            why = f"the disk has {room} bytes free, and {missing} are missing"
            raise LocalError(path, why, hint="make room and run the same command again")
