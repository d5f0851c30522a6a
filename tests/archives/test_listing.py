"""list_archive: what it returns for an archive, from any reader or file, and what it asks the reader for."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import smartremote_cli as smartremote
from smartremote_cli.archives.listing import list_archive
from smartremote_cli.archives.reader import FileReader
from smartremote_cli.archives.zip import TAIL
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.errors import DamagedError
from tests.support.archives import bare_archive, member_names
from tests.support.server import Held, Server


def archive(comment: bytes = b"", count: int = 3) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.comment = comment
        file.writestr(zipfile.ZipInfo("folder/", (2024, 5, 6, 7, 8, 10)), b"")
        for number in range(count):
            file.writestr(zipfile.ZipInfo(f"folder/{number}.txt", (2024, 5, 6, 7, 8, 10)), b"x" * 100)
    return out.getvalue()


class Recorder:
    """A reader that notes what it is asked; *announced* says whether it knows the size at once."""

    def __init__(self, data: bytes, announced: bool = True) -> None:
        self._data = data
        self._announced = announced
        self.asked: list[tuple[object, ...]] = []

    def open(self, offset: int, length: int | None) -> int | None:
        self.asked.append(("open", offset, length))
        return len(self._data) if self._announced else None

    def size_at_last(self) -> int:
        self.asked.append(("size_at_last",))
        return len(self._data)

    def read(self, wanted: ByteRange) -> bytes:
        self.asked.append(("read", wanted.start, wanted.stop))
        return self._data[wanted.start : wanted.stop]

    def stream(self, start: int, stop: int | None) -> Iterator[bytes]:
        self.asked.append(("stream", start, stop))
        yield self._data[start:stop]


def test_an_archive_says_its_format_its_comment_and_its_entries() -> None:
    found = list_archive(io.BytesIO(archive("naïve".encode())))
    assert (found.format, found.comment) == ("zip", "naïve")
    folder, first, *_ = found
    assert (folder.name, folder.is_dir, first.name, first.is_dir) == ("folder/", True, "folder/0.txt", False)
    assert (first.size, first.compressed_size, first.method, first.encrypted) == (100, 100, "store", False)
    assert first.modified is not None
    assert (first.modified.isoformat(), first.stored_minute) == ("2024-05-06T07:08:10", "2024-05-06 07:08")
    assert first.unix_time is None
    assert first.crc32 == zipfile.crc32(b"x" * 100)  # type: ignore[attr-defined]
    assert first.offset == archive("naïve".encode()).index(b"PK\3\4", 1)


def test_a_comment_that_is_no_utf_8_is_cp437() -> None:
    assert list_archive(io.BytesIO(archive(b"\x81"))).comment == "ü"


def test_the_tail_is_asked_for_first_and_then_the_directory_alone() -> None:
    data = bare_archive(5000)
    reader = Recorder(data)
    assert [entry.name for entry in list_archive(reader)] == member_names(5000)
    assert reader.asked == [
        ("open", -TAIL, None),
        ("read", len(data) - TAIL, len(data)),
        ("stream", 0, len(data) - 22),
    ]


def test_a_size_that_is_not_announced_is_read() -> None:
    reader = Recorder(archive(), announced=False)
    assert len(list(list_archive(reader))) == 4
    assert reader.asked[:2] == [("open", -TAIL, None), ("size_at_last",)]


@pytest.mark.parametrize("data", [b"", b"P", b"no archive" * 50_000], ids=["empty", "a byte", "long"])
def test_bytes_that_are_no_archive_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(DamagedError, match=r"^a\.zip: not a zip archive: "):
        list_archive(io.BytesIO(data), "a.zip")


def test_entries_before_a_damaged_one_are_yielded() -> None:
    data = archive()
    header = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    entries = iter(list_archive(io.BytesIO(data[:header] + b"PK\1\3" + data[header + 4 :])))
    assert next(entries).name == "folder/"
    with pytest.raises(DamagedError):
        next(entries)


def test_a_local_file_is_listed(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(archive())
    with (tmp_path / "a.zip").open("rb") as file:
        assert [entry.name for entry in list_archive(file)][1:] == [f"folder/{n}.txt" for n in range(3)]


def test_a_remote_file_is_listed_without_its_members(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("big.bin", bytes(20 << 20))
    with (
        Server(Held(out.getvalue())) as server,
        smartremote.DownloadManager(tmp_dir=tmp_path, idle_download=False) as manager,
        manager.reader_at(server.url()) as remote,
    ):
        assert [entry.name for entry in smartremote.list_archive(remote)] == ["big.bin"]
        assert server.body_bytes <= 4 * 65_536


@given(st.binary(max_size=1000), st.integers(0, 1100), st.integers(0, 1100))
def test_a_file_is_read_by_range_and_in_pieces(data: bytes, start: int, length: int) -> None:
    reader = FileReader(io.BytesIO(data))
    assert reader.open(-10, None) == reader.size_at_last() == len(data)
    assert b"".join(reader.stream(start, start + length)) == data[start : start + length]
    assert b"".join(reader.stream(start, None)) == data[start:]
    if length:
        assert reader.read(ByteRange(start, start + length)) == data[start : start + length]


def test_pieces_of_a_file_are_whole_when_others_move_its_position_between_them() -> None:
    data = bytes(range(256)) * 3000
    file = io.BytesIO(data)
    pieces = []
    for piece in FileReader(file).stream(0, len(data)):
        pieces.append(piece)
        file.seek(7)
    assert b"".join(pieces) == data
    assert len(pieces) > 1
