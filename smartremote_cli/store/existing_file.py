"""ExistingFile: a file without a record of ours, read to find out whether it is the resource, or its beginning."""

from __future__ import annotations

import os

from pyroaring import BitMap

from ..core.blocks import BLOCK, BlockMap
from ..core.ranges import ByteRange
from ..core.sizes import size_text
from ..errors import ForeignFileError, LocalError
from ..events import Listener, Notice
from ..protocol.identity import Identity
from .copies import Opened, RecordDraft
from .data_file import DataFile
from .evidence import places, unfinished, zero_runs
from .files import is_marked, local, unmark
from .sums import Sums

# Tell the user before reading more than this many bytes in search of zeros. By judgement: a disk that reads 200 MB/s
# is silent for five seconds then.
_SILENT_READ_BYTES = 1 << 30

_OTHER = "a file of that name exists, and it is not this resource"


class ExistingFile:
    """The file at *path*, of *held* bytes, as a copy of a resource of *size* bytes. It is never written.

    Of a shorter one the blocks are those that lie whole in it, so that nothing after them is asked for.
    """

    is_durable = False
    is_foreign = True
    max_bytes: int | None = None

    def __init__(self, path: str, held: int, size: int | None = None, *, url: str = "") -> None:
        self.path = path
        self.places = 0  # how many were compared with the resource
        self._held = held
        self._size = held if size is None else size
        self._url = url
        self._samples: tuple[ByteRange, ...] | None = None
        self.identity = Identity(self._size)
        self.blocks = BlockMap(held // BLOCK * BLOCK if self.is_prefix else held)
        if self.blocks.size:
            self.blocks.hold(ByteRange(0, self.blocks.size))
        with local(path):
            self._file = DataFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC), path)

    @property
    def descriptor(self) -> int:
        return self._file.descriptor

    @property
    def is_prefix(self) -> bool:
        """Whether it is shorter than the resource."""
        return self._held < self._size

    def stat(self) -> os.stat_result:
        """Return the stat result of the file, also when it has lost its name; `ClosedError` when it is closed."""
        with self._file.using() as descriptor:
            return os.fstat(descriptor)

    def settle(self, identity: Identity) -> None:
        """Take note of the identity; the file stays as it is."""
        self.identity = identity

    def write(self, offset: int, data: memoryview) -> None:
        """Raise: what has to be written is missing, or differs."""
        if self.is_prefix and offset >= self.blocks.size:
            raise self._beginning()
        raise self.other("its content differs")

    def read(self, wanted: ByteRange) -> bytes:
        """Return the bytes of *wanted*; `LocalError` when the file was cut meanwhile."""
        data = self._file.read(wanted)
        if len(data) < len(wanted):
            if self.is_prefix and wanted.stop > self._held:
                raise self._beginning()
            raise LocalError(self.path, f"the file was cut at {wanted.start + len(data)} bytes")
        return data

    def draft_record(self) -> RecordDraft:
        return RecordDraft(0, self.blocks.bits, self.identity)

    def checkpoint(self, draft: RecordDraft) -> None:
        """Do nothing: there is nothing to record."""

    def reset(self, draft: RecordDraft) -> None:
        """Do nothing: the file stays as it is."""

    bytes_in_memory = 0

    def forget(self, part: ByteRange) -> BitMap:
        """Do nothing: the file stays as it is."""
        return BitMap()

    def damaged(self, *, everything: bool = False) -> BitMap:
        """Return none: there are no sums."""
        return BitMap()

    def opened(self, tell: Listener) -> Opened:
        """Return it as opened: nothing but what agrees in all its samples is taken for the resource."""
        return Opened(self, samples=self._chosen(tell), mismatch=self.other)

    def _chosen(self, tell: Listener) -> tuple[ByteRange, ...]:
        """Choose once what to compare: what a later transfer compares must include what made an earlier one fail."""
        if self._samples is None:
            held = self.blocks.bytes_held
            if held > _SILENT_READ_BYTES:
                tell(Notice(f"{self.path}: reading its {size_text(held)} to see what to compare"))
            with self._file.using() as descriptor:
                zeros = [] if self.is_prefix else zero_runs(descriptor, held)
            self._samples = places(held, zeros)
            self.places = len(self._samples)
        return self._samples

    def other(self, why: str) -> ForeignFileError:
        """Return the error for a file that is not the resource."""
        return ForeignFileError(self.path, f"{_OTHER}: {why}")

    def _beginning(self) -> ForeignFileError:
        return unfinished(self.path, f"the first {amounts(self._held, self._size)} are here", self._url)

    def accept(self) -> None:
        """Take the mark and the sums of our unfinished download away: the file is complete.

        Raises `ForeignFileError` for a beginning.
        """
        if self.is_prefix:
            raise self._beginning()
        with self._file.using() as descriptor:
            if is_marked(descriptor):
                unmark(descriptor)
                Sums(self.path).remove()

    def after_fork_in_child(self) -> None:
        """Go on in a child process, where a thread that held the lock does not exist."""
        self._file.after_fork_in_child()

    def close(self) -> None:
        self._file.close()


def amounts(here: int, size: int) -> str:
    """Return *here* of *size* bytes for people: 19.1 of 32.0 MiB."""
    part, whole = size_text(here), size_text(size)
    number, _, unit = part.partition(" ")
    return f"{number} of {whole}" if whole.endswith(f" {unit}") else f"{part} of {whole}"
