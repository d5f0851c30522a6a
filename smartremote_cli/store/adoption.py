"""Adoption: what another program has left unfinished becomes a download of ours.

A destination for comparing alone: nothing is written before the samples agree, and until then the file keeps its
bytes, its size and its time of modification. `take_over` then writes the sums and the record, and removes the control
file last.
"""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from pyroaring import BitMap

from ..core.blocks import BlockMap
from ..core.ranges import ByteRange
from ..errors import BusyError, DamagedError, ForeignFileError, LocalError, RefusedError
from ..events import Listener
from ..protocol.answers import Asked
from ..protocol.identity import Identity
from .claimed_file import ClaimedFile, claimed_by, claimed_without_control, read_claims
from .controls import Claims
from .copies import AnswerHead, Copy, Opened
from .destinations import meet_again
from .evidence import CONTROL_FILES, SAMPLE_BYTES, control_file
from .files import folder_of, is_marked, local, mark, remove, replace, sync_file, sync_folder, unmark
from .leftovers import inspect, load_record, record_path
from .locks import open_locked
from .part import Record, encode
from .sums import Sums

# Seconds for which the file must not have changed: who downloads into it writes more often than that (contract).
QUIET_SECONDS = 5.0


class _Seen(NamedTuple):
    """A file as it was when it was looked at first: what changes it, changes one of these."""

    inode: int
    size: int
    mtime_ns: int


class Adoption:
    """The file at *path*, which another program began, locked. It becomes *target* when it is taken over."""

    is_named = True
    may_be_bounded = False
    max_bytes: int | None = None

    def __init__(self, path: str, target: str, url: str, listener: Listener, *, now: float) -> None:
        """Look at the file and lock it; *now* is the time of day.

        Raises `LocalError`, `BusyError`, `DamagedError`, `ForeignFileError`.
        """
        self.path: str | None = path
        self.target = target
        self._file, self._url, self._listener = path, url, listener
        if inspect(path) is None:
            raise LocalError(path, "there is no such file")
        self._check_free()
        self._check_quiet(now)
        found = control_file(path)
        self._control = None if found is None else found[0]
        self._claims = None if found is None else self._read(found[0])
        with local(path):
            self._descriptor = open_locked(path, 0)
        self._seen = self._look()
        self._begin = os.pread(self._descriptor, SAMPLE_BYTES, 0).rstrip(b"\0")
        self._copy: ClaimedFile | None = None

    def _check_free(self) -> None:
        if record_path(self._file) != self._file and os.path.lexists(record_path(self._file)):
            if load_record(self._file) is not None:
                hint = f"go on with: smartremote complete {self._file}"
                raise ForeignFileError(
                    self._file, "it has a part record: it is a download of ours", hint=hint
                )
        if self.target != self._file:
            for name in {self.target, record_path(self.target)} - {self._file}:
                if os.path.lexists(name):
                    hint = "choose another name with -o"
                    raise ForeignFileError(name, "a file of that name exists", hint=hint)

    def _check_quiet(self, now: float) -> None:
        for name in [self._file, *(self._file + ending for ending, _ in CONTROL_FILES)]:
            try:
                age = now - os.stat(name).st_mtime
            except OSError:
                continue
            if -QUIET_SECONDS < age < QUIET_SECONDS:
                why = f"it was changed {max(age, 0.0):.1f} s ago: another program may be writing it"
                hint = f"end that program, wait {QUIET_SECONDS:.0f} s and run the same command again"
                raise BusyError(name, why, hint=hint)

    def _read(self, control: str) -> Claims:
        return read_claims(self._file, control.removeprefix(self._file))

    def _look(self) -> _Seen:
        found = os.fstat(self._descriptor)
        return _Seen(found.st_ino, found.st_size, found.st_mtime_ns)

    # Destination

    @property
    def copy(self) -> ClaimedFile | None:
        """The copy that is open."""
        return self._copy

    def first(self, offset: int, length: int | None) -> tuple[Asked, dict[str, str]]:
        most = len(self._begin) if self._begin else SAMPLE_BYTES
        return Asked(range=ByteRange(0, most)), {}

    def open(self, identity: Identity, head: AnswerHead) -> Opened:
        """Open what is claimed, to be compared. Raises `ForeignFileError` when the sizes differ."""
        if head.status != 206 or identity.size is None:
            raise RefusedError(self._url, "the server sends no ranges: what is here cannot be gone on with")
        if self._copy is not None:
            meet_again(self._copy, identity, self._file)
        else:
            self._copy = ClaimedFile(self._file, self._blocks(identity.size), self._url)
            self._copy.settle(identity)
        return self._copy.opened(self._listener)

    def _blocks(self, size: int) -> BlockMap:
        claims, here = self._claims, self._seen.size
        stated = None if claims is None else claims.size
        if stated is not None and stated != size:
            raise ForeignFileError(
                self._file, f"it is of a resource of {stated} bytes, where this one has {size}"
            )
        if here > size:
            raise ForeignFileError(self._file, f"it has {here} bytes, where the resource has {size}")
        with local(self._file):
            if claims is None:
                return claimed_without_control(self._descriptor, size)
            return claimed_by(claims, self._descriptor, size, self._control or self._file)

    def open_unasked(self) -> Copy | None:
        return None

    def give_up_held(self) -> None:
        """Do nothing: the file stays as it is."""

    def finish(self) -> None:
        """Do nothing: it is not complete."""

    def reopen_record(self) -> Copy:
        assert self._copy is not None
        return self._copy

    def close(self) -> None:
        """Close the copy and let go of the lock."""
        if self._copy is not None:
            self._copy.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def after_fork_in_child(self) -> None:
        if self._copy is not None:
            self._copy.after_fork_in_child()

    # What becomes of it

    def take_over(self, *, sync: bool = True) -> BlockMap:
        """Make the file a download of ours, named *target*; return the blocks that it holds.

        The data of the blocks in the record is synced before it. The control file goes last. A failure leaves the file
        as it was, without a record.
        """
        assert self._copy is not None, "nothing was compared"
        copy, record = self._copy, record_path(self.target)
        bits = copy.claimed.bits
        if self._look() != self._seen or (
            self._control is not None and self._read(self._control) != self._claims
        ):
            raise BusyError(self._file, "another program has changed it meanwhile")
        was_marked = is_marked(self._descriptor)
        collides = record == self._file
        try:
            with local(self.target):
                if sync:
                    sync_file(self._descriptor)
                assert copy.identity.size is not None
                Sums(self.target).save(self._descriptor, copy.identity.size, bits, bits)
                mark(self._descriptor)
                if collides:  # the file has the record's own name, and makes room for it
                    self._rename(sync)
                replace(record, self._encoded(bits, None), sync=sync, new=True)
                if self.target != self._file and not collides:
                    self._rename(sync)
                stamp = os.fstat(self._descriptor).st_ctime_ns
                replace(record, self._encoded(bits, stamp), sync=sync)
        except BaseException:
            self._undo(record, was_marked)
            raise
        if self._control is not None:
            with local(self._control):
                remove(self._control)
        return copy.claimed

    def _encoded(self, bits: BitMap, stamp: int | None) -> bytes:
        assert self._copy is not None
        return encode(Record(bits, self._copy.identity, self._url, stamp))

    def _rename(self, sync: bool) -> None:
        if os.path.lexists(self.target):
            raise BusyError(self.target, "another process has just begun this file")
        os.rename(self._file, self.target)
        sync_folder(folder_of(self.target), sync)
        sync_folder(folder_of(self._file), sync)

    def _undo(self, record: str, was_marked: bool) -> None:
        with contextlib.suppress(OSError, DamagedError):
            if not os.path.lexists(self._file) and os.path.lexists(self.target):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(record)
                os.rename(self.target, self._file)
            elif record != self._file:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(record)
        Sums(self.target).remove()
        if not was_marked:
            unmark(self._descriptor)
