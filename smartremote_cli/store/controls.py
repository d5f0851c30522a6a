"""Control files of other downloaders: bytes -> which stretches of the file they claim. Values in, values out; no I/O.

Whatever does not add up is refused as `DamagedError`: a control file decides which bytes are not fetched again.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..core.blocks import MAX_SIZE
from ..core.ranges import ByteRange
from ..errors import DamagedError

# Bytes. aria2 has a bit for each piece of 1 MiB: 8 MiB speak of 64 TiB. A larger control file is refused unread.
MAX_CONTROL_BYTES = 8 << 20

# Pieces are written in parts of this many bytes (aria2's technical notes).
_ARIA2_PART_BYTES = 16 * 1024

_LFTP_LINE = re.compile(r"(size|(\d{1,9})\.(pos|limit))=(\d{1,19})", re.ASCII)


class Claims(NamedTuple):
    """What a control file says: the *size* of the resource, None where it does not know, and the stretches *held*.

    The stretches are in order, and do not touch each other.
    """

    size: int | None
    held: tuple[ByteRange, ...]


def parse_aria2(data: bytes, name: str) -> Claims:
    """Return what version 1 of aria2's control file claims; *name* is for errors."""
    reader = _Reader(data, name)
    if reader.take(">H") != 1:
        raise DamagedError(name, "not a control file of aria2, version 1")
    reader.take(">I")  # extensions: whether the info hash is checked
    reader.skip(reader.take(">I"))  # the info hash
    piece, total, _, length = reader.take(">I"), reader.take(">Q"), reader.take(">Q"), reader.take(">I")
    if not piece or total > MAX_SIZE or length != _bytes_of_bits(total, piece):
        raise reader.contradiction("its bitfield is not as long as its size demands")
    held = list(_runs(reader.skip(length), piece, total))
    for _ in range(reader.take(">I")):
        index, bytes_here, flags = reader.take(">I"), reader.take(">I"), reader.take(">I")
        start = index * piece
        if bytes_here != min(piece, total - start) or flags != _bytes_of_bits(bytes_here, _ARIA2_PART_BYTES):
            raise reader.contradiction(f"piece {index} is not as long as it should be")
        parts = _runs(reader.skip(flags), _ARIA2_PART_BYTES, bytes_here)
        held += [ByteRange(start + part.start, start + part.stop) for part in parts]
    reader.end()
    return Claims(total or None, _joined(held))


def parse_axel(data: bytes, name: str) -> Claims:
    """Return what the state file of axel 2.17 claims: all but what its connections have left to do.

    It does not name the size: that is what is done and what is left. A connection that was finished may have taken
    over part of another's work, so that none of them ends at the size any more.
    """
    reader = _Reader(data, name)
    count, done = reader.take("=H"), reader.take("=q")
    missing = []
    furthest = 0
    for _ in range(count):
        current, last = reader.take("=q"), reader.take("=q")
        if not 0 <= current <= MAX_SIZE or not 0 <= last <= MAX_SIZE:
            raise reader.contradiction("a connection is outside the file")
        furthest = max(furthest, last)
        if current < last:
            missing.append(ByteRange(current, last))
    reader.end()
    size = done + sum(map(len, missing))
    if not count or done < 0 or not furthest <= size <= MAX_SIZE:
        raise reader.contradiction("it counts other bytes than it names")
    return _all_but(missing, size, name)


def parse_lftp(data: bytes, name: str) -> Claims:
    """Return what the status file of lftp's pget claims: all but what its chunks have left to do."""
    size: int | None = None
    ends: dict[str, dict[str, int]] = {}
    for line in data.decode("ascii", "replace").split("\n"):
        found = _LFTP_LINE.fullmatch(line.strip())
        if found is None:
            if line.strip():
                raise DamagedError(name, "not a status file of lftp")
        elif found[1] == "size":
            size = int(found[4])
        else:
            ends.setdefault(found[2], {})[found[3]] = int(found[4])
    if size is None or size > MAX_SIZE or not ends or any(len(each) < 2 for each in ends.values()):
        raise DamagedError(name, "the status file does not add up: it is cut short")
    missing = []
    for each in ends.values():
        if max(each["pos"], each["limit"]) > size:
            raise DamagedError(name, "the status file does not add up: a chunk is outside the file")
        if each["pos"] < each["limit"]:
            missing.append(ByteRange(each["pos"], each["limit"]))
    return _all_but(missing, size, name)


def _all_but(missing: list[ByteRange], size: int, name: str) -> Claims:
    held, reached = [], 0
    gaps = _joined(missing)
    if not size or sum(map(len, gaps)) != sum(map(len, missing)):
        raise DamagedError(
            name, "the control file does not add up: two connections have the same bytes to do"
        )
    for gap in gaps:
        if reached < gap.start:
            held.append(ByteRange(reached, gap.start))
        reached = gap.stop
    if reached < size:
        held.append(ByteRange(reached, size))
    return Claims(size, tuple(held))


def _runs(bits: bytes, unit: int, size: int) -> Iterator[ByteRange]:
    """Yield the stretches of *unit* bytes each, most significant bit first, whose bits are set, cut at *size*."""
    start: int | None = None
    for index, byte in enumerate(bits):
        if byte == (0xFF if start is not None else 0):
            continue
        for bit in range(8):
            at = (8 * index + bit) * unit
            if byte >> (7 - bit) & 1:
                start = at if start is None else start
            elif start is not None:
                if start < min(at, size):
                    yield ByteRange(start, min(at, size))
                start = None
    if start is not None and start < size:
        yield ByteRange(start, size)


def _bytes_of_bits(size: int, unit: int) -> int:
    """Return how long a bitfield is that has a bit for each *unit* of *size* bytes."""
    count = -(-size // unit)
    return (count + 7) // 8


def _joined(parts: Iterable[ByteRange]) -> tuple[ByteRange, ...]:
    joined: list[ByteRange] = []
    for part in sorted(parts):
        if joined and part.start <= joined[-1].stop:
            joined[-1] = ByteRange(joined[-1].start, max(joined[-1].stop, part.stop))
        else:
            joined.append(part)
    return tuple(joined)


class _Reader:
    """Takes numbers from the front of *data*."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self._name = name
        self._at = 0

    def take(self, form: str) -> int:
        size = struct.calcsize(form)
        (value,) = struct.unpack(form, self.skip(size))
        return int(value)

    def skip(self, length: int) -> bytes:
        part = self._data[self._at : self._at + length]
        if len(part) < length:
            raise self.contradiction("it is cut short")
        self._at += length
        return part

    def end(self) -> None:
        if self._at != len(self._data):
            raise self.contradiction("more follows its end")

    def contradiction(self, why: str) -> DamagedError:
        return DamagedError(self._name, f"the control file does not add up: {why}")
