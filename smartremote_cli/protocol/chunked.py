"""The chunked transfer coding (RFC 9112, 7.1), decoded without I/O.

h11 makes an object of every chunk; here many small chunks cost little more than one large one. Lines may end with LF
alone, because some servers write them so and other clients accept it; extensions and trailers are dropped.
"""

from __future__ import annotations

import enum
import re

# Bytes of a chunk's size with its extensions, or of one trailer; and of all trailers. By judgement: no server is known
# that sends as much, and memory stays bounded for one that does.
MAX_LINE = 4096
MAX_TRAILERS = 64 * 1024

_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r]*)?\r?\n")


class ChunkError(ValueError):
    """The bytes that came are not the chunked coding."""


class _At(enum.Enum):
    SIZE = enum.auto()
    DATA = enum.auto()
    EDGE = enum.auto()  # the line end after a chunk's data
    TRAILERS = enum.auto()
    END = enum.auto()


class Chunks:
    """A decoder of one body: `feed` it the bytes that arrive, `take` the body's bytes out of it."""

    def __init__(self) -> None:
        self._at = _At.SIZE
        self._rest = b""  # fed, and not decoded yet
        self._left = 0  # bytes still to come of the chunk under way
        self._trailers = 0

    @property
    def is_whole(self) -> bool:
        """Whether every byte of the body was taken; its trailers may still be to come."""
        return self._at in (_At.TRAILERS, _At.END)

    @property
    def is_over(self) -> bool:
        """Whether the trailers were read too: what follows belongs to the next answer."""
        return self._at is _At.END

    @property
    def leftovers(self) -> bytes:
        """The bytes that were fed and are not decoded; after the end, they are not this body's."""
        return self._rest

    def feed(self, data: bytes) -> None:
        self._rest += data

    def take(self, view: memoryview) -> int:
        """Move the body's bytes that were fed into *view*; return how many. Raises `ChunkError`."""
        rest, position, count = memoryview(self._rest), 0, 0
        while count < len(view):
            if self._at is _At.DATA:
                part = min(self._left, len(view) - count, len(rest) - position)
                view[count : count + part] = rest[position : position + part]
                count, position, self._left = count + part, position + part, self._left - part
                if self._left:
                    break
                self._at = _At.EDGE
            line = self._read_line(position)
            if line is None:
                break
            position += len(line)
        self._rest = self._rest[position:]
        return count

    def _read_line(self, position: int) -> bytes | None:
        """Read and return the line at *position* of what was fed; None when it is not complete, or after the end."""
        if self._at in (_At.DATA, _At.END):
            return None if self._at is _At.END else b""
        end = self._rest.find(b"\n", position) + 1
        if not end:
            if len(self._rest) - position > MAX_LINE:
                raise ChunkError("a chunk's size, or a trailer, that does not end")
            return None
        line = self._rest[position:end]
        if self._at is _At.SIZE:
            found = _SIZE.fullmatch(line)
            if found is None or len(line) > MAX_LINE:
                raise ChunkError(f"a chunk of {line[:40]!r} bytes")
            self._left = int(found[1], 16)
            self._at = _At.DATA if self._left else _At.TRAILERS
        elif self._at is _At.EDGE:
            if line.strip(b"\r\n"):
                raise ChunkError("a chunk longer than its size")
            self._at = _At.SIZE
        else:
            self._trailers += len(line)
            if self._trailers > MAX_TRAILERS:
                raise ChunkError(f"trailers of more than {MAX_TRAILERS} bytes")
            if not line.strip(b"\r\n"):
                self._at = _At.END
        return line
