"""Member: the entry of a zip, as its central header states it. Sections are those of PKWARE's APPNOTE.TXT 6.3.10."""

from __future__ import annotations

from binascii import crc32
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

_FIELD = Struct("<HH")  # 4.5.1: tag and length of an extra field
_DOS_MINUTES = 1024  # dates to remember: members that were written together share theirs
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


class Member(NamedTuple):
    """The `Entry` of a zip: one member, as its central header states it. Nothing of it has been checked."""

    raw_name: bytes
    flags: int
    method_number: int
    dos_time: int  # date in the upper, time in the lower 16 bits
    crc32: int
    compressed_size: int
    size: int
    offset: int | None  # of the local header, from the start of the file; None where it cannot be told
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
        for tag, data in extra_fields(self.extra):
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
        for tag, data in extra_fields(self.extra):
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


def extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and data of each extra field. Stop at one that is longer than what is left, as unzip does."""
    at = 0
    while at + 4 <= len(extra):
        tag, length = _FIELD.unpack_from(extra, at)
        stop = at + 4 + length
        if stop > len(extra):
            return
        yield tag, extra[at + 4 : stop]
        at = stop
