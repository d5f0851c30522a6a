"""ExistingFile: a complete file that this program did not begin, read to find out whether it is the resource."""

from __future__ import annotations

import os

from ..core.blocks import BLOCK, BlockMap
from ..core.ranges import ByteRange
from ..errors import ForeignFileError, LocalError
from ..protocol.identity import Identity
from .copies import RecordDraft
from .data_file import DataFile
from .files import holes, local

# Compare at most this many holes of the file, each with a request. By judgement: holes that the resource does not have
# are what another downloader has left to fetch, and a few of them show that.
_MAX_COMPARED_HOLES = 64


class ExistingFile:
    """The file at *path*, of *size* bytes, as a copy in which every block is held. It is never written."""

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
        """Return the stat result of the file, also when it has lost its name; `ClosedError` when it is closed."""
        with self._file.using() as descriptor:
            return os.fstat(descriptor)

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

    def samples(self) -> tuple[ByteRange, ...]:
        """Return what proves that it is the resource when it agrees: its first and last block, and its holes."""
        size, align = self.blocks.size, self.blocks.align
        if not size:
            return ()
        with self._file.using() as descriptor:
            inside = [align(hole) for hole in list(holes(descriptor, size))[:_MAX_COMPARED_HOLES]]
        parts = {align(ByteRange(0, 1)), align(ByteRange(size - 1, size))}
        parts |= {ByteRange(hole.start, min(hole.start + BLOCK, hole.stop)) for hole in inside}
        return tuple(sorted(parts))

    def after_fork_in_child(self) -> None:
        """Go on in a child process, where a thread that held the lock does not exist."""
        self._file.after_fork_in_child()

    def close(self) -> None:
        self._file.close()
