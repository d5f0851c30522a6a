"""Where the central directory of a zip lies, judging by the last bytes of the file. Bytes in, values out.

The end record says how long the directory is, where it begins, how many entries it holds and on which disk it is.
Each of the four is wrong in archives that people have, and unzip and 7z list them. So what counts is where headers
are: of the two places that the record names, the right one has a header. What the record has wrong becomes a warning.
Only a directory that is nowhere, or that cannot lie in the file, is refused.

Which end record counts? One may be forged in the archive's comment, and trailing bytes may hide the true one.
The first whose comment reaches exactly to the end of the file wins: everything after it is inside its comment
(4.3.16). Without one, the last that fits what can be seen, as unzip and zipfile choose; one without a warning is
preferred. Both of them always take the last one, and so list what a forged comment says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from struct import Struct

from ..core.ranges import ByteRange
from ..errors import DamagedError

_END = Struct("<4xHHHHIIH")  # 4.3.16: disk, directory's disk, entries here, entries, size, offset, comment
_END_SIGNATURE = b"PK\5\6"
_LOCATOR = Struct("<4xIQ")  # 4.3.15: disk, offset of the zip64 end record
_LOCATOR_SIZE = 20
_END64 = Struct("<4xQ4xIIQQQQ")  # 4.3.14: length of what follows it, then as _END
_ZIP64 = 0xFFFF_FFFF  # "see the zip64 end record"
_END64_SIGNATURE = b"PK\6\6"
_BEGINNINGS = (b"PK\1\2", b"PK\6\x08")  # a header, or archive extra data before the first one (4.3.11)
_HEADER_SIZE = 46  # bytes, without name, extra fields and comment
_MAX_HEADER = _HEADER_SIZE + 3 * 0xFFFF  # bytes: name, extra fields and comment have 16-bit lengths
# Bytes of a directory out of sight that its count does not account for: beyond this the count is not just wrong, the
# record is absurd. About a million entries; the largest archives that people have reported hold some 300,000 uncounted.
_MAX_UNCOUNTED = 128 << 20
LAP = 1 << 32  # bytes: offsets without zip64 are modulo this where an archiver did not care


@dataclass(frozen=True, slots=True)
class Directory:
    """Where the central directory lies, and what its end record claims."""

    offset: int  # of its first header, from the start of the file
    size: int
    count: int  # modulo 65536 unless zip64
    zip64: bool
    prefix: (
        int  # bytes before the archive proper, a self-extractor's program; negative where its head is missing
    )
    comment: bytes
    laps: int = 0  # times that offsets have passed 4 GiB without zip64 (macOS' Archive Utility)
    loose: bool = False  # *size* is an upper bound: the directory ends where its headers end
    warnings: tuple[str, ...] = ()  # what the end record has wrong, a line each

    @property
    def range(self) -> ByteRange | None:
        """The bytes to fetch; None when the archive is empty."""
        return ByteRange(self.offset, self.offset + self.size) if self.size else None

    @property
    def stated_offset(self) -> int:
        """The offset in the end record."""
        return self.offset - self.prefix - self.laps * LAP

    def at_stated_offset(self) -> Directory:
        """Return the directory that begins where the end record says, whatever size that gives it."""
        start, end = self.stated_offset, self.offset + self.size
        return replace(self, offset=start, size=end - start, prefix=0, laps=0, loose=True)


def find_directory(tail: bytes, size: int, what: str = "zip archive") -> Directory:
    """Return where the central directory of a file of *size* bytes lies, judging by *tail*, its last bytes.

    A directory that begins before *tail* is judged by its numbers alone; `read_members` sees the rest. Raises
    DamagedError, naming *what*, when this is not a zip archive, or no directory can lie where its end record says.
    """
    if len(tail) > size:
        raise ValueError(f"the last {len(tail)} bytes of {size}")
    why = f"not a zip archive: no end of central directory in its last {len(tail)} bytes"
    found: Directory | None = None
    at = tail.find(_END_SIGNATURE)
    while at >= 0:
        verdict = _judge(tail, at, size - len(tail))
        if isinstance(verdict, str):
            why = verdict
        elif _end_of(tail, at) == len(tail):
            return _from_its_beginning(verdict, tail, size - len(tail))
        elif found is None or found.warnings or not verdict.warnings:
            found = replace(verdict, warnings=(*verdict.warnings, *_odd_ending(tail, at)))
        at = tail.find(_END_SIGNATURE, at + 1)
    if found is None:
        raise DamagedError(what, why)
    return _from_its_beginning(found, tail, size - len(tail))


def _end_of(tail: bytes, at: int) -> int:
    return at + _END.size + int.from_bytes(tail[at + 20 : at + 22], "little")


def _odd_ending(tail: bytes, at: int) -> tuple[str, ...]:
    """Return the warning about what follows the end record, unless it is padding."""
    over = len(tail) - _end_of(tail, at)
    if over < 0:
        return ("its comment is cut off",)
    return (f"{over} bytes follow its end",) if tail[-over:].strip(b"\0") else ()


def _judge(tail: bytes, at: int, base: int) -> Directory | str:
    """Return what the end record at *at* describes, or why it cannot be; *base* is where the tail begins."""
    if at + _END.size > len(tail):
        return "the archive is cut off within its end of central directory"
    comment = tail[at + _END.size : _end_of(tail, at)]
    disk, first_disk, _, count, size, offset, _ = _END.unpack_from(tail, at)
    why = ""
    for end64 in _ends64(tail, at - _LOCATOR_SIZE, base):
        _, wide_disk, wide_first, _, wide_count, wide_size, wide_offset = _END64.unpack_from(tail, end64)
        wide = _Claim(base + end64, wide_disk, wide_first, wide_count, wide_size, wide_offset, True, comment)
        verdict = _place(wide, tail, base)
        if isinstance(verdict, Directory):
            return verdict
        why = why or verdict
    if why and _ZIP64 in (size, offset):
        return why
    verdict = _place(_Claim(base + at, disk, first_disk, count, size, offset, False, comment), tail, base)
    return (why or verdict) if isinstance(verdict, str) else verdict


@dataclass(frozen=True, slots=True)
class _Claim:
    """The numbers of one end record, plain or zip64."""

    end: int  # where the record itself begins in the file
    disk: int
    first_disk: int
    count: int
    size: int
    offset: int
    zip64: bool
    comment: bytes

    def directory(self, start: int, prefix: int, *warnings: str, loose: bool = False) -> Directory:
        laps = 0
        if not self.zip64 and prefix >= LAP:
            laps, prefix = divmod(prefix, LAP)
            warnings += ("it has no zip64 records: its sizes and offsets are what is left modulo 4 GiB",)
        if prefix < 0:
            warnings += (f"{-prefix} bytes are missing at its beginning",)
        if self.disk or self.first_disk:
            warnings += (f"claims to be disk {self.disk + 1} of several; read as if it were the only one",)
        size = self.end - start if loose else self.size
        return Directory(
            start, size, self.count, self.zip64, prefix, self.comment, laps, loose=loose, warnings=warnings
        )


def _place(claim: _Claim, tail: bytes, base: int) -> Directory | str:
    """Return the directory that *claim* describes, or why there is none.

    The directory lies right before its end record, whatever precedes the archive. The stored offset counts from
    the archive proper, so the difference is the length of what precedes it. Where no header begins at that place,
    believe the stored offset instead.
    """
    end, size, offset = claim.end, claim.size, claim.offset
    start = end - size
    no64 = not claim.zip64 and _ZIP64 in (size, offset)
    if size and _shows(tail, start - base):
        if no64:
            return claim.directory(start, 0, "its zip64 end of central directory is missing")
        return claim.directory(start, start - offset)
    wrong = f"its central directory has {end - offset} bytes, not {size}"
    if offset < end and _shows(tail, offset - base):
        # Other bytes may lie between the directory and its end record, as unzip allows.
        fits = size and offset + size <= end
        return claim.directory(offset, 0, *([] if fits else [wrong]), loose=True)
    if no64:
        return "the zip64 end of central directory is missing"
    if size > end and offset >= base:
        return f"a central directory of {size} bytes cannot lie in the {end} bytes before its end"
    if not size and not claim.count:
        return claim.directory(end, max(0, end - offset))
    if size and 0 <= start < base:
        if claim.zip64 and size > max(claim.count * _MAX_HEADER, _MAX_UNCOUNTED):
            return f"a central directory of {size} bytes cannot hold {claim.count} entries"
        return claim.directory(start, start - offset)
    if offset < base:
        return claim.directory(offset, 0, wrong, loose=True)
    if claim.disk or claim.first_disk:
        return (
            f"part of an archive of several disks (this is {claim.disk}, the directory on {claim.first_disk})"
        )
    return f"no central directory at byte {start}, where it should begin"


def _shows(tail: bytes, at: int) -> bool:
    """Return whether a directory can begin at *at* in *tail*, as far as can be seen there."""
    return at >= 0 and tail.startswith(_BEGINNINGS, at)


def _from_its_beginning(found: Directory, tail: bytes, base: int) -> Directory:
    """Return *found*, or the longer directory that begins at the stated offset and whose headers lead into it.

    Then the stated size is too small by some whole entries, and what looks like bytes before the archive are those.
    """
    at, stop = found.stated_offset - base, found.offset - base
    if found.laps or not 0 <= at < stop or not _shows(tail, at):
        return found
    while at < stop and tail.startswith(b"PK\1\2", at):
        at += _HEADER_SIZE + sum(int.from_bytes(tail[at + n : at + n + 2], "little") for n in (28, 30, 32))
    if at != stop:
        return found
    longer = found.at_stated_offset()
    wrong = f"its central directory has {longer.size} bytes, not {found.size}"
    return replace(longer, warnings=(*found.warnings, wrong))


def _ends64(tail: bytes, locator: int, base: int) -> Iterator[int]:
    """Yield where in *tail* the zip64 end record may be whose locator is at *locator*, the likeliest first.

    The locator's own offset is wrong in every archive with something before it. The record is the 56 bytes right
    before the locator, or, with an extensible data sector, the nearest record whose length leads to it. No known
    archiver writes such a sector, let alone one that reaches beyond the tail. Where the record's length is wrong
    too, only the locator's offset is left.
    """
    at = locator - _END64.size
    if at < 0 or not tail.startswith(b"PK\6\7", locator):
        return
    if tail.startswith(_END64_SIGNATURE, at):
        yield at
        return
    before = tail.rfind(_END64_SIGNATURE, 0, at)
    if before >= 0 and before + 12 + int.from_bytes(tail[before + 4 : before + 12], "little") == locator:
        yield before
    named = _LOCATOR.unpack_from(tail, locator)[1] - base
    if 0 <= named < at and tail.startswith(_END64_SIGNATURE, named):
        yield named
