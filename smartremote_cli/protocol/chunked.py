"""The chunked transfer coding (RFC 9112, 7.1), decoded without I/O.

HTTP's parser makes an object of every chunk; here many small ones cost little more than one large one. Lines may end
with LF alone, as servers write them and other clients read them; extensions and trailers are dropped.
"""

from __future__ import annotations

import enum
import re

MAX_LINE = 4096
MAX_TRAILERS = 64 * 1024

_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r]*)?\r?\n")


class ChunkError(ValueError):
    """What came is not the chunked coding."""


class _At(enum.Enum):
    SIZE = enum.auto()
    DATA = enum.auto()
    EDGE = enum.auto()  # the line end after a chunk's data
    TRAILERS = enum.auto()
    END = enum.auto()


class Chunks:
    """A decoder of one body. `feed` it what comes, `take` what it means."""

    def __init__(self) -> None:
        self._at = _At.SIZE
        self._rest = b""  # fed, and not decoded yet
        self._left = 0  # bytes of the chunk under way
        self._trailers = 0

    @property
    def is_whole(self) -> bool:
        """Whether every byte of the body was taken; its trailers may still be to come."""
        return self._at in (_At.TRAILERS, _At.END)

    @property
    def is_over(self) -> bool:
        """Whether the trailers are over too: what follows is not this body's."""
        return self._at is _At.END

    @property
    def leftovers(self) -> bytes:
        """What was fed and is not decoded, or not this body's."""
        return self._rest

    def feed(self, data: bytes) -> None:
        self._rest += data

    def take(self, view: memoryview) -> int:
        """Fill *view* with body bytes as far as they were fed; return how many. `ChunkError` for what is none."""
        rest, position, count = memoryview(self._rest), 0, 0
        while count < len(view):
            if self._at is _At.DATA:
                part = min(self._left, len(view) - count, len(rest) - position)
                view[count : count + part] = rest[position : position + part]
                count, position, self._left = count + part, position + part, self._left - part
                if self._left:
                    break
                self._at = _At.EDGE
            line = self._line(position)
            if line is None:
                break
            position += len(line)
        self._rest = self._rest[position:]
        return count

    def _line(self, position: int) -> bytes | None:
        """Read the line at *position* of what was fed and return it; None when there is none, or none to read."""
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
