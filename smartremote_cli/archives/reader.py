"""RangeReader: where a listing gets its bytes from; FileReader: a RangeReader over any seekable file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from ..core.ranges import ByteRange

_END = 2  # os.SEEK_END
# Bytes handed on at a time: large enough that Python's cost per piece vanishes, small enough for bounded memory.
_PIECE = 256 * 1024


class RangeReader(Protocol):
    """Reads ranges of one resource; `library.reading.Reader` is one."""

    def open(self, offset: int, length: int | None) -> int | None:
        """Begin with *length* bytes from *offset* on (None: up to the end; a negative *offset* counts from there).

        Return the resource's size in bytes, None when it is not announced.
        """

    def size_at_last(self) -> int:
        """Return the size of a resource that does not announce it, by reading all of it."""

    def read(self, wanted: ByteRange, /) -> bytes:
        """Return the bytes of *wanted*."""

    def stream(self, start: int, stop: int | None) -> Iterator[bytes]:
        """Yield the bytes [start, stop) in order, cut anywhere."""


@runtime_checkable
class SeekableFile(Protocol):
    """A binary file as Python's own are; `RemoteFile`, `open(path, "rb")` and `io.BytesIO` are ones."""

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def read(self, size: int = -1, /) -> bytes | None: ...


class FileReader:
    """The ranges of a file, by seeking. It moves the file's position."""

    def __init__(self, file: SeekableFile) -> None:
        self._file = file

    def open(self, offset: int, length: int | None) -> int | None:
        """Return the file's size; a file needs no first request."""
        return self.size_at_last()

    def size_at_last(self) -> int:
        return self._file.seek(0, _END)

    def read(self, wanted: ByteRange) -> bytes:
        return b"".join(self.stream(wanted.start, wanted.stop))

    def stream(self, start: int, stop: int | None) -> Iterator[bytes]:
        position = start
        while stop is None or position < stop:
            self._file.seek(position)  # others may have moved it since the last piece
            data = self._file.read(_PIECE if stop is None else min(_PIECE, stop - position))
            if not data:
                return
            yield data
            position += len(data)
