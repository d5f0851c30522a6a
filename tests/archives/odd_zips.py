"""Archives whose end records and directories are wrong in the ways of real writers, and what each should say."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from zlib import crc32

MEMBERS = ((b"a.txt", b"alpha"), (b"dir/b.txt", b"beta" * 100), (b"c.bin", bytes(range(256)) * 12))
NAMES = [name.decode() for name, _ in MEMBERS]


@dataclass(frozen=True)
class Odd:
    """One archive of the three MEMBERS; the defaults make a right one. Offsets and sizes are what is added to them."""

    before: bytes = b""  # bytes before it
    counted: bool = False  # whether offsets count those bytes too
    between: bytes = b""  # members and directory
    first: bytes = b""  # before the first header of the directory, counted into it
    last: bytes = b""  # after its last header, counted into it
    gap: bytes = b""  # directory and end record
    count: int = 3
    size: int = 0
    offset: int = 0
    disks: tuple[int, int] = (0, 0)
    zip64: bool = False
    plain: bool = False  # with zip64: the plain record holds the numbers too
    sector: bytes = b""
    record_length: int = 0  # added to the length in the zip64 record
    comment: bytes = b""
    comment_length: int | None = None
    after: bytes = b""
    cut: int = 0  # bytes missing at the beginning

    def build(self) -> bytes:
        base = 0 if self.counted else len(self.before)
        body, directory = self.before, self.first
        for name, data in MEMBERS:
            at, crc, size = len(body) - base, crc32(data), len(data)
            body += struct.pack(
                "<4sHHHHHIIIHH", b"PK\3\4", 20, 0x800, 0, 0, 0x5A21, crc, size, size, len(name), 0
            )
            body += name + data
            directory += struct.pack("<4s6H", b"PK\1\2", 0x314, 20, 0x800, 0, 0, 0x5A21)
            directory += struct.pack("<3I5H2I", crc, size, size, len(name), 0, 0, 0, 0, 0, at) + name
        body += self.between
        directory += self.last
        offset, size = len(body) - base + self.offset, len(directory) + self.size
        return (
            body + directory + self.gap + self._end(len(body + directory + self.gap) - base, size, offset)
        )[self.cut :]

    def _end(self, here: int, size: int, offset: int) -> bytes:
        end, count, disks = b"", self.count, self.disks
        if self.zip64:
            length = 44 + len(self.sector) + self.record_length
            end += struct.pack("<4sQHHIIQQQQ", b"PK\6\6", length, 45, 45, *disks, count, count, size, offset)
            end += self.sector + struct.pack("<4sIQI", b"PK\6\7", 0, here, 1)
            if not self.plain:
                count, size, offset, disks = 0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF, (0, 0)
        length = len(self.comment) if self.comment_length is None else self.comment_length
        end += struct.pack(
            "<4sHHHHIIH", b"PK\5\6", *disks, count & 0xFFFF, count & 0xFFFF, size, offset, length
        )
        return end + self.comment + self.after


SIGNATURE = struct.pack("<4sH", b"PK\5\5", 40) + b"s" * 40
EXTRA_DATA = struct.pack("<4sI", b"PK\6\x08", 60) + b"e" * 60

# What is right about each and silent, or a part of the warning.
CASES: dict[str, tuple[Odd, str]] = {
    "right": (Odd(), ""),
    "a count that is too large": (Odd(count=9), "holds 3 entries, not 9"),
    "a count that is absurd": (Odd(count=60_000), "holds 3 entries, not 60000"),
    "a count that is too small": (Odd(count=1), "holds 3 entries, not 1"),
    "a count of none": (Odd(count=0), "holds 3 entries, not 0"),
    "a wrong count in zip64": (Odd(count=2**40, zip64=True), "holds 3 entries, not 1099511627776"),
    "no count in zip64": (Odd(count=0, zip64=True), "holds 3 entries, not 0"),
    "a digital signature": (Odd(last=SIGNATURE), ""),
    "a short digital signature": (Odd(last=SIGNATURE[:10]), ""),
    "archive extra data after the headers": (Odd(last=EXTRA_DATA), ""),
    "archive extra data before the headers": (Odd(first=EXTRA_DATA), ""),
    "a signature that is not counted": (Odd(gap=SIGNATURE), ""),
    "zeros after the headers": (Odd(last=bytes(70)), ""),
    "disk 1": (Odd(disks=(1, 1)), "claims to be disk 2"),
    "disk 65535": (Odd(disks=(0xFFFF, 0xFFFF)), "claims to be disk 65536"),
    "the last of several disks": (Odd(disks=(3, 0)), "claims to be disk 4"),
    "disk 1 in zip64": (Odd(disks=(1, 1), zip64=True), "claims to be disk 2"),
    "disk 0xFFFF beside zip64": (Odd(zip64=True), ""),
    "a comment of 64 KiB and more behind it": (
        Odd(comment=b"c" * 65_535, after=b"z" * 256),
        "256 bytes follow",
    ),
    "60 KB behind": (Odd(after=b"sig" * 20_000), "60000 bytes follow"),
    "120 KB behind": (Odd(after=b"signed" * 20_000), "120000 bytes follow"),
    "padded with zeros": (Odd(after=bytes(70_000)), ""),
    "a comment that is cut off": (Odd(comment=b"abc", comment_length=90), "comment is cut off"),
    "a size that is too large": (Odd(size=13), "bytes, not"),
    "a size past all bounds": (Odd(size=0x7000_0000), "bytes, not"),
    "a size that is too small": (Odd(size=-13), ""),
    "a size that is one entry too small": (Odd(size=-51), "bytes, not"),
    "a size of 0": (Odd(size=-len(b"".join(name for name, _ in MEMBERS)) - 3 * 46), "bytes, not"),
    "an offset that is too large": (Odd(offset=5000), "5000 bytes are missing"),
    "an offset that is too small": (Odd(offset=-7), ""),
    "bytes before it": (Odd(before=b"#!/bin/sh\n" * 20), ""),
    "bytes before it that are counted": (Odd(before=b"#!/bin/sh\n" * 20, counted=True), ""),
    "bytes before and behind it": (Odd(before=b"x" * 203, after=b"t" * 43), "43 bytes follow"),
    "its head is missing": (Odd(cut=20), "20 bytes are missing"),
    "its first member is missing": (Odd(cut=30 + 5 + 5), "40 bytes are missing"),
    "bytes before the directory": (Odd(between=bytes(4000)), ""),
    "bytes behind the directory": (Odd(gap=b"something else"), ""),
    "zip64 beside plain numbers": (Odd(zip64=True, plain=True), ""),
    "a zip64 record whose length is too large": (Odd(zip64=True, record_length=12), ""),
    "a zip64 record whose length is too small": (Odd(zip64=True, record_length=-40), ""),
    "a zip64 record with a sector": (Odd(zip64=True, sector=b"sector" * 9), ""),
    "a sector, and a wrong length": (Odd(zip64=True, sector=b"sector" * 9, record_length=-9), ""),
}
