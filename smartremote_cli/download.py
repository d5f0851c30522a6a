"""Download: a whole resource into one file, resumed, compared, checked, and only then called complete."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from . import planner
from .blocks import BLOCK, MAX_SIZE, BlockMap
from .cache import Cache
from .engine import Transfer
from .errors import (
    ChecksumError,
    DamagedError,
    ForeignFileError,
    LocalError,
    RemoteChangedError,
    SmartRemoteError,
    UnbelievableError,
    UsageError,
)
from .events import Listener, Notice, ignore
from .headers import Asked, Identity, Match
from .limiter import Limiter
from .part import Record
from .ranges import ByteRange
from .resume import OnDisk, Start, decide
from .state import Opened, Policy
from .storage import LocalCopy, holes, inspect, load_record, record_path
from .transport import Remote, Response
from .urls import file_name

# The first request of a download of unknown size: all of a small file, no burden on a large one.
FIRST = 4 * 1024 * 1024

# How many held blocks are compared where nothing else proves that they are of this resource.
SAMPLES = 8
MOST_HOLES = 64

_MOST_RESTARTS = 3


@dataclass(frozen=True, slots=True)
class Checksum:
    """An expected digest of the whole resource: *algorithm* as hashlib names it, *digest* in lower-case hex."""

    algorithm: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Checksum:
        """Read ``ALG:HEX``; `UsageError` for an unknown algorithm or a digest of the wrong length."""
        algorithm, colon, digest = text.partition(":")
        algorithm, digest = algorithm.strip().lower(), digest.strip().lower()
        if algorithm not in hashlib.algorithms_available:
            algorithm = algorithm.replace("-", "") if algorithm.startswith("sha-") else algorithm
        if not colon or algorithm not in hashlib.algorithms_available:
            raise UsageError("--checksum", f"expected ALG:HEX with an algorithm such as sha256, not {text!r}")
        length = hashlib.new(algorithm).digest_size
        if any(char not in "0123456789abcdef" for char in digest) or (length and len(digest) != 2 * length):
            raise UsageError("--checksum", f"a {algorithm} digest has {2 * length} hexadecimal digits")
        return cls(algorithm, digest)

    def agrees_with(self, copy: LocalCopy | ExistingFile) -> bool:
        """Read the whole copy and return whether it has this digest."""
        size = copy.identity.size or 0
        hasher = hashlib.new(self.algorithm)
        for start in range(0, size, planner.MIB):
            hasher.update(copy.read(ByteRange(start, min(start + planner.MIB, size))))
        found = hasher.hexdigest() if hasher.digest_size else hasher.hexdigest(len(self.digest) // 2)  # type: ignore[call-arg]
        return found == self.digest


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a download is to be done; the command line's options, in short."""

    policy: Policy = field(default_factory=Policy)
    checksum: Checksum | None = None
    restart_on_change: bool = False
    overwrite: bool = False
    sync: bool = True


class ExistingFile:
    """A complete file, to be compared with a resource and not to be touched."""

    def __init__(self, path: str, size: int) -> None:
        self.path = path
        self.identity = Identity(size)
        self.blocks = BlockMap(size)
        if size:
            self.blocks.hold(ByteRange(0, size))
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def settle(self, identity: Identity) -> None:
        """Take note of the identity; the file stays as it is."""
        self.identity = identity

    def write(self, offset: int, data: memoryview) -> None:
        raise ForeignFileError(self.path, "a file of that name exists and is not this resource")

    def read(self, wanted: ByteRange) -> bytes:
        return os.pread(self._descriptor, len(wanted), wanted.start)

    def checkpoint(self, snapshot: BlockMap) -> None:
        """Do nothing: there is nothing to record."""

    def holes(self) -> list[ByteRange]:
        return list(holes(self._descriptor, self.blocks.size))

    def close(self) -> None:
        os.close(self._descriptor)


class Download:
    """One resource on its way into one file. `run` does it all; `stop` may be called from anywhere."""

    def __init__(
        self,
        remote: Remote,
        path: str | None,
        wishes: Wishes | None = None,
        *,
        cache: Cache | None = None,
        listener: Listener = ignore,
        limiter: Limiter | None = None,
        other_url: bool = False,
    ) -> None:
        """Prepare to fill *path*; None takes the name that the server or the URL gives, in the current folder.

        With *other_url* the record's URL was another one: its validators prove nothing here.
        """
        self.remote = remote
        self.path = path
        self.transfer: Transfer | None = None
        self._wishes = wishes or Wishes()
        self._cache = cache
        self._listener = listener
        self._limiter = limiter
        self._other_url = other_url
        self._copy: LocalCopy | ExistingFile | None = None
        self._record: Record | None = None
        self._restarting = False

    def run(self) -> str:
        """Bring the file to completion and return its path. Raises what stops it; progress is then kept."""
        self._look(self.path or file_name(self.remote.url, None))
        for attempt in range(_MOST_RESTARTS):
            try:
                return self._fill()
            except RemoteChangedError as error:
                if not self._wishes.restart_on_change or attempt == _MOST_RESTARTS - 1:
                    raise
                self._listener(Notice(f"{error}: starting over"))
                self._give_up_held()
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """End the transfer with a last checkpoint, and close the file."""
        if self.transfer is not None:
            self.transfer.stop()
        if self._copy is not None:
            self._copy.close()
            self._copy = None

    def _look(self, path: str) -> None:
        """See what is at *path* before the network is asked; lock it when it is ours."""
        on_disk = inspect(path)
        try:
            self._record = load_record(path)
        except DamagedError as error:
            if not self._wishes.overwrite:
                error.hint = "--overwrite starts over"
                raise
        if self._record is not None and not self._wishes.overwrite:
            self._copy = LocalCopy.reopen(path, self.remote.url, self._record, sync=self._wishes.sync)
            again = load_record(path)  # it may have changed before the lock was ours
            if again is None:
                self._copy.close()
                self._copy, self._record = None, None
                return self._look(path)
            self._record = again
            self.path = path
        elif self._wishes.overwrite:
            self._record = None
        elif on_disk is not None and self.path is not None and on_disk.marked:
            decide(path, on_disk, None, Identity(None))
        return None

    def _fill(self) -> str:
        checksum = self._wishes.checksum
        transfer = Transfer(
            self.remote, self._open, self._first_request(), self._wishes.policy, self._listener, self._limiter
        )
        self.transfer = transfer
        transfer.open()
        transfer.ensure()
        copy = self._copy
        assert copy is not None and self.path is not None
        if isinstance(copy, ExistingFile):
            if checksum is not None and not checksum.agrees_with(copy):
                raise ForeignFileError(
                    self.path, f"a file of that name exists, and its {checksum.algorithm} differs"
                )
            transfer.stop()
            return self.path
        if checksum is not None:
            self._check(checksum, copy, transfer)
        elif transfer.is_unframed:
            raise UnbelievableError(
                self.remote.name,
                "the server announces no length, so that nothing tells a whole body from a broken one",
                hint="give --checksum ALG:HEX to have it checked",
            )
        transfer.stop()
        copy.finish()
        return self.path

    def _check(self, checksum: Checksum, copy: LocalCopy, transfer: Transfer) -> None:
        if checksum.agrees_with(copy):
            return
        self._listener(Notice(f"{checksum.algorithm} does not match: fetching everything again"))
        transfer.start_over()
        transfer.ensure()
        if not checksum.agrees_with(copy):
            raise ChecksumError(
                self.remote.name,
                f"its {checksum.algorithm} is not {checksum.digest}, also when fetched again",
            )

    def _first_request(self) -> Asked:
        if self._restarting:
            return Asked(range=ByteRange(0, FIRST))
        if isinstance(self._copy, LocalCopy):
            return self._first_of_resumed(self._copy)
        if self.path is not None and not self._wishes.overwrite:
            on_disk = inspect(self.path)
            if on_disk is not None and on_disk.size:
                return Asked(range=ByteRange(0, BLOCK))
        return Asked(range=ByteRange(0, FIRST))

    def _first_of_resumed(self, copy: LocalCopy) -> Asked:
        blocks = copy.blocks
        if not blocks.held:
            return Asked(range=ByteRange(0, FIRST))
        gap = next(blocks.missing(), None)
        identity = self._record.identity if self._record is not None else None
        proven = identity is not None and identity.has_validator and identity.size is not None
        if not proven or self._other_url or gap is None:
            return Asked(range=self._samples(copy)[0])
        run = ByteRange(gap.start, min(gap.stop, gap.start + FIRST))
        return Asked(range=planner.with_seams(run, run.start > 0, run.stop < blocks.size))

    def _samples(self, copy: LocalCopy) -> list[ByteRange]:
        blocks = copy.blocks
        if (
            copy.identity.size is None
        ):  # where the last block ends is not known: leave it out of the comparison
            last = blocks.bits.max() if blocks.held else 0
            found = [block for block in planner.samples(blocks, SAMPLES) if block.start // BLOCK < last]
            return found or planner.samples(blocks, 1)
        return planner.samples(blocks, SAMPLES)

    # The opener: decides, with the first answer at hand, what becomes of what is here

    def _open(self, identity: Identity, response: Response) -> Opened:
        if self._restarting and isinstance(self._copy, LocalCopy):
            self._room(self._copy, identity)
            return Opened(self._copy)
        if self.path is None:
            path = file_name(self.remote.url, response.headers.get("content-disposition"))
            self._look(path)
            self.path = path
        path = self.path
        on_disk = None if self._wishes.overwrite else inspect(path)
        match decide(path, on_disk, self._record, identity, other_url=self._other_url):
            case Start.FRESH:
                return self._open_fresh(path, identity)
            case Start.COMPARE:
                return self._open_existing(path, on_disk)
            case start:
                return self._open_resumed(path, identity, start)

    def _open_fresh(self, path: str, identity: Identity) -> Opened:
        if os.path.isdir(path):
            raise LocalError(path, "is a folder")
        _room_in(os.path.dirname(os.path.abspath(path)), path, identity.size or 0)
        copy = LocalCopy.create(path, self.remote.url, identity, sync=self._wishes.sync)
        self._copy = copy
        self._take_over(copy, identity)
        return Opened(copy)

    def _open_existing(self, path: str, on_disk: OnDisk | None) -> Opened:
        assert on_disk is not None
        existing = ExistingFile(path, on_disk.size)
        self._copy = existing
        ends = [
            existing.blocks.align(ByteRange(0, 1)),
            existing.blocks.align(ByteRange(on_disk.size - 1, on_disk.size)),
        ]
        inside = [existing.blocks.align(hole) for hole in existing.holes()[:MOST_HOLES]]
        firsts = [ByteRange(hole.start, min(hole.start + BLOCK, hole.stop)) for hole in inside]
        samples = tuple(sorted({*ends, *firsts})) if on_disk.size else ()
        return Opened(
            existing,
            samples=samples,
            mismatch=lambda why: ForeignFileError(path, f"a file exists, and {why}"),
        )

    def _open_resumed(self, path: str, identity: Identity, start: Start) -> Opened:
        if not isinstance(self._copy, LocalCopy):
            assert self._record is not None
            self._copy = LocalCopy.reopen(path, self.remote.url, self._record, sync=self._wishes.sync)
        copy = self._copy
        copy.url = self.remote.url
        copy.settle(identity)
        self._room(copy, identity)
        if self._other_url:
            self._listener(
                Notice(f"{self.remote.name}: compared by size and samples, for validators prove nothing here")
            )
        samples = tuple(self._samples(copy)) if start is Start.SAMPLE and copy.blocks.held else ()
        return Opened(
            copy,
            resumed=copy.blocks.held > 0,
            samples=samples,
            mismatch=lambda why: RemoteChangedError(path, f"the resource is not the one held: {why}"),
        )

    def _room(self, copy: LocalCopy, identity: Identity) -> None:
        if identity.size is not None:
            copy.room_for(identity.size - copy.blocks.bytes_held)

    def _give_up_held(self) -> None:
        """Forget what is held, on disk first, so that nothing of it outlives the change."""
        if self.transfer is not None:
            self.transfer.stop()
        copy = self._copy
        if isinstance(copy, LocalCopy):
            copy.blocks.clear()
            copy.identity = Identity(None)
            copy.blocks = BlockMap(MAX_SIZE)
            copy.checkpoint(copy.blocks)
            self._restarting = True
        self._record = None

    def _take_over(self, copy: LocalCopy, identity: Identity) -> None:
        """Copy the blocks that the cache holds of this very resource."""
        if self._cache is None or not identity.is_strong:
            return
        record = self._cache.find(self.remote.url)
        if record is None or record.identity is None or record.identity.size != identity.size:
            return
        if record.identity.compare(identity) is not Match.SAME:
            return
        with contextlib.suppress(SmartRemoteError):
            cached = self._cache.open(self.remote.url, record)
            try:
                for run in cached.blocks.present():
                    for start in range(run.start, run.stop, planner.MIB):
                        part = ByteRange(start, min(start + planner.MIB, run.stop))
                        copy.write(part.start, memoryview(cached.read(part)))
                        copy.blocks.hold(part)
            finally:
                cached.close()


def check_output(path: str) -> None:
    """Raise `LocalError` when *path* cannot be a data file: a folder, a device, a folder that does not exist."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        if not stat.S_ISDIR(os.stat(folder).st_mode):
            raise LocalError(folder, "is not a folder")
    except OSError as error:
        if isinstance(error, LocalError):
            raise
        raise LocalError(folder, error.strerror or str(error)) from error
    inspect(path)
    if os.path.islink(record_path(path)):
        raise LocalError(record_path(path), "is a symbolic link, which a record may not be")


def _room_in(folder: str, path: str, missing: int) -> None:
    with contextlib.suppress(OSError):
        free = os.statvfs(folder)
        room = free.f_bavail * free.f_frsize
        if missing > room:
            raise LocalError(
                path,
                f"the disk has {room} bytes free, and {missing} are missing",
                hint="make room and run again",
            ) from None


Stopper = Callable[[], None]
