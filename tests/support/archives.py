"""Zip archives made by hand: quickly, and of any number of members."""

from __future__ import annotations

import struct

_HEADER = struct.Struct("<IHHHHHHIIIHHHHHII")
_NAME = "folder-%d/member-%06d.txt"


def member_names(count: int) -> list[str]:
    return [_NAME % (number % 7, number) for number in range(count)]


def bare_archive(count: int) -> bytes:
    """Return an archive of *count* empty members that is nothing but a directory: 66 bytes each."""
    entries = []
    for name in member_names(count):
        raw = name.encode()
        head = _HEADER.pack(0x02014B50, 20, 20, 0, 0, 0, 33, 0, 0, 0, len(raw), 0, 0, 0, 0, 0, 0)
        entries.append(head + raw)
    directory = b"".join(entries)
    size = len(directory)
    if count < 0xFFFF:
        return directory + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, size, 0, 0)
    end64 = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, size, 0)
    locator = struct.pack("<IIQI", 0x07064B50, 0, size, 1)
    return (
        directory + end64 + locator + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, size, 0, 0)
    )
