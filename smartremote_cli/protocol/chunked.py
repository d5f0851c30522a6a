"""The chunked transfer coding (RFC 9112, 7.1), decoded without I/O.

h11 makes an object of every chunk; here many small chunks cost little more than one large one. Lines may end with LF
alone, because some servers write them so and other clients accept it; extensions and trailers are dropped. All else is
held to the letter: one wrong digit in a chunk's size would put the framing into the body, or end it early.
"""

from __future__ import annotations

import enum
import re

# Bytes of a chunk's size with its extensions, or of one trailer; and of all trailers. By judgement: no server is known
# that sends as much, and memory stays bounded for one that does.
MAX_LINE = 4096
MAX_TRAILERS = 64 * 1024

# Bytes. A chunk of up to this size is given out only when the line end after it is here, which proves its size. By
# judgement: servers send chunks of 4 to 64 KiB, and a block is what a broken connection may cost.
MAX_HELD = 64 * 1024

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r]*)?\r?\n")
_FIELD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+[ \t]*:[^\x00\r]*\r?\n")

# What a line may begin with whose end has not come yet.
_SIZE_BEGUN = rb"(?:[0-9A-Fa-f]{1,15}(?:[ \t]*(?:;[^\r]*)?\r?)?)?"
_EDGE_BEGUN = rb"\r?"
_TRAILER_BEGUN = rb"(?:\r|[!#$%&'*+\-.^_`|~0-9A-Za-z]+[ \t]*(?::[^\x00\r]*\r?)?)?"
_ENDS = (b"\r\n", b"\n")


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
        self._size = self._left = 0  # bytes of the chunk under way, and how many of them are still to come
        self._is_sure = False  # whether the line end after that chunk was seen
        self._is_released = False
        self._line_end = b""  # of the size under way; the chunk ends with the same
        self._trailers = 0

    @property
    def unconfirmed(self) -> int:
        """How many of the bytes that were taken last are of a chunk whose end was not seen."""
        return self._size - self._left if self._at in (_At.DATA, _At.EDGE) and not self._is_sure else 0

    def release(self) -> None:
        """Give out the chunk under way as it comes."""
        self._is_released = True

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
                if not self._may_take(position):
                    break
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

    def _may_take(self, position: int) -> bool:
        """Return whether the chunk's bytes at *position* of what was fed may be given out by now."""
        if self._is_sure or self._is_released or self._size > MAX_HELD:
            return True
        stop = position + self._left
        edge = self._rest[stop : stop + len(self._line_end)]
        if edge == self._line_end:
            self._is_sure = True
        elif not self._line_end.startswith(edge):
            raise ChunkError("a chunk longer than its size")
        return self._is_sure

    def _read_line(self, position: int) -> bytes | None:
        """Read and return the line at *position* of what was fed; None when it is not complete, or after the end."""
        if self._at is _At.END:
            return None
        end = self._rest.find(b"\n", position) + 1
        if not end:
            self._check_begun(self._rest[position : position + MAX_LINE + 1])
            return None
        line = self._rest[position:end]
        if self._at is _At.SIZE:
            found = _SIZE.fullmatch(line)
            if found is None or len(line) > MAX_LINE:
                raise ChunkError(f"a chunk of {line[:40]!r} bytes")
            self._size = self._left = int(found[1], 16)
            self._line_end = b"\r\n" if line.endswith(b"\r\n") else b"\n"
            self._is_sure = self._is_released = False
            self._at = _At.DATA if self._left else _At.TRAILERS
        elif self._at is _At.EDGE:
            if line != self._line_end:  # else a size that is one too large would take the CR for data
                raise ChunkError("a chunk longer than its size")
            self._at = _At.SIZE
        else:
            self._read_trailer(line)
        return line

    def _read_trailer(self, line: bytes) -> None:
        self._trailers += len(line)
        if self._trailers > MAX_TRAILERS:
            raise ChunkError(f"trailers of more than {MAX_TRAILERS} bytes")
        if line in _ENDS:
            self._at = _At.END
        elif not _FIELD.fullmatch(line):
            raise ChunkError(f"a trailer {line[:40]!r}")

    def _check_begun(self, begun: bytes) -> None:
        """Raise `ChunkError` when *begun*, a line that has not ended, can be none of those that may come here."""
        if len(begun) > MAX_LINE:
            raise ChunkError("a chunk's size, or a trailer, that does not end")
        allowed = {_At.SIZE: _SIZE_BEGUN, _At.EDGE: _EDGE_BEGUN, _At.TRAILERS: _TRAILER_BEGUN}[self._at]
        if not re.fullmatch(allowed, begun):
            raise ChunkError(f"{begun[:40]!r} in place of a line of the chunked coding")
