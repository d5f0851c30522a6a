"""Readahead: which bytes to ask for when some are read. Offsets in, ranges out; no threads, no I/O.

A *stream* is a place where a program reads on. A read at a stream's place, or a short jump ahead of it, continues
the stream: what lies between is fetched too, and the window ahead grows. A read anywhere else begins a stream, which
asks for its blocks alone until it is continued. When there are too many streams the least recently used one ends,
unless the bytes of the new one are held already.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..core.blocks import BLOCK
from ..core.ranges import ByteRange

# The window grows by this factor with every request of a stream that is continued. By judgement: from one block to the
# most in four requests, and a stream that ends early has fetched a few times what was read of it.
WINDOW_GROWTH = 4

# Bytes of the largest window. By judgement: 8 connections at 20 MB/s need 16 MB for 100 ms of round trip.
MAX_AHEAD = 16 * 1024 * 1024


@dataclass(eq=False, slots=True)
class ReadStream:
    """Where a program reads: *place* is the end of the last read, *edge* the end of what was requested."""

    place: int
    edge: int
    window: int
    request: ByteRange


@dataclass(frozen=True, slots=True)
class Plan:
    """What to request now, if anything, and which earlier requests to cancel."""

    request: ByteRange | None
    cancelled: tuple[ByteRange, ...] = ()


class Readahead:
    """The streams of one file: at most *streams* of them; jumps ahead of up to *jump* bytes continue one."""

    def __init__(self, streams: int, jump: int, max_ahead: int = MAX_AHEAD) -> None:
        self._max_streams = max(1, streams)
        self._jump = jump
        self._max_ahead = max_ahead
        self._streams: list[ReadStream] = []  # least recently used first

    def read(self, wanted: ByteRange, *, held: bool = False) -> Plan:
        """Take note of a read of *wanted*, and return what it should request that earlier plans did not.

        *held* says that all of *wanted* is held.
        """
        stream = self._continued_by(wanted)
        if stream is None:
            full = len(self._streams) >= self._max_streams
            return Plan(None) if held and full else self._begin(wanted)
        self._streams.remove(stream)
        self._streams.append(stream)
        place, stream.place = stream.place, wanted.stop
        if wanted.stop <= stream.edge - stream.window // 2:
            return Plan(None)
        stream.window = min(stream.window * WINDOW_GROWTH, self._max_ahead)
        stream.edge = _up(max(stream.edge, wanted.stop) + stream.window)
        # From the place on: what was requested since may be missing still, and what a jump passes is fetched too.
        before, stream.request = stream.request, ByteRange(place, stream.edge)
        return Plan(stream.request, (before,))

    def _continued_by(self, wanted: ByteRange) -> ReadStream | None:
        near = [s for s in self._streams if s.place <= wanted.start <= max(s.place + self._jump, s.edge)]
        return max(near, key=lambda stream: stream.place, default=None)

    def _begin(self, wanted: ByteRange) -> Plan:
        request = ByteRange(wanted.start // BLOCK * BLOCK, _up(wanted.stop))
        self._streams.append(ReadStream(wanted.stop, request.stop, BLOCK, request))
        cancelled = tuple(stream.request for stream in self._streams[: -self._max_streams])
        del self._streams[: -self._max_streams]
        return Plan(request, cancelled)

    @property
    def demand(self) -> tuple[ByteRange, ...]:
        """What each stream requested last."""
        return tuple(stream.request for stream in self._streams)

    def end(self) -> tuple[ByteRange, ...]:
        """End every stream, and return what they requested."""
        demand = self.demand
        self._streams.clear()
        return demand


def _up(position: int) -> int:
    return -(-position // BLOCK) * BLOCK
