"""Readahead: which bytes to ask for when some are read. Offsets in, ranges out; no threads, no I/O.

A *stream* is a place where somebody reads on. A read at a stream's place, or a short jump ahead of it, continues
the stream: what lies between is fetched too, and the window ahead grows. A read anywhere else begins a stream,
which asks for nothing but its blocks until it is continued. Of too many streams the least recently used one ends,
though not for the sake of bytes that are held already.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..core.blocks import BLOCK
from ..core.ranges import ByteRange

# The window grows by this factor with every request of a stream that is continued, up to the most.
GROWTH = 4
MAX_AHEAD = 16 * 1024 * 1024


@dataclass(eq=False, slots=True)
class ReadStream:
    """Where somebody reads: *place* is the end of the last read, *edge* the end of what was asked for."""

    place: int
    edge: int
    window: int
    want: ByteRange


@dataclass(frozen=True, slots=True)
class Plan:
    """What to want now, if anything, and the wants that nobody needs any more."""

    want: ByteRange | None
    dropped: tuple[ByteRange, ...] = ()


class Readahead:
    """The streams of one file: at most *streams* of them; jumps ahead of up to *jump* bytes continue one."""

    def __init__(self, streams: int, jump: int, most: int = MAX_AHEAD) -> None:
        self._most_streams = max(1, streams)
        self._jump = jump
        self._most = most
        self._streams: list[ReadStream] = []  # least recently used first

    def read(self, wanted: ByteRange, *, held: bool = False) -> Plan:
        """Return what a read of *wanted* should ask for, as far as earlier plans did not. All of it may be *held*."""
        stream = self._continued_by(wanted)
        if stream is None:
            full = len(self._streams) >= self._most_streams
            return Plan(None) if held and full else self._begin(wanted)
        self._streams.remove(stream)
        self._streams.append(stream)
        place, stream.place = stream.place, wanted.stop
        if wanted.stop <= stream.edge - stream.window // 2:
            return Plan(None)
        stream.window = min(stream.window * GROWTH, self._most)
        stream.edge = _up(max(stream.edge, wanted.stop) + stream.window)
        # From the place on: what was asked for since may not be here yet, and what a jump passes is kept.
        before, stream.want = stream.want, ByteRange(place, stream.edge)
        return Plan(stream.want, (before,))

    def _continued_by(self, wanted: ByteRange) -> ReadStream | None:
        near = [s for s in self._streams if s.place <= wanted.start <= max(s.place + self._jump, s.edge)]
        return max(near, key=lambda stream: stream.place, default=None)

    def _begin(self, wanted: ByteRange) -> Plan:
        want = ByteRange(wanted.start // BLOCK * BLOCK, _up(wanted.stop))
        self._streams.append(ReadStream(wanted.stop, want.stop, BLOCK, want))
        dropped = tuple(stream.want for stream in self._streams[: -self._most_streams])
        del self._streams[: -self._most_streams]
        return Plan(want, dropped)

    @property
    def demand(self) -> tuple[ByteRange, ...]:
        """What each stream asked for last."""
        return tuple(stream.want for stream in self._streams)

    def end(self) -> tuple[ByteRange, ...]:
        """End every stream, and return what they wanted."""
        wants = self.demand
        self._streams.clear()
        return wants


def _up(position: int) -> int:
    return -(-position // BLOCK) * BLOCK
