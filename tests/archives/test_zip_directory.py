"""Directories of archives that zipfile writes, and of archives that are wrong on purpose; all as plain bytes."""

from __future__ import annotations

import io
import struct
import zipfile
from binascii import crc32
from collections.abc import Iterable
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartremote_cli.archives.listing import list_archive
from smartremote_cli.archives.zip import TAIL, read_members
from smartremote_cli.archives.zip_end import Directory, find_directory
from smartremote_cli.archives.zip_member import Member
from smartremote_cli.errors import DamagedError

LOCAL = b"PK\3\4" + bytes(26)
UTF8 = 0x800


def locate(archive: bytes) -> Directory:
    return find_directory(archive[-TAIL:], len(archive), "a.zip")


def entries_of(archive: bytes, step: int = 65_536) -> list[Member]:
    directory = locate(archive)
    data = archive[directory.offset : directory.offset + directory.size]
    chunks = (data[at : at + step] for at in range(0, len(data), step))
    return list(read_members(chunks, directory, "a.zip"))


def warnings_of(archive: bytes) -> list[str]:
    """List *archive* as the command does, and return what it warns of."""
    found: list[str] = []
    for _ in list_archive(io.BytesIO(archive), "a.zip", warn=found.append):
        pass
    return found


def names_of(archive: bytes) -> list[str]:
    return [entry.name for entry in entries_of(archive)]


def header(
    name: bytes, *, size: int = 0, packed: int = 0, offset: int = 0, flags: int = 0, extra: bytes = b""
) -> bytes:
    fixed = struct.pack(
        "<4sHHHHHHIIIHHHHHII",
        *(b"PK\1\2", 20, 20, flags, 0, 0, 33, 0, packed, size, len(name), len(extra)),
        *(0, 0, 0, 0, offset),
    )
    return fixed + name + extra


def field(tag: int, data: bytes) -> bytes:
    return struct.pack("<HH", tag, len(data)) + data


def end(count: int, size: int, offset: int, comment: bytes = b"", *, disk: int = 0) -> bytes:
    record = struct.pack("<4sHHHHIIH", b"PK\5\6", disk, disk, count, count, size, offset, len(comment))
    return record + comment


def end64(count: int, size: int, offset: int, *, sector: bytes = b"", disk: int = 0) -> bytes:
    what = (b"PK\6\6", 44 + len(sector), 45, 45, disk, disk, count, count, size, offset)
    return struct.pack("<4sQHHIIQQQQ", *what) + sector + struct.pack("<4sIQI", b"PK\6\7", 0, 0, 1)


FULL = end(0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF)


def archive_of(*headers: bytes, comment: bytes = b"", count: int | None = None) -> bytes:
    directory = b"".join(headers)
    count = len(headers) if count is None else count
    return LOCAL + directory + end(count & 0xFFFF, len(directory), len(LOCAL), comment)


def archive64_of(*headers: bytes, sector: bytes = b"") -> bytes:
    directory = b"".join(headers)
    return LOCAL + directory + end64(len(headers), len(directory), len(LOCAL), sector=sector) + FULL


def made_by_zipfile(*, comment: bytes = b"") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.comment = comment
        for method in zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA:
            info = zipfile.ZipInfo(f"folder/method {method}.txt", (2024, 2, 29, 23, 59, 58))
            archive.writestr(info, bytes(1000 + method), compress_type=method)
        archive.writestr(zipfile.ZipInfo("folder/"), b"")
        for name in "naïve ☃.txt", "日本語/файл", "back\\slash", "new\nline", "":
            archive.writestr(zipfile.ZipInfo(name, (1999, 12, 31, 1, 2, 4)), name.encode())
        with archive.open("big in zip64", "w", force_zip64=True) as member:
            member.write(b"wide")
    return out.getvalue()


PLAIN = made_by_zipfile()


def assert_same_as_zipfile(archive: bytes) -> None:
    ours = entries_of(archive)
    theirs = zipfile.ZipFile(io.BytesIO(archive)).infolist()
    assert [entry.name for entry in ours] == [info.filename for info in theirs]
    for entry, info in zip(ours, theirs, strict=True):
        assert (entry.size, entry.compressed_size, entry.crc32) == (
            info.file_size,
            info.compress_size,
            info.CRC,
        )
        assert (entry.method_number, entry.date_time, entry.flags) == (
            info.compress_type,
            info.date_time,
            info.flag_bits,
        )
        assert entry.offset == info.header_offset
        assert archive.startswith(b"PK\3\4", entry.offset)
        assert entry.is_dir == info.filename.endswith("/")
        assert entry.extra == info.extra


@pytest.mark.parametrize(
    "archive",
    [
        pytest.param(PLAIN, id="plain"),
        pytest.param(made_by_zipfile(comment=b"short"), id="comment"),
        pytest.param(made_by_zipfile(comment=b"c" * 60_000), id="60 KB of comment"),
        pytest.param(made_by_zipfile(comment=b"c" * 65_535), id="longest comment"),
        pytest.param(b"#!/bin/sh\nexec unzip $0\n" * 9 + PLAIN, id="self-extractor"),
        pytest.param(bytes(200_000) + PLAIN, id="prefix longer than the tail"),
        pytest.param(PLAIN + b"trailing garbage" * 9, id="garbage appended"),
        pytest.param(made_by_zipfile(comment=b"cut off here")[:-4], id="comment cut"),
        pytest.param(PLAIN + PLAIN, id="two in a row"),
    ],
)
def test_every_member_is_as_zipfile_reads_it(archive: bytes) -> None:
    assert_same_as_zipfile(archive)


def test_more_members_than_16_bits_count_are_read_as_zipfile_reads_them() -> None:
    archive = archive64_of(*(header(b"%d" % number, size=number) for number in range(66_000)))
    directory = locate(archive)
    assert (directory.zip64, directory.count) == (True, 66_000)
    assert names_of(archive) == zipfile.ZipFile(io.BytesIO(archive)).namelist()


def test_an_empty_archive_has_no_bytes_to_fetch() -> None:
    archive = end(0, 0, 0)
    assert locate(archive).range is None
    assert entries_of(archive) == []


def test_the_range_to_fetch_is_the_directory_and_nothing_else() -> None:
    directory = header(b"a") + header(b"bb")
    found = locate(b"#!" + archive_of(header(b"a"), header(b"bb"), comment=b"hello"))
    assert found == Directory(2 + len(LOCAL), len(directory), 2, False, 2, b"hello")
    assert found.range is not None
    assert found.range.header == f"bytes=32-{32 + len(directory) - 1}"


def test_a_directory_before_the_tail_is_found_by_numbers_alone() -> None:
    size = 5_000_000
    tail = (b"\0" * TAIL + end(40_000, size, 123))[-TAIL:]
    found = find_directory(tail, 7 + 123 + size + 22)
    assert (found.offset, found.size, found.prefix) == (130, size, 7)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 45, 46, 47, 101, 10**6])
def test_how_the_directory_is_cut_into_chunks_does_not_matter(step: int) -> None:
    assert entries_of(PLAIN, step) == entries_of(PLAIN)


# -- names


@pytest.mark.parametrize(
    ("raw", "flags", "extra", "name"),
    [
        (b"plain", 0, b"", "plain"),
        (b"caf\x82", 0, b"", "café"),
        ("café ☃".encode(), UTF8, b"", "café ☃"),
        (b"\xff\xed\xa0\x80", UTF8, b"", "\udcff\udced\udca0\udc80"),
        (b"cut\0here", 0, b"", "cut"),
        (b"cut\0here", UTF8, b"", "cut"),
        (b"\0", 0, b"", ""),
        (b"x", 0, field(0x7075, b"\1" + crc32(b"x").to_bytes(4, "little") + "☃\0".encode()), "☃"),
        (b"x", 0, field(9, b"..") + field(0x7075, b"\1" + crc32(b"x").to_bytes(4, "little") + b"y"), "y"),
        (b"x", UTF8, field(0x7075, b"\1" + crc32(b"x").to_bytes(4, "little") + b"y"), "x"),
        (b"x", 0, field(0x7075, b"\1" + crc32(b"other").to_bytes(4, "little") + b"y"), "x"),
        (b"x", 0, field(0x7075, b"\2" + crc32(b"x").to_bytes(4, "little") + b"y"), "x"),
        (b"x", 0, field(0x7075, b"\1" + crc32(b"x").to_bytes(4, "little") + b"\xff"), "x"),
        (b"x", 0, field(0x7075, b"\1" + crc32(b"x").to_bytes(4, "little")), "x"),
        (b"x", 0, field(0x7075, b"\1"), "x"),
        (b"x", 0, struct.pack("<HH", 0x7075, 500) + b"\1", "x"),
    ],
)
def test_a_name_is_utf_8_by_flag_or_by_extra_field_and_else_cp437(
    raw: bytes, flags: int, extra: bytes, name: str
) -> None:
    (entry,) = entries_of(archive_of(header(raw, flags=flags, extra=extra)))
    assert (entry.name, entry.raw_name) == (name, raw)


def test_bytes_that_are_no_utf_8_can_be_written_back_as_they_were() -> None:
    (entry,) = entries_of(archive_of(header(b"a\xff\x80/", flags=UTF8)))
    assert entry.name.encode("utf-8", "surrogateescape") == b"a\xff\x80/"
    assert entry.is_dir


# -- numbers and dates


def test_wide_numbers_come_from_the_zip64_field_in_their_order() -> None:
    everything = field(0x9999, b"skip") + field(1, struct.pack("<QQQ", 5 * 10**12, 4 * 10**12, 77))
    only_offset = field(1, struct.pack("<Q", 10**12))
    wide = 0xFFFF_FFFF
    first, second, third = entries_of(
        b"pre"
        + archive_of(
            header(b"a", size=wide, packed=wide, offset=wide, extra=everything),
            header(b"b", size=3, packed=2, offset=wide, extra=only_offset),
            header(b"c", size=wide, offset=1),
        )
    )
    assert (first.size, first.compressed_size, first.offset) == (5 * 10**12, 4 * 10**12, 77 + 3)
    assert (second.size, second.compressed_size, second.offset) == (3, 2, 10**12 + 3)
    assert third.size == wide, "without the field the number is what it says, as for zipfile"


@pytest.mark.parametrize(
    ("widths", "data", "read"),
    [
        # size, compressed size and offset in the header: 0 means 0xFFFFFFFF
        ((0, 0, 3), (5, 4), (5, 4, 3)),
        ((0, 0, 0), (5, 4, 3), (5, 4, 3)),
        ((5, 4, 0), (3,), (5, 4, 3)),
        ((5, 0, 3), (4,), (5, 4, 3)),
        ((5, 4, 0), (5, 4, 3), (5, 4, 3)),  # all of them, though the header holds two
        ((5, 0, 3), (5, 4, 3), (5, 4, 3)),
        ((5, 0, 3), (5, 4), (5, 4, 3)),
        ((0, 4, 3), (5, 4), (5, 4, 3)),
        ((5, 4, 0), (9, 9, 9), (5, 4, 9)),  # not the numbers of the header: taken in their order
    ],
)
def test_a_zip64_field_holds_what_the_header_does_not_or_everything(
    widths: tuple[int, int, int], data: tuple[int, ...], read: tuple[int, int, int]
) -> None:
    size, packed, offset = (number or 0xFFFF_FFFF for number in widths)
    extra = field(1, struct.pack(f"<{len(data)}Q", *data))
    (entry,) = entries_of(archive_of(header(b"a", size=size, packed=packed, offset=offset, extra=extra)))
    assert (entry.size, entry.compressed_size, entry.offset) == read


def test_a_zip64_field_that_lacks_a_number_is_a_warning() -> None:
    short = field(1, struct.pack("<Q", 5))
    archive = archive_of(header(b"a", size=0xFFFF_FFFF, packed=0xFFFF_FFFF, extra=short))
    warnings = warnings_of(archive)
    assert [(entry.name, entry.size) for entry in entries_of(archive)] == [("a", 5)]
    assert len(warnings) == 1
    assert "zip64 extra fields" in warnings[0]


def entry_at(dos_time: int, extra: bytes = b"") -> Member:
    return Member(b"a", 1, 8, dos_time, 0, 0, 0, 0, extra)


def test_a_date_that_does_not_exist_is_none() -> None:
    leap_day = (44 << 25 | 2 << 21 | 29 << 16) | (23 << 11 | 59 << 5 | 29)
    assert entry_at(leap_day).modified == datetime(2024, 2, 29, 23, 59, 58)
    assert entry_at(0).modified is None
    assert entry_at(0xFFFF_FFFF).modified is None
    assert entry_at(0xFFFF_FFFF).date_time == (2107, 15, 31, 31, 63, 62)


UT, UX = 0x5455, 0x5855
LATE = 2_300_000_000  # in 2042


@pytest.mark.parametrize(
    ("dos_year", "extra", "seconds"),
    [
        (2024, b"", None),
        (2024, field(UT, b"\1" + struct.pack("<I", 1_700_000_000)), 1_700_000_000),
        (2024, field(UT, b"\1" + struct.pack("<I", 0)), 0),
        (2024, field(UT, b"\2" + struct.pack("<I", 1_700_000_000)), None),
        (2024, field(UT, b"\1"), None),
        (2024, field(UT, b"\1" + struct.pack("<I", LATE)), None),
        (2040, field(UT, b"\1" + struct.pack("<I", LATE)), LATE),
        (2024, field(UX, struct.pack("<II", 7, 8)), 8),
        (2024, field(UX, struct.pack("<II", 7, 8)) + field(UT, b"\1" + struct.pack("<I", 9)), 9),
    ],
)
def test_a_time_stamp_of_info_zip_is_believed_when_unzip_believes_it(
    dos_year: int, extra: bytes, seconds: int | None
) -> None:
    assert entry_at((dos_year - 1980) << 25 | 33 << 16, extra).unix_time == seconds


def test_methods_have_the_names_that_zipfile_gives_them() -> None:
    assert [entry.method for entry in entries_of(PLAIN)[:4]] == ["store", "deflate", "bzip2", "lzma"]
    assert Member(b"", 0, 4711, 0, 0, 0, 0, 0, b"").method == "4711"
    assert entry_at(0).encrypted
    assert not entries_of(PLAIN)[0].encrypted


# -- which end record counts

INNER = archive_of(header(b"forged"))
GOOD = header(b"good")


@pytest.mark.parametrize(
    "comment",
    [
        pytest.param(INNER, id="a whole archive"),
        pytest.param(INNER + b"tail", id="a whole archive and more"),
        pytest.param(end(0, 0, 0), id="an empty archive"),
        pytest.param(end(1, 46, 0), id="an end record without directory"),
        pytest.param(end(1, 9 * 10**8, 0), id="an end record that claims 900 MB"),
        pytest.param(b"PK\5\6", id="a signature"),
        pytest.param(b"PK\5\6" * 5000, id="signatures"),
        pytest.param(end64(1, 2**63, 0) + FULL, id="a zip64 end record"),
        pytest.param(end(0, 0, 0, b"x" * 9) * 900, id="end records"),
    ],
)
@pytest.mark.parametrize("before", [b"", b"#!", end(0, 0, 0) * 3], ids=["alone", "prefixed", "after others"])
def test_an_end_record_forged_in_the_comment_is_not_believed(comment: bytes, before: bytes) -> None:
    archive = before + archive_of(GOOD, comment=b"read me: " + comment)
    assert names_of(archive) == ["good"]
    assert locate(archive).comment == b"read me: " + comment


def test_the_last_of_two_archives_in_one_file_counts() -> None:
    assert names_of(archive_of(header(b"first")) + archive_of(header(b"second"))) == ["second"]
    assert names_of(archive_of(header(b"first")) + archive_of(header(b"second")) + b"garbage") == ["second"]


def test_an_archive_stored_in_an_archive_is_only_a_member() -> None:
    assert names_of(INNER + archive_of(GOOD)) == ["good"]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("inner.zip", INNER)
    assert names_of(out.getvalue()) == ["inner.zip"]


def test_bytes_between_the_directory_and_its_end_record_are_passed_over_as_by_unzip() -> None:
    archive = LOCAL + GOOD + b"something else" + end(1, len(GOOD), len(LOCAL))
    assert names_of(archive) == ["good"]
    assert locate(archive).prefix == 0


@pytest.mark.parametrize("sector", [b"", b"extensible data" * 9])
@pytest.mark.parametrize("prefix", [b"", b"#!/bin/sh\n"])
def test_a_zip64_end_record_is_found_before_its_locator(sector: bytes, prefix: bytes) -> None:
    directory = locate(prefix + archive64_of(GOOD, header(b"more"), sector=sector))
    assert (directory.zip64, directory.count, directory.prefix) == (True, 2, len(prefix))
    assert names_of(prefix + archive64_of(GOOD, header(b"more"), sector=sector)) == ["good", "more"]


def test_a_stray_zip64_locator_does_not_hide_an_ordinary_end_record() -> None:
    name = b"PK\6\7" + b"x" * 16
    assert names_of(archive_of(header(name))) == [name.decode()]


# -- what is no archive, or lies


@pytest.mark.parametrize(
    ("archive", "why"),
    [
        (b"", "not a zip archive"),
        (b"<html>404</html>", "not a zip archive"),
        (PLAIN[: len(PLAIN) // 2], "not a zip archive"),
        (PLAIN[:-5], "cut off within its end"),
        (LOCAL + GOOD + end(1, 3_000_000_000, 0), "cannot lie in the 80 bytes"),
        (LOCAL + GOOD + end64(1, 9_000_000_000, 0) + FULL, "cannot lie in the 80 bytes"),
        (LOCAL + GOOD + end64(1, 2**64 - 1, 2**64 - 1) + FULL, "cannot lie in the 80 bytes"),
        (LOCAL + GOOD + FULL, "zip64 end of central directory is missing"),
        (LOCAL + GOOD + end(1, len(GOOD) - 1, len(LOCAL) - 1), "no central directory at byte 31"),
        (LOCAL + b"\0" * 46 + end(1, 46, len(LOCAL)), "no central directory at byte 30"),
        (LOCAL + bytes(46) + end(1, 46, len(LOCAL), disk=3), "several disks"),
        (LOCAL + bytes(46) + end64(1, 46, len(LOCAL), disk=3) + FULL, "several disks"),
    ],
)
def test_an_archive_whose_end_record_lies_is_refused_before_anything_is_fetched(
    archive: bytes, why: str
) -> None:
    with pytest.raises(DamagedError, match=f"a.zip: .*{why}"):
        locate(archive)


def test_a_large_claim_that_fits_the_file_by_size_alone_is_held_against_its_count() -> None:
    tail = bytes(1000) + end64(1, 9_000_000_000, 0) + FULL
    with pytest.raises(DamagedError, match="9000000000 bytes cannot hold 1 entries"):
        find_directory(tail, 10**10)


def test_a_tail_longer_than_its_file_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="the last 22 bytes of 21"):
        find_directory(end(0, 0, 0), 21)


@pytest.mark.parametrize(
    ("headers", "count", "why"),
    [
        ([GOOD, b"\0" * 50], 2, "no header where entry 2 begins"),
        ([GOOD, b"PK\1\2"], 2, "ends within the header of entry 2"),
        ([GOOD, GOOD[:-1]], 2, "ends within the header of entry 2"),
        ([GOOD, b"PK"], 2, "ends within the header of entry 2"),
    ],
)
def test_a_directory_that_breaks_off_before_its_last_entry_is_damage_once_its_entries_are_read(
    headers: list[bytes], count: int, why: str
) -> None:
    archive = archive_of(*headers, count=count)
    directory = locate(archive)
    reading = read_members([archive[30 : 30 + directory.size]], directory, "a.zip")
    assert next(reading).name[0] in "gx"
    with pytest.raises(DamagedError, match=f"a.zip: .*{why}"):
        list(reading)


def test_without_zip64_entries_are_counted_modulo_65536() -> None:
    for count in 65_535, 65_536, 65_537:
        archive = archive_of(*[header(b"x")] * count)
        assert len(entries_of(archive)) == count
        assert warnings_of(archive) == []


def test_with_zip64_the_count_is_exact() -> None:
    directory = header(b"x") * 65_537
    archive = directory + end64(1, len(directory), 0) + FULL
    assert len(entries_of(archive)) == 65_537
    assert warnings_of(archive) == ["its central directory holds 65537 entries, not 1"]


def test_a_reader_that_is_not_asked_on_reads_no_more_chunks() -> None:
    asked: list[int] = []

    def chunks() -> Iterable[bytes]:
        for number in range(1000):
            asked.append(number)
            yield header(b"x")

    reading = read_members(chunks(), Directory(0, 47_000, 1000, False, 0, b""))
    next(reading)
    next(reading)
    assert asked == [0, 1]


# -- anything at all

RICH = made_by_zipfile(comment=b"a comment with PK\5\6 in it") + b"end"
WIDE = archive64_of(header(b"a", size=0xFFFF_FFFF, extra=field(1, bytes(8))), GOOD, sector=b"sector")


def read_all_of(archive: bytes) -> None:
    """Read whatever there is to read; only DamagedError may come of it."""
    try:
        directory = locate(archive)
        wanted = directory.range
        assert wanted is None or wanted.stop <= len(archive)
        assert 0 <= directory.offset <= directory.offset + directory.size <= len(archive)
        for entry in entries_of(archive, 97):
            assert "\0" not in entry.name
            _ = entry.modified, entry.unix_time, entry.method, entry.is_dir, entry.encrypted
            entry.name.encode("utf-8", "surrogateescape")
    except DamagedError:
        pass


@pytest.mark.parametrize("archive", [PLAIN, RICH, WIDE, INNER + INNER], ids=["plain", "rich", "wide", "two"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_mutated_archive_is_read_or_refused_and_nothing_else(archive: bytes, data: st.DataObject) -> None:
    mutated = bytearray(archive)
    start = max(0, len(archive) - 1200)  # the directory and its end
    for at in data.draw(st.lists(st.integers(start, len(archive) - 1), max_size=6)):
        mutated[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
    cut = data.draw(st.tuples(st.integers(0, 40), st.integers(0, 40)) | st.just((0, 0)))
    read_all_of(bytes(mutated[cut[0] : len(mutated) - cut[1]]))


@pytest.mark.parametrize("archive", [INNER, WIDE], ids=["small", "wide"])
def test_every_single_byte_may_be_wrong(archive: bytes) -> None:
    for at in range(len(archive)):
        for value in 0, 1, 0xFF, archive[at] ^ 0x80:
            read_all_of(archive[:at] + bytes([value]) + archive[at + 1 :])


@pytest.mark.parametrize("archive", [PLAIN, RICH, WIDE], ids=["plain", "rich", "wide"])
def test_every_cut_of_an_archive_is_read_or_refused(archive: bytes) -> None:
    for length in range(max(0, len(archive) - 600), len(archive)):
        read_all_of(archive[:length])
        read_all_of(archive[-length:])


@given(
    st.lists(st.sampled_from([b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7", bytes(18), bytes(46), b"\xff" * 8]))
)
@settings(max_examples=200, deadline=None)
def test_signatures_in_any_order_are_read_or_refused(pieces: list[bytes]) -> None:
    read_all_of(b"".join(pieces))


def test_a_tail_full_of_signatures_takes_no_quadratic_time() -> None:
    # Each would take a walk over all the others; pytest's time limit is what this would meet.
    read_all_of((b"PK\6\6" * 16_000 + (b"PK\6\7" + bytes(16) + b"PK\5\6" + bytes(17)) * 1600)[-TAIL:])
    read_all_of(b"PK\5\6" * 32_000)
