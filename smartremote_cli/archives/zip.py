"""The zip format: find the directory of an archive, and list it as its bytes arrive. Bytes in, values out.

`find_directory` reads the tail of the archive and says which bytes to fetch; `read_members` turns those bytes
into members as they arrive. Both compare what the archive claims with what is there before they ask for bytes or
allocate memory, and raise nothing but `DamagedError` for it. What is wrong but does no harm is a warning: people want
to see what unzip and 7z list. Sections are those of PKWARE's APPNOTE.TXT 6.3.10.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from struct import Struct

from ..core.ranges import ByteRange
from ..errors import DamagedError
from .entry import Archive
from .format import Format
from .reader import RangeReader
from .zip_end import Directory, find_directory
from .zip_member import Member, extra_fields
from .zip_offsets import unrolled

# Bytes at the end of the file that are asked for first. They hold the end record with its longest comment (65,557
# bytes), at least one whole block of 64 KiB, and the whole directory of most archives: one request lists those.
TAIL = 131_072

_HEADER = Struct("<I4xHHIIIIHHH8xI")  # 4.3.12
_HEADER_SIGNATURE = 0x0201_4B50
_EXTRA_DATA = b"PK\6\x08"  # 4.3.11: length in 32 bits, then the data; before or after the headers
_SIGNATURE = b"PK\5\5"  # 4.3.13: a digital signature of the directory ends it
_ENDS = (b"PK\5\6", b"PK\6\6", b"PK\6\7")  # end records, inside a directory whose stated size is too large
_LOCAL_SIZE = 30  # bytes: a local header before its name (4.3.7)
_WIDE = 0xFFFF_FFFF  # "see the zip64 extra field"
_MAX_LOCATED = 4_000_000  # members whose offsets are worked out, at 16 bytes each; beyond it they are unknown

Warn = Callable[[str], None]


def _silently(warning: str) -> None:
    """Take a warning and do nothing."""


def read_members(
    chunks: Iterable[bytes], directory: Directory, what: str = "zip archive", warn: Warn = _silently
) -> Iterator[Member]:
    """Yield the members in *directory*, whose bytes are *chunks* in order, cut anywhere.

    Memory is one chunk and one header (at most 192 KiB). Raises DamagedError, naming *what*, where a header should
    begin and does not, and for a directory that ends within a header; the members before it have been yielded.
    A directory that ends well and only holds another number of members than its end record states is a warning.
    Without zip64, members are counted modulo 65536.
    """
    unpack, fixed, prefix, seen = _HEADER.unpack_from, _HEADER.size, directory.prefix, 0
    make = tuple.__new__  # does what Member(...) does in half the time
    rest, skip, short, over = b"", 0, False, False
    for chunk in chunks:
        data = rest + chunk if rest else chunk
        at, end = min(skip, len(data)), len(data)
        skip -= at
        while at + fixed <= end:
            signature, flags, method, time, crc, packed, size, name, extra, comment, offset = unpack(data, at)
            if signature != _HEADER_SIGNATURE:
                if data.startswith(_EXTRA_DATA, at):
                    skip = 8 + int.from_bytes(data[at + 4 : at + 8], "little")
                    at, skip = min(end, at + skip), max(0, at + skip - end)
                    continue
                over = True
                break
            name_at = at + fixed
            extra_at = name_at + name
            following = extra_at + extra + comment
            if following > end:
                break
            fields = data[extra_at : extra_at + extra] if extra else b""
            if size == _WIDE or packed == _WIDE or offset == _WIDE:
                size, packed, offset, lacking = _widened(size, packed, offset, fields)
                short = short or lacking
            seen += 1
            where = offset + prefix
            raw = data[name_at:extra_at]
            yield make(
                Member, (raw, flags, method, time, crc, packed, size, where if where >= 0 else None, fields)
            )
            at = following
        rest = data[at:]
        if over:
            break
    if rest:
        _check_end(rest, seen, directory, what)
    if short:
        warn("zip64 extra fields in its central directory are too short: sizes and offsets may be wrong")
    if seen != directory.count and (directory.zip64 or seen % 65536 != directory.count):
        warn(f"its central directory holds {seen} entries, not {directory.count}")


def _check_end(rest: bytes, seen: int, directory: Directory, what: str) -> None:
    """Raise DamagedError unless the directory may end before *rest*, after *seen* members."""
    if rest.startswith((_SIGNATURE, _EXTRA_DATA)) or (seen and rest.startswith(_ENDS)):
        return
    counted = seen == directory.count or (not directory.zip64 and seen % 65536 == directory.count)
    if seen and (counted or (directory.loose and seen > directory.count)):
        return
    if rest.startswith(b"PK\1\2"[: len(rest)]):
        raise DamagedError(what, f"the central directory ends within the header of entry {seen + 1}")
    raise DamagedError(what, f"the central directory has no header where entry {seen + 1} begins")


def _widened(size: int, packed: int, offset: int, extra: bytes) -> tuple[int, int, int, bool]:
    """Return all three, with the value from the zip64 extra field for each that is 0xFFFFFFFF (4.5.3).

    The field holds those alone, in this order. Some archivers write all of them whatever the header says: believe
    that where the numbers that are in both places agree. The last result says whether the field lacks one.
    """
    values = size, packed, offset
    for tag, data in extra_fields(extra):
        if tag == 0x0001:
            wide = [int.from_bytes(data[at : at + 8], "little") for at in range(0, min(len(data), 24) - 7, 8)]
            known = [(plain, full) for plain, full in zip(values, wide, strict=False) if plain != _WIDE]
            last = max(index for index, value in enumerate(values) if value == _WIDE)
            if known and last < len(wide) and all(plain == full for plain, full in known):
                filled = [
                    full if plain == _WIDE else plain for plain, full in zip(values, wide, strict=False)
                ]
                size, packed, offset = [*filled, *values[len(filled) :]]
                return size, packed, offset, False
            left = iter(wide)
            size, packed, offset = [next(left, _WIDE) if value == _WIDE else value for value in values]
            return size, packed, offset, values.count(_WIDE) > len(wide)
    return size, packed, offset, False


def read_archive(
    reader: RangeReader, tail: bytes, size: int, what: str, warn: Warn = _silently, offsets: bool = True
) -> Archive:
    """Return the listing of a zip of *size* bytes whose last bytes are *tail*; *reader* brings its directory."""
    directory = _confirmed(find_directory(tail, size, what), reader, size - len(tail), what)
    for warning in directory.warnings:
        warn(warning)

    def members(warn: Warn = warn, prefix: int = directory.prefix) -> Iterator[Member]:
        chunks = reader.stream(directory.offset, directory.offset + directory.size)
        return read_members(chunks, replace(directory, prefix=prefix), what, warn)

    def is_header(offset: int, name: bytes = b"") -> bool:
        stop = offset + (_LOCAL_SIZE + len(name) if name else 4)
        if not 0 <= offset < stop <= size:
            return False
        header = reader.read(ByteRange(offset, stop))
        return header.startswith(b"PK\3\4") and header.endswith(name)

    if directory.laps:
        found = _unrolled(members, directory, is_header, warn) if offsets else _without_offsets(members())
    elif offsets and (directory.prefix or directory.warnings):
        found = _shifted(members(warn, 0), directory.prefix, is_header)
    else:
        found = members()
    return Archive("zip", _text(directory.comment), found)


def _confirmed(directory: Directory, reader: RangeReader, base: int, what: str) -> Directory:
    """Return the directory that a look at the file confirms, where its record is wrong and names a place out of sight.

    Without this a record that lies could have any stretch of the file fetched.
    """
    start, stated = directory.offset, directory.stated_offset
    doubtful = directory.loose or (start != stated and 0 <= stated < start + directory.size)
    if start >= base or directory.laps or not doubtful:
        return directory
    for place in dict.fromkeys((start, stated)):
        if reader.read(ByteRange(place, place + 4)) in (b"PK\1\2", _EXTRA_DATA):
            return directory if place == start else directory.at_stated_offset()
    raise DamagedError(what, f"no central directory at byte {start}, where it should begin")


def _without_offsets(members: Iterable[Member]) -> Iterator[Member]:
    return (member._replace(offset=None) for member in members)


def _shifted(
    members: Iterator[Member], prefix: int, is_header: Callable[[int, bytes], bool]
) -> Iterator[Member]:
    """Yield *members*, whose offsets are as stored, with the offsets that lead to them.

    Those count from the start of the archive proper or of the file; a look at the first member tells. Where the head
    of the archive is missing, the members that went with it have none.
    """
    shift: int | None = None
    unknown = False
    for number, member in enumerate(members):
        stored = member.offset or 0
        if shift is None and not unknown:
            name = (
                member.raw_name if prefix else b""
            )  # tells it from another member; some archivers differ here
            if stored + prefix >= 0 and is_header(stored + prefix, name):
                shift = prefix
            elif prefix and number == 0 and is_header(stored, name):
                shift = 0
            else:
                unknown = stored + prefix >= 0
        yield member._replace(offset=None if shift is None else stored + shift)


def _unrolled(
    members: Callable[[Warn], Iterator[Member]],
    directory: Directory,
    is_header: Callable[[int], bool],
    warn: Warn,
) -> Iterator[Member]:
    """Yield the members with true offsets; read the directory once for all offsets, and again for the members."""
    prefix, stored = directory.prefix, array("Q")
    try:
        for member in members(_silently):
            stored.append((member.offset or prefix) - prefix)
            if len(stored) > _MAX_LOCATED:
                break
    except DamagedError:
        pass  # comes again after the members before it
    offsets = None
    if len(stored) <= _MAX_LOCATED:
        offsets = unrolled(
            stored, directory.stated_offset, directory.laps, lambda offset: is_header(offset + prefix)
        )
    if offsets is None:
        yield from _without_offsets(members(warn))
        return
    for member, offset in zip(members(warn), offsets, strict=False):
        yield member._replace(offset=offset + prefix)


def _text(comment: bytes) -> str:
    """Return an archive's comment as UTF-8 if it is valid, else cp437: the archive does not state which."""
    try:
        return comment.decode("utf-8")
    except UnicodeDecodeError:
        return comment.decode("cp437")


FORMAT = Format("zip", -TAIL, None, lambda tail: b"PK\5\6" in tail, read_archive)
