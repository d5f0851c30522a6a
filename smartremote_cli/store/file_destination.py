"""FileDestination: one named file, which may be absent, partial, complete, or not of this download."""

from __future__ import annotations

import os

from ..core.blocks import BLOCK, MAX_SIZE, BlockMap
from ..core.ranges import ByteRange
from ..errors import (
    BusyError,
    DamagedError,
    ForeignFileError,
    LocalError,
    RemoteChangedError,
)
from ..events import Listener, Notice, ignore
from ..plan import planner
from ..protocol.answers import Asked
from ..protocol.identity import Identity, Match, changed
from .cache import Cache
from .comparisons import count_text, samples_of, unverified_samples
from .copies import AnswerHead, Copy, Opened
from .data_file import check_room_beside
from .destinations import FIRST_REQUEST_BYTES, first_of_held, first_of_nothing, meet_again
from .evidence import against, another_programs, is_foreign, is_foreign_part, unfinished
from .existing_file import ExistingFile
from .files import fitting_name
from .found import Emptied, Existing, Finished, Nothing, Partial
from .leftovers import inspect, load_record
from .local_copy import LocalCopy
from .names import more_careful, name_to_save
from .part import Record
from .resume import Start, decide
from .stamp import Stamp, stamp_of

NOT_MODIFIED = 304


class FileDestination:
    """The file at *path*; None takes the name that the server or the URL gives, in the current folder.

    With *other_url* the record's URL was another one, whose validators prove nothing here. *cache* may hold
    blocks of the same resource, which are copied.
    """

    is_named = True
    may_be_bounded = False
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
        self._path = path
        self._cache = cache
        self._listener = listener
        self._overwrite = overwrite
        self._sync = sync
        self._other_url = other_url
        self._found = self._look(path or self._chosen_name(None))

    @property
    def path(self) -> str | None:
        return self._path

    @property
    def copy(self) -> LocalCopy | ExistingFile | None:
        """The copy that is open."""
        return self._found.copy

    def first(self, offset: int, length: int | None) -> tuple[Asked, dict[str, str]]:
        match self._found:
            case Partial(copy, record):
                return self._first_of_partial(copy, record, offset, length), {}
            case Nothing() | Existing() if self._may_be_complete():
                stamp = self._stamp(self._path or self._chosen_name(None))
                held = None if stamp is None else first_of_held(stamp.record, 0, None)
                return held or (Asked(range=ByteRange(0, BLOCK)), {})
            case _:
                return self._first_beside_cache(offset) or first_of_nothing(offset, length), {}

    def _first_beside_cache(self, offset: int) -> Asked | None:
        """Return a request for what the cache does not hold; None where it holds nothing of this resource."""
        record = None if self._cache is None or offset or self._overwrite else self._cache.find(self._url)
        size = None if record is None or record.identity is None else record.identity.size
        if record is None or not record.bits or not size:
            return None
        gap = next(BlockMap.fitting(size, record.bits).missing(), ByteRange(0, min(BLOCK, size)))
        # At block edges, without seams: the cached blocks may turn out to be of another version.
        return Asked(range=ByteRange(gap.start, min(gap.stop, gap.start + FIRST_REQUEST_BYTES)), inside=True)

    def open(self, identity: Identity, head: AnswerHead) -> Opened:
        """Open the copy when the first answer is here, or let the one that is open meet the resource again.

        It meets it again after a failure, when another transfer begins, and after `give_up_held`.
        """
        if self._path is None:
            return self._open_as(self._chosen_name(head.headers.get("content-disposition")), identity, head)
        confirmed = head.status == NOT_MODIFIED
        match self._found:
            case Partial(copy, record):
                return self._resume(copy, record, identity)
            case Emptied(copy):
                return self._fill_emptied(copy, identity)
            case Existing(copy, stamp) if stamp is not None:
                return self._meet_stamped(copy, stamp, identity, confirmed=confirmed)
            case Existing(copy):  # it may have been the comparison that failed: compare again
                meet_again(copy, identity, copy.path)
                return copy.opened(self._listener)
            case Nothing() | Finished():
                return self._open_anew(self._path, identity, confirmed=confirmed)

    def _open_as(self, name: str, identity: Identity, head: AnswerHead) -> Opened:
        """Open the file *name*, which the server or the URL gave, in a spelling that the folder takes."""
        self._found, self._path = self._look(name), name
        try:
            return self.open(identity, head)
        except LocalError as error:
            if (safer := more_careful(name, error)) is None:
                raise
        return self._open_as(safer, identity, head)

    def open_unasked(self) -> LocalCopy | ExistingFile | None:
        """Open what is held of this URL, as far as its sums agree; None when nothing there can be relied on."""
        match self._found:
            case Partial(copy, record):
                if record.url != self._url or copy.identity.size is None:
                    return None
                copy.blocks.drop(copy.unverified)
            case Nothing() if self._path is not None:
                on_disk = inspect(self._path)
                if on_disk is not None and (stamp_of(self._path) or not is_foreign(self._path)):
                    self._found = Existing(ExistingFile(self._path, on_disk.size, url=self._url))
        return self.copy

    def finish(self) -> None:
        match self._found:
            case Partial(copy, _):
                copy.finish()
                self._found = Finished(copy)
            case Existing(copy):
                copy.accept()

    def reopen_record(self) -> Copy:
        assert self._found.copy is not None
        path, identity = self._found.copy.path, self._found.copy.identity
        record = Record(self._found.copy.blocks.bits, identity, self._url)
        match self._found:
            case Existing(existing):
                existing.close()
                copy = self._reopen(path, record)
                copy.checkpoint(copy.draft_record())
            case Partial(copy=copy) | Emptied(copy) | Finished(copy):
                copy.reopen_record()
        self._found = Partial(copy, record)
        return copy

    def close(self) -> None:
        copy = self._found.copy
        self._found = Nothing()
        if copy is not None:
            copy.close()

    def after_fork_in_child(self) -> None:
        if self._found.copy is not None:
            self._found.copy.after_fork_in_child()

    def give_up_held(self) -> None:
        """Forget what is held, on disk first, so that nothing of it outlives a change of the resource."""
        match self._found:
            case Partial(copy=copy) | Emptied(copy):
                copy.agree()
                copy.identity = Identity(None)
                copy.blocks = BlockMap(MAX_SIZE)
                copy.checkpoint(copy.draft_record())
                self._found = Emptied(copy)

    # What is there

    def _chosen_name(self, disposition: str | None) -> str:
        return fitting_name(name_to_save(self._url, disposition), os.curdir)

    def _look(self, path: str) -> Nothing | Partial | Emptied | Finished | Existing:
        """Look at what is at *path*, and open it when it is a partial download of ours."""
        on_disk = inspect(path)
        try:
            record = load_record(path)
        except DamagedError as error:
            if is_foreign_part(path):
                raise another_programs(path, self._url) from error
            if self._overwrite:
                return Nothing()
            error.hint = "--overwrite drops what is held and starts over"
            raise
        if self._overwrite:
            return Nothing()
        if record is None:
            if on_disk is not None:
                self._check_evidence(path)
            return Nothing()
        copy = self._reopen(path, record)
        record = load_record(path)  # it may have changed before the lock was ours
        if record is None:
            copy.close()
            return self._look(path)
        self._path = path
        return Partial(copy, record)

    def _reopen(self, path: str, record: Record) -> LocalCopy:
        def tell(text: str) -> None:
            self._listener(Notice(text))

        return LocalCopy.reopen(path, self._url, record, sync=self._sync, tell=tell)

    def _may_be_complete(self) -> bool:
        """Return whether a file is there that may be the resource already; one to be overwritten may not."""
        if self._overwrite:
            return False
        on_disk = inspect(self._path or self._chosen_name(None))
        return on_disk is not None and on_disk.size > 0

    # A file that is not open yet

    def _open_anew(self, path: str, identity: Identity, *, confirmed: bool) -> Opened:
        on_disk = None if self._overwrite else inspect(path)
        if on_disk is not None and load_record(path) is not None:
            raise BusyError(path, "another process has just begun this file")
        if on_disk is not None:
            self._check_evidence(path)
            stamp = self._stamp(path)
            if stamp is not None and (confirmed or identity.size == on_disk.size):
                existing = ExistingFile(path, on_disk.size, url=self._url)
                self._found = Existing(existing, stamp)
                return self._meet_stamped(existing, stamp, identity, confirmed=confirmed)
        match decide(path, on_disk, None, identity):
            case Start.COMPARE | Start.COMPARE_PREFIX if on_disk is not None:
                existing = ExistingFile(path, on_disk.size, identity.size, url=self._url)
                self._found = Existing(existing)
                return existing.opened(self._listener)
            case _:
                return self._create(path, identity)

    def _stamp(self, path: str) -> Stamp | None:
        """Return the stamp of a file that we finished from this URL, and that is untouched."""
        stamp = stamp_of(path)
        return stamp if stamp is not None and stamp.is_of(self._url) else None

    def _check_evidence(self, path: str) -> None:
        """Raise for a file that another program has visibly not finished."""
        why = None if stamp_of(path) is not None else against(path)
        if why is not None:
            raise unfinished(path, why, self._url)

    def _meet_stamped(
        self, existing: ExistingFile, stamp: Stamp, identity: Identity, *, confirmed: bool
    ) -> Opened:
        """Open a file that we finished: complete where the server proves that it still has it, else compared."""
        if confirmed:
            existing.settle(stamp.identity)
            return Opened(existing)
        match stamp.identity.compare(identity):
            case Match.DIFFERENT:
                why = f"{changed(stamp.identity, identity)}; the file is the older version"
                raise ForeignFileError(existing.path, why)
            case Match.SAME if stamp.identity.is_strong and identity.is_strong:
                return Opened(existing)
            case _:
                return existing.opened(self._listener)

    def _create(self, path: str, identity: Identity) -> Opened:
        if os.path.isdir(path):
            raise LocalError(path, "is a folder")
        check_room_beside(path, identity.size or 0)
        copy = LocalCopy.create(path, self._url, identity, sync=self._sync, overwrite=self._overwrite)
        self._found = Partial(copy, Record(copy.blocks.bits, identity, self._url))
        self._overwrite = False
        if self._cache is not None:
            self._cache.copy_into(copy, self._url, identity)
        return Opened(copy)

    # A download of ours

    def _first_of_partial(self, copy: LocalCopy, record: Record, offset: int, length: int | None) -> Asked:
        """Return what to ask first: a sample where something must be compared, else what is missing."""
        blocks, identity = copy.blocks, record.identity
        if not blocks.held:
            return first_of_nothing(max(0, offset), length)
        proven = identity is not None and identity.has_validator and identity.size is not None
        wanted = ByteRange(offset, offset + length) if offset >= 0 and length else None
        gap = next(blocks.missing(wanted), None) or next(blocks.missing(), None)
        proven = proven and not self._other_url and record.url == self._url
        if proven and copy.unverified:
            return Asked(range=unverified_samples(copy)[0], inside=True)
        if not proven or gap is None:
            return Asked(range=samples_of(copy)[0], inside=True)
        run = ByteRange(gap.start, min(gap.stop, gap.start + FIRST_REQUEST_BYTES))
        return Asked(range=planner.with_seams(run, run.start > 0, run.stop < blocks.size), inside=True)

    def _resume(self, copy: LocalCopy, record: Record, identity: Identity) -> Opened:
        """Go on with *copy* when it is of the resource that has *identity*; raise when it is not."""
        if copy.is_agreed:  # not as it was recorded: more may be held by now
            record = Record(copy.blocks.bits, copy.identity, self._url)
            self._found = Partial(copy, record)
        same = record.url == self._url
        start = decide(
            copy.path, inspect(copy.path), record, identity, other_url=self._other_url, same_url=same
        )
        if start is Start.RESUME:
            copy.agree()
        copy.url = self._url
        copy.settle(identity.sized(copy.identity.size) if identity.size is None else identity)
        _check_room(copy, identity)
        resumed = copy.blocks.held > 0
        samples = tuple(samples_of(copy)) if resumed else ()
        if self._other_url:
            what = f"size and {count_text(samples)}" if samples else "size"
            text = f"checking that the new URL serves the same file: {what}"
            self._listener(Notice(f"{self._name}: {text}"))
        if start is Start.RESUME:
            return Opened(copy, resumed=resumed, samples=tuple(unverified_samples(copy)))
        return Opened(
            copy,
            resumed=resumed,
            samples=samples,
            mismatch=lambda why: RemoteChangedError(copy.path, f"the resource is not the one held: {why}"),
        )

    def _fill_emptied(self, copy: LocalCopy, identity: Identity) -> Opened:
        _check_room(copy, identity)
        self._found = Partial(copy, Record(copy.blocks.bits, identity, self._url))
        return Opened(copy)


def _check_room(copy: LocalCopy, identity: Identity) -> None:
    if identity.size is not None:
        copy.check_room(identity.size - copy.blocks.bytes_held)
