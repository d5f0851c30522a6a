"""Readahead: which bytes to ask for when some are read. Offsets in, ranges out; no threads, no I/O.

A *stream* is a place where somebody reads on. A read at a stream's place, or a short jump ahead of it, continues
the stream: what lies between is fetched too, and the window ahead grows. A read anywhere else begins a stream,
which asks for nothing but its blocks until it is continued. Of too many streams the least recently used one ends,
though not for the sake of bytes that are held already. Who says beforehand that it reads in order has a stream of its
own, whose window need not grow first.
"""

from __future__ import annotations

from typing import NamedTuple

from ..core.blocks import BLOCK
from ..core.ranges import ByteRange

# The window grows by this factor with every request of a stream that is continued, up to MAX_AHEAD bytes. Chosen by
# judgement: four requests from one block to 16 MiB, where doubling takes eight, and little wasted by who stops early.
GROWTH = 4
MAX_AHEAD = 16 * 1024 * 1024
# How many bytes connections run ahead of a reader that said what it reads in order. Larger, for none of it is a guess:
# 8 connections have work of 4 MiB each, and a reader that pauses leaves at most this much unread.
MAX_AHEAD_IN_ORDER = 32 * 1024 * 1024


# Plain classes: to make a dataclass costs half a millisecond of every start of `cat`.
class ReadStream:
    """Where somebody reads: *place* is the end of the last read, *edge* the end of what was asked for."""

    __slots__ = ("edge", "place", "want", "window")

    def __init__(self, place: int, edge: int, window: int, want: ByteRange) -> None:
        self.place = place
        self.edge = edge
        self.window = window
        self.want = want


class OrderedStream:
    """A reader that said beforehand where it *stop*s, None for the end: its *window* is open from the first byte on."""

    __slots__ = ("edge", "stop", "want", "window")

    def __init__(self, edge: int, stop: int | None, window: int) -> None:
        self.edge = edge
        self.stop = stop
        self.window = window
        self.want: ByteRange | None = None


class Plan(NamedTuple):
    """What to want now, if anything, and the wants that no reader needs any more."""

    want: ByteRange | None
    dropped: tuple[ByteRange, ...] = ()


class Readahead:
    """The streams of one file: at most *streams* of them; jumps ahead of up to *jump* bytes continue one."""

    def __init__(self, streams: int, jump: int, most: int = MAX_AHEAD) -> None:
        self._most_streams = max(1, streams)
        self._jump = jump
        self._most = most
        self._streams: list[ReadStream] = []  # least recently used first
        self._ordered: list[OrderedStream] = []

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

    def follow(self, start: int, stop: int | None, window: int) -> OrderedStream:
        """Begin a stream that reads [start, stop) in order, *window* bytes ahead; no other stream ends for it."""
        return OrderedStream(start, stop, window)

    def advance(self, stream: OrderedStream, place: int) -> Plan:
        """Return what to ask for when all before *place* was read: what lies behind is wanted no more."""
        if stream.edge - place < stream.window // 2 and stream.edge != stream.stop:
            ahead = place + stream.window
            stream.edge = ahead if stream.stop is None else min(ahead, stream.stop)
        if stream not in self._ordered:
            self._ordered.append(stream)
        before, stream.want = stream.want, ByteRange(place, stream.edge) if place < stream.edge else None
        return Plan(stream.want, () if before is None else (before,))

    def leave(self, stream: OrderedStream) -> Plan:
        """End *stream*."""
        if stream in self._ordered:
            self._ordered.remove(stream)
        before, stream.want = stream.want, None
        return Plan(None, () if before is None else (before,))

    @property
    def demand(self) -> tuple[ByteRange, ...]:
        """What each stream asked for last."""
        ordered = [stream.want for stream in self._ordered if stream.want is not None]
        return tuple(stream.want for stream in self._streams) + tuple(ordered)

    def end(self) -> tuple[ByteRange, ...]:
        """End every stream, and return what they wanted."""
        wants = self.demand
        self._streams.clear()
        self._ordered.clear()
        return wants


def _up(position: int) -> int:
    return -(-position // BLOCK) * BLOCK
