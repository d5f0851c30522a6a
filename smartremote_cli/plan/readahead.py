"""Readahead: which bytes to ask for when some are read. Offsets in, ranges out; no threads, no I/O.

A *stream* is a place where a program reads on. A read at a stream's place, or a short jump ahead of it, continues
the stream: what lies between is fetched too, and the window ahead grows. A read anywhere else begins a stream, which
asks for its blocks alone until it is continued. When there are too many streams the least recently used one ends,
unless the bytes of the new one are held already. A reader that says beforehand that it reads in order has a stream of
its own, whose window need not grow first.
"""

from __future__ import annotations

from typing import NamedTuple

from ..core.blocks import BLOCK
from ..core.ranges import ByteRange

# The window grows by this factor with every request of a stream that is continued. By judgement: from one block to the
# most in four requests, and a stream that ends early has fetched a few times what was read of it.
WINDOW_GROWTH = 4

# Bytes of the largest window. By judgement: 8 connections at 20 MB/s need 16 MB for 100 ms of round trip.
MAX_AHEAD = 16 * 1024 * 1024

# Bytes that connections run ahead of a reader that said what it reads in order. Larger, for none of it is a guess: 8
# connections have work of 4 MiB each, and a reader that pauses leaves at most this much unread.
MAX_AHEAD_IN_ORDER = 32 * 1024 * 1024


class ReadStream:
    """Where a program reads: *place* is the end of the last read, *edge* the end of what was requested."""

    # A plain class, as those below: to make a dataclass costs half a millisecond of every start of `cat`.
    __slots__ = ("edge", "place", "request", "window")

    def __init__(self, place: int, edge: int, window: int, request: ByteRange) -> None:
        self.place = place
        self.edge = edge
        self.window = window
        self.request = request


class OrderedStream:
    """A reader that said beforehand where it *stop*s, None for the end: its *window* is open from the first byte on."""

    __slots__ = ("edge", "request", "stop", "window")

    def __init__(self, edge: int, stop: int | None, window: int) -> None:
        self.edge = edge
        self.stop = stop
        self.window = window
        self.request: ByteRange | None = None


class Plan(NamedTuple):
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
        self._ordered: list[OrderedStream] = []

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

    def follow(self, start: int, stop: int | None, window: int) -> OrderedStream:
        """Begin a stream that reads [start, stop) in order, *window* bytes ahead; no other stream ends for it."""
        return OrderedStream(start, stop, window)

    def advance(self, stream: OrderedStream, place: int) -> Plan:
        """Return what to request when everything before *place* was read; what lies behind is cancelled."""
        if stream.edge - place < stream.window // 2 and stream.edge != stream.stop:
            ahead = place + stream.window
            stream.edge = ahead if stream.stop is None else min(ahead, stream.stop)
        if stream not in self._ordered:
            self._ordered.append(stream)
        before = stream.request
        stream.request = ByteRange(place, stream.edge) if place < stream.edge else None
        return Plan(stream.request, () if before is None else (before,))

    def leave(self, stream: OrderedStream) -> Plan:
        """End *stream*."""
        if stream in self._ordered:
            self._ordered.remove(stream)
        before, stream.request = stream.request, None
        return Plan(None, () if before is None else (before,))

    @property
    def demand(self) -> tuple[ByteRange, ...]:
        """What each stream requested last."""
        ordered = [stream.request for stream in self._ordered if stream.request is not None]
        return (*(stream.request for stream in self._streams), *ordered)

    def end(self) -> tuple[ByteRange, ...]:
        """End every stream, and return what they requested."""
        demand = self.demand
        self._streams.clear()
        self._ordered.clear()
        return demand


def _up(position: int) -> int:
    return -(-position // BLOCK) * BLOCK
