"""smartremote zip-ls over real HTTP: how many requests and bytes a listing costs, and what zipfile says of it."""

from __future__ import annotations

import io
import struct
import zipfile
from functools import lru_cache
from pathlib import Path

import pytest

from smartremote_cli.archives.zip import TAIL
from tests.support import faults
from tests.support.archives import bare_archive, member_names
from tests.support.nginx import nginx_or_skip
from tests.support.server import Content, Held, Patched, Patterned, Resource, Server, pattern
from tests.support.tool import Tool

MIB = 1 << 20


@lru_cache(maxsize=4)
def archive(count: int, content: int = 100, comment: int = 0) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.comment = b"c" * comment
        for number in range(count):
            info = zipfile.ZipInfo(f"folder/{number % 7}/member-{number:06}.txt", (2024, 5, 6, 7, 8, 10))
            file.writestr(info, b"x" * content)
    return out.getvalue()


def names(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return file.namelist()


def listed(tool: Tool, server: Server, *options: str) -> list[str]:
    ran = tool("zip-ls", server.url(), "-0", *options)
    assert (ran.code, ran.err) == (0, "")
    return ran.out.decode("utf-8", "surrogateescape").split("\0")[:-1]


class Ending:
    """Zeros, and *tail* at the end: content that costs nothing."""

    def __init__(self, size: int, tail: bytes) -> None:
        self.size = size
        self._tail = tail

    def read(self, offset: int, length: int) -> memoryview:
        length = max(0, min(length, self.size - offset))
        edge = self.size - len(self._tail)
        zeros = max(0, min(length, edge - offset))
        start = max(0, offset - edge)
        return memoryview(bytes(zeros) + self._tail[start : start + length - zeros])


# --- cost ---


@pytest.mark.parametrize(
    ("count", "comment", "requests"), [(0, 0, 1), (1, 0, 1), (300, 0, 1), (300, 60_000, 1), (3000, 0, 2)]
)
def test_a_listing_costs_one_request_or_two(tool: Tool, count: int, comment: int, requests: int) -> None:
    data = archive(count, 2000, comment)
    with Server(Held(data)) as server:
        assert listed(tool, server) == names(data)
        assert len(server.requests) == requests
        directory = zipfile.ZipFile(io.BytesIO(data)).start_dir
        assert server.body_bytes <= len(data) - directory + 140_000
        assert server.ranges[0] == f"bytes=-{TAIL}"


@pytest.mark.parametrize("count", [66_000, 100_000])
def test_a_large_directory_is_two_requests(tool: Tool, count: int) -> None:
    data = bare_archive(count)
    with nginx_or_skip() as nginx:
        (nginx.folder / "file.bin").write_bytes(data)
        ran = tool("zip-ls", nginx.url(), "-1")
        assert (ran.code, ran.err) == (0, "")
        assert ran.text.splitlines() == member_names(count)
        asked = nginx.requests(at_least=2)
    assert len(asked) == 2
    assert sum(line.body_bytes_sent for line in asked) <= len(data) + 140_000


def test_a_second_listing_brings_no_body_and_an_offline_one_asks_nobody(tool: Tool) -> None:
    data = archive(3000, 100)
    with Server(Held(data)) as server:
        first = listed(tool, server)
        server.reset_log()
        assert listed(tool, server) == first
        assert (len(server.requests), server.body_bytes) == (1, 0)
        server.reset_log()
        assert listed(tool, server, "--offline") == first
        assert server.requests == []


def test_a_new_version_of_an_archive_is_listed_anew(tool: Tool) -> None:
    with Server(Resource(archive(300))) as server:
        assert len(listed(tool, server)) == 300
        server.resources["/file.bin"] = Resource(archive(301), etag='"two"')
        assert len(listed(tool, server)) == 301


# --- kinds of archives ---


def test_a_zip64_archive_beyond_4_gib_is_listed(tool: Tool) -> None:
    size, name = 5 << 30, b"huge.bin"
    extra = struct.pack("<HHQQ", 1, 16, size, size)
    entry = struct.pack(
        "<IHHHHHHIIIHHHHHII",
        0x02014B50,
        45,
        45,
        0,
        0,
        0,
        33,
        7,
        0xFFFFFFFF,
        0xFFFFFFFF,
        len(name),
        len(extra),
        0,
        0,
        0,
        0,
        0,
    )
    directory = entry + name + extra
    end64 = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, 1, 1, len(directory), size)
    locator = struct.pack("<IIQI", 0x07064B50, 0, size + len(directory), 1)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    tail = directory + end64 + locator + end
    content: Content = Ending(size + len(tail), tail)
    with Server(Resource(content)) as server:
        ran = tool("zip-ls", server.url(), "--json")
        assert len(server.requests) == 1
    assert ran.code == 0, ran.err
    (entry_listed,) = ran.objects
    assert (entry_listed["name"], entry_listed["size"], entry_listed["offset"]) == ("huge.bin", size, 0)


def test_a_self_extractor_is_listed(tool: Tool) -> None:
    data = b"MZ" + pattern(200_000) + archive(300)
    with Server(Held(data)) as server:
        assert listed(tool, server) == names(data)
        assert len(server.requests) == 1


def test_names_are_those_that_zipfile_gives(tool: Tool) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name in ("plain", "ünïcode", "日本語/", "tab\tand\nbreak", "\x1b[31mred", "a b", "-n", "😀"):
            file.writestr(name, b"")
    data = out.getvalue().replace("ünïcode".encode(), "ünïcode".encode())
    with Server(Held(data)) as server:
        assert listed(tool, server) == names(data)
        ran = tool("zip-ls", server.url(), "-1")
        assert len(ran.text.splitlines()) == 8
        assert "\x1b" not in ran.text
        assert [entry["name"] for entry in tool("zip-ls", server.url(), "--json").objects] == names(data)


def test_the_json_of_an_entry_is_the_contracts(tool: Tool) -> None:
    with Server(Held(archive(1, 10))) as server:
        (entry,) = tool("zip-ls", server.url(), "--json").objects
    assert entry == {
        "name": "folder/0/member-000000.txt",
        "size": 10,
        "compressed_size": 10,
        "method": "store",
        "modified": "2024-05-06T07:08:10",
        "crc32": f"{zipfile.crc32(b'x' * 10):08x}",  # type: ignore[attr-defined]
        "offset": 0,
        "is_dir": False,
        "encrypted": False,
    }


@pytest.mark.parametrize(
    ("patterns", "count"),
    [
        (["*"], 14),
        (["folder/3/*"], 2),
        (["*member-000000.txt", "*1.txt"], 3),
        (["folder/0/member-000000.txt"], 1),
    ],
)
def test_patterns_pick_entries(tool: Tool, patterns: list[str], count: int) -> None:
    with Server(Held(archive(14))) as server:
        assert len(listed(tool, server, *patterns)) == count


def test_a_pattern_that_matches_nothing_is_exit_8(tool: Tool) -> None:
    with Server(Held(archive(14))) as server:
        ran = tool("zip-ls", server.url(), "-1", "*member-000000.txt", "*.jpg")
    assert ran.code == 8
    assert ran.text == "folder/0/member-000000.txt\n"
    assert "*.jpg" in ran.complaint


# --- what is no archive ---

ARCHIVE = archive(300)
DAMAGED = {
    "nothing": b"",
    "one byte": b"P",
    "no archive": pattern(300_000),
    "cut off": ARCHIVE[:-1000],
    "cut in its end": ARCHIVE[:-5],
    "a directory of 4 GB": ARCHIVE[:-10] + struct.pack("<II", 0xFFFFFFF0, 0) + b"\0\0",
    "a directory past the end": ARCHIVE[:-10] + struct.pack("<II", 1000, 0xFFFFFFF0) + b"\0\0",
    "a spoilt header": ARCHIVE.replace(b"PK\1\2", b"PK\1\3", 5),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_is_no_archive_is_exit_8_and_cheap(tool: Tool, kind: str) -> None:
    data = DAMAGED[kind]
    with Server(Held(data)) as server:
        ran = tool("zip-ls", server.url())
        assert ran.code == 8
        assert ran.complaint
        assert server.body_bytes <= 2 * len(data) + TAIL
        assert len(server.requests) <= 3


BIG = bare_archive(5000)  # its directory begins before the tail that is asked for first
WRONG = {
    "head missing": (ARCHIVE[5000:], "5000 bytes are missing at its beginning"),
    "too many entries": (ARCHIVE[:-12] + struct.pack("<H", 65000) + ARCHIVE[-10:], "300 entries, not 65000"),
    "too few entries": (ARCHIVE[:-12] + struct.pack("<H", 1) + ARCHIVE[-10:], "300 entries, not 1"),
    "another disk": (ARCHIVE[:-18] + struct.pack("<H", 3) + ARCHIVE[-16:], "claims to be disk 4"),
    "garbage behind": (ARCHIVE + b"garbage" * 12_000, "84000 bytes follow its end"),
    "too many entries, out of sight": (BIG[:-12] + struct.pack("<H", 65000) + BIG[-10:], "not 65000"),
    "a directory that is too long, out of sight": (
        BIG[:-10] + struct.pack("<I", len(BIG) - 20) + BIG[-6:],
        f"has {len(BIG) - 22} bytes, not {len(BIG) - 20}",
    ),
    "a directory of no bytes, out of sight": (BIG[:-10] + bytes(4) + BIG[-6:], "bytes, not 0"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_an_archive_that_is_wrong_about_itself_is_listed_with_one_warning(tool: Tool, kind: str) -> None:
    data, warning = WRONG[kind]
    with Server(Held(data)) as server:
        ran = tool("zip-ls", server.url(), "-1")
        assert (ran.code, len(ran.text.splitlines())) == (0, 5000 if "sight" in kind else 300)
        assert warning in ran.complaint
        assert len(ran.err.splitlines()) == 1
        assert len(server.requests) <= 3
        silent = tool("zip-ls", server.url(), "-1", "-q")
        assert (silent.code, silent.out, silent.err) == (0, ran.out, "")


# --- trouble in the middle ---


@pytest.mark.parametrize("form", [(), ("-1",), ("-0",), ("--json",)], ids=["table", "-1", "-0", "json"])
def test_what_came_before_the_damage_is_printed_and_then_the_error(tool: Tool, form: tuple[str, ...]) -> None:
    header = BIG.index(b"PK\1\2", len(BIG) // 2)
    entries = BIG[:header].count(b"PK\1\2")
    with Server(Held(BIG[:header] + b"PK\1\3" + BIG[header + 4 :])) as server:
        ran = tool("zip-ls", server.url(), *form)
    assert ran.code == 8
    assert f"no header where entry {entries + 1} begins" in ran.complaint
    assert ran.out.count(b"\0" if form == ("-0",) else b"\n") == entries + (0 if form else 3)


def test_a_server_that_dies_in_the_middle_leaves_what_is_right(tool: Tool) -> None:
    """Its directory takes several requests, and from some moment on the server only resets."""
    data = bare_archive(100_000)
    whole = [name.encode() for name in member_names(100_000)]
    with Server(Held(data)) as server:
        server.faults += [faults.reset(1_500_000, when=faults.nth(2)), faults.reset(when=faults.after(2))]
        ran = tool("zip-ls", server.url(), "-1", "--retries", "1", "--no-cache")
    assert ran.code == 3
    printed = ran.out.splitlines()
    assert printed
    assert printed == whole[: len(printed)]
    assert ran.out.endswith(b"\n")


@pytest.mark.parametrize("seed", range(10))
def test_noise_in_an_archive_never_ends_in_a_traceback(tool: Tool, seed: int) -> None:
    import random

    dice, data = random.Random(seed), bytearray(ARCHIVE)
    start = ARCHIVE.index(b"PK\1\2")
    for _ in range(20):
        data[dice.randrange(start, len(data))] = dice.randrange(256)
    with Server(Held(bytes(data))) as server:
        ran = tool("zip-ls", server.url(), "-1")
    assert ran.code in (0, 8)
    assert ran.code == 0 or ran.complaint


# --- odd servers ---


@pytest.mark.parametrize("kind", ["501", "whole", "416", "head"])
def test_a_server_that_mistreats_suffixes_costs_one_or_two_requests_more(tool: Tool, kind: str) -> None:
    data = archive(300, 2000)
    with Server(Held(data)) as server:
        server.faults += [faults.wrong_suffix(kind)]  # type: ignore[arg-type]
        assert listed(tool, server) == names(data)
        assert len(server.requests) <= 3


def test_a_server_without_ranges_is_read_in_one_piece(tool: Tool) -> None:
    data = archive(300, 2000)
    with Server(Resource(data, ranges=False)) as server:
        assert listed(tool, server) == names(data)


def test_the_table_is_that_of_unzip(tool: Tool, tmp_path: Path) -> None:
    import shutil
    import subprocess

    if shutil.which("unzip") is None:
        pytest.skip("unzip is not installed")
    (tmp_path / "a.zip").write_bytes(ARCHIVE)
    theirs = subprocess.run(["unzip", "-l", "a.zip"], cwd=tmp_path, capture_output=True).stdout
    with Server(Held(ARCHIVE)) as server:
        ours = tool("zip-ls", server.url()).out
    assert ours.splitlines()[1:] == theirs.splitlines()[1:]


def test_a_damaged_end_of_a_long_archive_is_seen_without_reading_it(tool: Tool) -> None:
    with Server(Patched(Patterned(1 << 30), {})) as server:
        assert tool("zip-ls", server.url()).code == 8
        assert server.body_bytes == TAIL
