"""The central directory of a zip archive: where it lies, and what it lists. Bytes in, values out.

`find_directory` reads the tail of the archive and says which bytes to fetch; `read_members` turns those bytes
into members as they arrive. Both compare what the archive claims with what is there before they ask for bytes or
allocate memory, and raise nothing but `DamagedError` for it. Sections are those of PKWARE's APPNOTE.TXT 6.3.10.

Which end record counts? One may be forged in the archive's comment, and trailing bytes may hide the true one.
The first whose comment reaches exactly to the end of the file wins: everything after it is inside its comment
(4.3.16). Without one, the last that fits what can be seen, as unzip and zipfile choose. Both of them always take
the last one, and so list what a forged comment says.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from ..core.ranges import ByteRange
from ..errors import DamagedError
from .entry import Archive
from .format import Format
from .reader import RangeReader

# Bytes at the end of the file that are asked for first. They hold the end record with its longest comment (65,557
# bytes), at least one whole block of 64 KiB, and the whole directory of most archives: one request lists those.
TAIL = 131_072

_END = Struct("<4xHHHHIIH")  # 4.3.16: disk, directory's disk, entries here, entries, size, offset, comment
_END_SIGNATURE = b"PK\5\6"
_LOCATOR_SIZE = 20  # 4.3.15
_END64 = Struct("<4xQ4xIIQQQQ")  # 4.3.14: length of what follows it, then as _END
_HEADER = Struct("<I4xHHIIIIHHH8xI")  # 4.3.12
_FIELD = Struct("<HH")  # 4.5.1: tag and length of an extra field
_HEADER_SIGNATURE = 0x0201_4B50
_MAX_HEADER = _HEADER.size + 3 * 0xFFFF  # bytes: name, extra fields and comment have 16-bit lengths
_DOS_MINUTES = 1024  # dates to remember: members that were written together share theirs

_ZIP64 = 0xFFFF_FFFF  # "see the zip64 extra field"
_UTF8 = 0x0800  # general purpose flag 11

_METHODS = {
    0: "store",
    1: "shrink",
    6: "implode",
    8: "deflate",
    9: "deflate64",
    10: "implode",
    12: "bzip2",
    14: "lzma",
    18: "terse",
    19: "lz77",
    93: "zstd",
    94: "mp3",
    95: "xz",
    96: "jpeg",
    97: "wavpack",
    98: "ppmd",
    99: "aes",
} | dict.fromkeys(range(2, 6), "reduce")  # zipfile's words, so that both say the same


@dataclass(frozen=True, slots=True)
class Directory:
    """Where the central directory lies, and what its end record claims."""

    offset: int  # of its first header, from the start of the file
    size: int
    count: int  # modulo 65536 unless zip64
    zip64: bool
    prefix: int  # bytes before the archive proper, a self-extractor's program for one
    comment: bytes

    @property
    def range(self) -> ByteRange | None:
        """The bytes to fetch; None when the archive is empty."""
        return ByteRange(self.offset, self.offset + self.size) if self.size else None


class Member(NamedTuple):
    """The `Entry` of a zip: one member, as its central header states it. Nothing of it has been checked."""

    raw_name: bytes
    flags: int
    method_number: int
    dos_time: int  # date in the upper, time in the lower 16 bits
    crc32: int
    compressed_size: int
    size: int
    offset: int  # of the local header, from the start of the file
    extra: bytes

    @property
    def name(self) -> str:
        """The name up to its first NUL, as zipfile cuts it: UTF-8 by flag or extra field 0x7075, else cp437.

        The extra field counts when it is valid UTF-8 of a name with this CRC-32 (4.6.9). Bytes that are flagged as
        UTF-8 but are not become lone surrogates (surrogateescape), so that they can be written back unchanged.
        """
        raw = self.raw_name
        renamed = (
            b"up" in self.extra
        )  # a first guess: 0x7075 as it is stored; walking the fields costs far more
        if raw.isascii() and not renamed:  # the usual case, several times faster than cp437
            text = raw.decode()
        elif self.flags & _UTF8:
            text = raw.decode("utf-8", "surrogateescape")
        else:
            text = (renamed and self._unicode_name) or raw.decode("cp437")
        return text.partition("\0")[0] if "\0" in text else text

    @property
    def _unicode_name(self) -> str:
        head = b"\1" + crc32(self.raw_name).to_bytes(4, "little")
        for tag, data in _extra_fields(self.extra):
            if tag == 0x7075 and data.startswith(head):
                try:
                    return data[5:].decode("utf-8")
                except UnicodeDecodeError:
                    return ""
        return ""

    @property
    def method(self) -> str:
        """The method in zipfile's words (`store`, `deflate`); its number where it has no name."""
        return _METHODS.get(self.method_number, str(self.method_number))

    @property
    def date_time(self) -> tuple[int, int, int, int, int, int]:
        """Year to second as stored, in the archiver's time zone; not necessarily a real date (4.4.6)."""
        dos = self.dos_time
        day = (dos >> 25) + 1980, dos >> 21 & 15, dos >> 16 & 31
        return *day, dos >> 11 & 31, dos >> 5 & 63, (dos & 31) * 2

    @property
    def modified(self) -> datetime | None:
        """The stored time, without a zone because zip states none; None when there is no such date."""
        try:
            return datetime(*self.date_time)
        except ValueError:
            return None

    @property
    def unix_time(self) -> int | None:
        """Seconds since 1970 from Info-ZIP's extra fields ("UT", else the older "UX" and 0x000d), if any.

        Like unzip, believe a time past 2038 only when the stored year agrees: otherwise an archiver with signed
        times meant one before 1970.
        """
        if not self.extra:
            return None
        older: int | None = None
        for tag, data in _extra_fields(self.extra):
            if tag == 0x5455:
                stamp = int.from_bytes(data[1:5], "little")
                believed = len(data) >= 5 and data[0] & 1 and (stamp < 2**31 or self.dos_time >> 25 >= 58)
                return stamp if believed else None
            if tag in (0x5855, 0x000D) and len(data) >= 8:
                older = int.from_bytes(data[4:8], "little")
        return older

    @property
    def stored_minute(self) -> str:
        """The stored time up to the minute, even where there is no such date, as unzip prints it."""
        return _minute_text(self.dos_time >> 5)

    @property
    def is_dir(self) -> bool:
        return self.name.endswith("/")

    @property
    def encrypted(self) -> bool:
        return bool(self.flags & 1)


@lru_cache(maxsize=_DOS_MINUTES)
def _minute_text(dos: int) -> str:
    day = f"{(dos >> 20) + 1980:04}-{dos >> 16 & 15:02}-{dos >> 11 & 31:02}"
    return f"{day} {dos >> 6 & 31:02}:{dos & 63:02}"


def find_directory(tail: bytes, size: int, what: str = "zip archive") -> Directory:
    """Return where the central directory of a file of *size* bytes lies, judging by *tail*, its last bytes.

    *tail* should be min(size, TAIL) bytes long. A directory that begins before it is judged by its numbers alone;
    `read_members` sees the rest. Raises DamagedError, naming *what*, when this is not a zip archive, or is one of
    several disks, or its end record contradicts itself or the size.
    """
    if len(tail) > size:
        raise ValueError(f"the last {len(tail)} bytes of {size}")
    why = f"not a zip archive: no end of central directory in its last {len(tail)} bytes"
    found: Directory | None = None
    at = tail.find(_END_SIGNATURE, max(0, len(tail) - _END.size - 0xFFFF))
    while at >= 0:
        verdict = _judge(tail, at, size - len(tail))
        if isinstance(verdict, str):
            why = verdict
        elif at + _END.size + int.from_bytes(tail[at + 20 : at + 22], "little") == len(tail):
            return verdict
        else:
            found = verdict
        at = tail.find(_END_SIGNATURE, at + 1)
    if found is None:
        raise DamagedError(what, why)
    return found


def _judge(tail: bytes, at: int, base: int) -> Directory | str:
    """Return what the end record at *at* describes, or why it cannot be; *base* is where the tail begins."""
    if at + _END.size > len(tail):
        return "the archive is cut off within its end of central directory"
    disk, first_disk, _, count, size, offset, comment_size = _END.unpack_from(tail, at)
    end64 = _find_end64(tail, at - _LOCATOR_SIZE)
    zip64 = end64 is not None
    if end64 is not None:
        _, disk, first_disk, _, count, size, offset = _END64.unpack_from(tail, end64)
    if not zip64 and _ZIP64 in (size, offset):
        return "the zip64 end of central directory is missing"
    if disk or first_disk:
        return f"part of an archive of several disks (this is {disk}, the directory begins on {first_disk})"
    end = base + (at if end64 is None else end64)
    if size > end:
        return f"a central directory of {size} bytes cannot lie in the {end} bytes before its end"
    if count * _HEADER.size > size or (zip64 and count * _MAX_HEADER < size):
        return f"a central directory of {size} bytes cannot hold {count} entries"
    # The directory lies right before its end record, whatever precedes the archive. The stored offset counts from
    # the archive proper, so the difference is the length of what precedes it. Where no header begins at that place,
    # believe the stored offset instead.
    start = end - size
    if start < offset:
        return f"{offset - start} bytes are missing before the central directory"
    if size and start >= base and not tail.startswith(b"PK\1\2", start - base):
        if offset < base or not tail.startswith(b"PK\1\2", offset - base):
            return f"no central directory at byte {start}, where it should begin"
        start = offset
    comment = tail[at + _END.size : at + _END.size + comment_size]
    return Directory(start, size, count, zip64, start - offset, comment)


def _find_end64(tail: bytes, locator: int) -> int | None:
    """Return where in *tail* the zip64 end record is whose locator is at *locator*; None if one is missing.

    The locator's own offset is wrong in every archive with something before it, so it is not used. The record is the
    56 bytes right before the locator, or, with an extensible data sector, the nearest record whose length leads to
    it. No known archiver writes such a sector, let alone one that reaches beyond the tail.
    """
    at = locator - _END64.size
    if at < 0 or not tail.startswith(b"PK\6\7", locator):
        return None
    if tail.startswith(b"PK\6\6", at):
        return at
    at = tail.rfind(b"PK\6\6", 0, at)
    leads_there = at >= 0 and at + 12 + int.from_bytes(tail[at + 4 : at + 12], "little") == locator
    return at if leads_there else None


def read_members(
    chunks: Iterable[bytes], directory: Directory, what: str = "zip archive"
) -> Iterator[Member]:
    """Yield the members in *directory*, whose bytes are *chunks* in order, cut anywhere.

    Memory is one chunk and one header (at most 192 KiB). Raises DamagedError, naming *what*, where a header should
    begin and does not, for a directory that ends within a header, and at the end when the end record states another
    number of members; the members before it have been yielded. Without zip64, members are counted modulo 65536.
    """
    unpack, fixed, prefix, seen = _HEADER.unpack_from, _HEADER.size, directory.prefix, 0
    make = tuple.__new__  # does what Member(...) does in half the time
    rest = b""
    for chunk in chunks:
        data = rest + chunk if rest else chunk
        at, end = 0, len(data)
        while at + fixed <= end:
            signature, flags, method, time, crc, packed, size, name, extra, comment, offset = unpack(data, at)
            if signature != _HEADER_SIGNATURE:
                raise DamagedError(what, f"the central directory has no header where entry {seen + 1} begins")
            name_at = at + fixed
            extra_at = name_at + name
            following = extra_at + extra + comment
            if following > end:
                break
            fields = data[extra_at : extra_at + extra] if extra else b""
            if size == _ZIP64 or packed == _ZIP64 or offset == _ZIP64:
                size, packed, offset = _widened(size, packed, offset, fields, what)
            seen += 1
            raw = data[name_at:extra_at]
            yield make(Member, (raw, flags, method, time, crc, packed, size, offset + prefix, fields))
            at = following
        rest = data[at:]
    if rest:
        raise DamagedError(what, f"the central directory ends within the header of entry {seen + 1}")
    if seen != directory.count and (directory.zip64 or seen % 65536 != directory.count):
        raise DamagedError(what, f"its central directory holds {seen} entries, not {directory.count}")


def _widened(size: int, packed: int, offset: int, extra: bytes, what: str) -> tuple[int, int, int]:
    """Return all three, with the value from the zip64 extra field for each that is 0xFFFFFFFF (4.5.3)."""
    for tag, data in _extra_fields(extra):
        if tag == 0x0001:
            wide = []
            for value in size, packed, offset:
                if value == _ZIP64:
                    if len(data) < 8:
                        raise DamagedError(what, "a zip64 extra field in the central directory is too short")
                    value, data = int.from_bytes(data[:8], "little"), data[8:]
                wide.append(value)
            return wide[0], wide[1], wide[2]
    return size, packed, offset


def _extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and data of each extra field. Stop at one that is longer than what is left, as unzip does."""
    at = 0
    while at + 4 <= len(extra):
        tag, length = _FIELD.unpack_from(extra, at)
        stop = at + 4 + length
        if stop > len(extra):
            return
        yield tag, extra[at + 4 : stop]
        at = stop


def read_archive(reader: RangeReader, tail: bytes, size: int, what: str) -> Archive:
    """Return the listing of a zip of *size* bytes whose last bytes are *tail*; *reader* brings its directory."""
    directory = find_directory(tail, size, what)
    chunks = reader.stream(directory.offset, directory.offset + directory.size)
    return Archive("zip", _text(directory.comment), read_members(chunks, directory, what))


def _text(comment: bytes) -> str:
    """Return an archive's comment as UTF-8 if it is valid, else cp437: the archive does not state which."""
    try:
        return comment.decode("utf-8")
    except UnicodeDecodeError:
        return comment.decode("cp437")


FORMAT = Format("zip", -TAIL, None, lambda tail: _END_SIGNATURE in tail, read_archive)
