"""Zip archives of very many members, quickly made: what zipfile takes half a minute for."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

_DATA = b"data"
_CRC = zlib.crc32(_DATA)
_DATE = (2024 - 1980) << 9 | 5 << 5 | 17  # as MS-DOS has it
_MANY = 0xFFFF  # from here on the count is in the Zip64 end record


def make(path: Path, members: int) -> Path:
    """Write an archive of *members* files of four bytes each, in folders of a hundred, unless it is there."""
    if path.exists():
        return path
    directory = bytearray()
    with path.open("wb") as file:
        offset = 0
        for number in range(members):
            name = b"folder-%05d/member-%07d.txt" % (number // 100, number)
            both = struct.pack("<5H3I2H", 20, 0, 0, 0, _DATE, _CRC, len(_DATA), len(_DATA), len(name), 0)
            file.write(b"PK\3\4" + both + name + _DATA)
            directory += b"PK\1\2" + struct.pack("<H", 0x031E) + both
            directory += struct.pack("<3H2I", 0, 0, 0, 0o100644 << 16, offset) + name
            offset += 30 + len(name) + len(_DATA)
        file.write(directory)
        if members >= _MANY:
            end = offset + len(directory)
            file.write(
                b"PK\6\6"
                + struct.pack("<Q2H2I4Q", 44, 45, 45, 0, 0, members, members, len(directory), offset)
            )
            file.write(b"PK\6\7" + struct.pack("<IQI", 0, end, 1))
        count = min(members, _MANY)
        file.write(b"PK\5\6" + struct.pack("<4H2IH", 0, 0, count, count, len(directory), offset, 0))
    return path
